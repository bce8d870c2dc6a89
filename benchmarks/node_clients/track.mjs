// Tracks so many events as fast as it can, ends the client, and prints what that took as JSON.
import { initTinyCDP } from "../../sdk/typescript/dist/index.js";
import { Analytics } from "@segment/analytics-node";

const [name, url, key, count] = process.argv.slice(2);
const events = Number(count);
const properties = { amount: 30.5, currency: "EUR", items: 3, coupon: null, channel: "web" };
const clients = {
  tinycdp: () => {
    const client = initTinyCDP({ endpoint: url, writeKey: key, maxQueueSize: 2 * events });
    return [(userId) => client.track({ userId, event: "purchase", properties }), () => client.destroy(300_000)];
  },
  segment: () => {
    const client = new Analytics({ host: url, writeKey: key });
    return [(userId) => client.track({ userId, event: "purchase", properties }), () => client.closeAndFlush({ timeout: 300_000 })];
  },
};
const [track, close] = clients[name]();
const users = Array.from({ length: events }, (_, number) => `bench-${number % 1_000}`);
const began = performance.now();
const beganCpu = process.cpuUsage();
for (const user of users) track(user);
const tracked = process.cpuUsage(beganCpu);
await close();
const ended = process.cpuUsage(beganCpu);
const microseconds = ({ user, system }) => (user + system) / events;
console.log(JSON.stringify({ track_us: microseconds(tracked), cpu_us: microseconds(ended), seconds: (performance.now() - began) / 1_000 }));
