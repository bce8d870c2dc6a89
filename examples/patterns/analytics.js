/** An app's own words for what its people do, so that no page spells an event's name by itself. */

/** What a user does. Each call says it once; the client sends it, and sends it again where that is needed. */
export const analyticsOf = (cdp, userId) => ({
  signedUp: async (email, plan) => {
    await cdp.identify({ userId, traits: { email, plan } });
    return cdp.track({ userId, event: "signed_up", properties: { plan } });
  },
  loggedIn: (method) => cdp.track({ userId, event: "logged_in", properties: { method } }),
  changedProfile: (traits) => cdp.identify({ userId, traits }),
  used: (feature) => cdp.track({ userId, event: "feature_used", properties: { feature } }),
  bought: (order, amount) =>
    cdp.track({ userId, event: "purchase", properties: { amount }, messageId: `order-${order}` }),
  subscribed: async (plan) => {
    await cdp.identify({ userId, traits: { plan } });
    return cdp.track({ userId, event: "subscription_started", properties: { plan } });
  },
  unsubscribed: async (why) => {
    await cdp.identify({ userId, traits: { plan: "basic" } });
    return cdp.track({ userId, event: "subscription_cancelled", properties: { why } });
  },
});

/**
 * A funnel: each step is an event of its own name, so that a trait counts it (`events["signup: paid"].count_30d`).
 * Throws for a step that the funnel does not have.
 */
export function funnelOf(cdp, name, steps) {
  return (userId, step) => {
    const place = steps.indexOf(step);
    if (place < 0) throw new Error(`${name} has no step ${step}: it has ${steps.join(", ")}`);
    return cdp.track({ userId, event: `${name}: ${step}`, properties: { place } });
  };
}
