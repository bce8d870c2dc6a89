// Every kind of call with @segment/analytics-node, then its errors as JSON.
const { Analytics } = require("@segment/analytics-node");

const { host, writeKey, user, orders } = JSON.parse(process.argv[2]);
const errors = [];
const analytics = new Analytics({ host, writeKey, flushInterval: 100, maxRetries: 1 });
analytics.on("error", (error) => errors.push(String(error.reason ?? error.code)));

analytics.identify({ userId: user, traits: { node_plan: "pro" } });
for (let n = 0; n < orders; n++) {
  analytics.track({ userId: user, event: "node_order", properties: { amount: 0.5 } });
}
analytics.page({ userId: user, category: "Docs", name: "Install" });
analytics.screen({ userId: user, name: "Cart" });
analytics.group({ userId: user, groupId: "acme", traits: { seats: 3 } });
analytics.closeAndFlush({ timeout: 20_000 }).then(() => console.log(JSON.stringify({ errors })));
