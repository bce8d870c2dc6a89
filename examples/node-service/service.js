/**
 * A shop's service: it says who somebody is, takes orders, and gives prices. `npm start`.
 *
 * An order has an id of its own, which is the event's `messageId`: an order that comes twice counts once.
 */

import express from "express";
import { cdp } from "./client.js";
import { decisions, percentOff } from "./decisions.js";

const PRICES = { mug: 19, kettle: 49, grinder: 99, machine: 649 };
const SHIPPING = 5;

const app = express();
app.use(express.json());

/** Answers once the server has it, so that whatever comes next is of a known user; while TinyCDP is away, after 15 seconds. */
app.post("/signup", async (request, response) => {
  const { userId, email, plan = "basic" } = request.body;
  await cdp.identify({ userId, traits: { email, plan } });
  cdp.track({ userId, event: "signed_up", properties: { plan } });
  response.status(201).json({ userId });
});

/** The decision sees the order that it comes after. While TinyCDP is away the order stands, and shipping is paid. */
app.post("/orders", async (request, response) => {
  const { userId, order, product } = request.body;
  const amount = PRICES[product];
  if (amount === undefined) return response.status(404).json({ error: `no product ${product}` });
  const event = "purchase";
  const bought = cdp.track({ userId, event, properties: { product, amount, currency: "USD" }, messageId: `order-${order}` });
  const free = await cdp.decide({ userId, flag: "free_shipping", default: false, after: bought });
  response.status(201).json({ order, amount, shipping: free.value ? 0 : SHIPPING });
});

app.get("/products", decisions, (request, response) => {
  const off = percentOff(request.flags);
  const products = Object.entries(PRICES).map(([id, price]) => ({ id, price: Math.round(price * (100 - off)) / 100 }));
  response.json({ products, percentOff: off });
});

/** For whoever watches the service: what waits, what was sent, what was lost and why. */
app.get("/health", (_request, response) => response.json(cdp.stats()));

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`http://127.0.0.1:${server.address().port}`);
});

/** Takes no more requests, ends those that are there, and sends what is queued. */
async function stop() {
  await new Promise((resolve) => server.close(resolve));
  const { sent, queued } = await cdp.destroy();
  console.log(JSON.stringify({ sent, queued }));
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);
