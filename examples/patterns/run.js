/**
 * Every pattern, one after the other, as a person of your stack: `npm start`, with TINYCDP_URL, TINYCDP_WRITE_KEY and
 * TINYCDP_READ_KEY. USER_ID is the person's id. The last line is what happened, as JSON.
 */

import { initTinyCDP } from "@tinycdp/sdk";
import { createApp, effectScope, watch } from "vue";
import { analyticsOf, funnelOf } from "./analytics.js";
import { flagsOf } from "./flags.js";
import { tinycdp, useFlag } from "./vue.js";

const { TINYCDP_URL, TINYCDP_WRITE_KEY, TINYCDP_READ_KEY, USER_ID: userId = "ada" } = process.env;
const keys = { writeKey: TINYCDP_WRITE_KEY, readKey: TINYCDP_READ_KEY };
const cdp = initTinyCDP({ endpoint: TINYCDP_URL ?? "http://127.0.0.1:4000", decideTimeout: 10_000, ...keys });

const analytics = analyticsOf(cdp, userId);
const flags = flagsOf(cdp, userId);
const signup = funnelOf(cdp, "signup", ["form", "confirmed", "paid"]);

await analytics.signedUp("ada@example.com", "basic");
analytics.loggedIn("password");
await analytics.changedProfile({ city: "Linz" });
signup(userId, "form");
signup(userId, "confirmed");
analytics.used("search");
const before = { percentOff: await flags.percentOff(), freeShipping: await flags.hasFreeShipping() };

// a ref of Vue follows what the server knows: it is false until the subscription is acknowledged
const app = createApp({});
app.use(tinycdp, { client: cdp });
const scope = effectScope();
const seen = [];
app.runWithContext(() =>
  scope.run(() => watch(useFlag("free_shipping", false, userId), (value) => seen.push(value), { flush: "sync" })),
);

const order = analytics.bought(`${userId}-1`, 30);
analytics.bought(`${userId}-1`, 30); // the same order again counts once
const percentOff = await flags.percentOff(order);
await analytics.subscribed("premium");
const freeShipping = await flags.hasFreeShipping(signup(userId, "paid"));
const variant = await flags.variantOf("checkout_button");
const allowed = await flags.allowed(["free_shipping", "help_chat", "no_such_flag"]);
await new Promise((resolve) => {
  const look = () => (seen.length ? resolve() : setTimeout(look, 10));
  look();
});
scope.stop();
await analytics.unsubscribed("moved away");

// nobody answers there: the defaults stand, and nothing throws
const away = initTinyCDP({ endpoint: "http://127.0.0.1:9", ...keys, logger: { debug() {}, info() {}, warn() {}, error() {} } });
const inOutage = { percentOff: await flagsOf(away, userId).percentOff(), allowed: await flagsOf(away, userId).allowed(["help_chat"]) };
await away.destroy(0);

const { sent, queued } = await cdp.destroy();
console.log(JSON.stringify({ before, percentOff, freeShipping, variant, allowed, vue: seen, inOutage, sent, queued }));
