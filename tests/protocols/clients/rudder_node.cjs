// Every kind of call with @rudderstack/rudder-sdk-node: gzip under a form's Content-Type, and times as `originalTimestamp`.
const RudderAnalytics = require("@rudderstack/rudder-sdk-node").default ?? require("@rudderstack/rudder-sdk-node");

const { host, writeKey, user, orders } = JSON.parse(process.argv[2]);
const errors = [];
const analytics = new RudderAnalytics(writeKey, {
  dataPlaneUrl: host,
  flushInterval: 100,
  errorHandler: (error) => errors.push(String(error)),
});

analytics.identify({ userId: user, traits: { node_plan: "free" } });
for (let n = 0; n < orders; n++) {
  analytics.track({ userId: user, event: "node_order", properties: { amount: 0.5 } });
}
analytics.page({ userId: user, category: "Docs", name: "Install" });
analytics.screen({ userId: user, name: "Cart" });
analytics.group({ userId: user, groupId: "acme", traits: { seats: 3 } });
analytics.flush().then(() => console.log(JSON.stringify({ errors })));
