/** An app's flags by name, each with the default that stands where nothing can be said. No call throws. */

const CHEAPER = { percent_off: 0 };

/**
 * What the flags say of a user. Answers are kept for as long as each flag's `cache_seconds` say, and dropped as soon as
 * this client sends an event of the user; in an outage the last answer stands for five minutes.
 */
export const flagsOf = (cdp, userId) => ({
  /** `after` is an event that the answer is to see. */
  hasFreeShipping: async (after) => (await cdp.decide({ userId, flag: "free_shipping", default: false, after })).value,
  percentOff: async (after) =>
    (await cdp.decide({ userId, flag: "member_price", default: CHEAPER, after })).value.percent_off,
  variantOf: async (experiment) => (await cdp.decide({ userId, flag: experiment, default: "control" })).variant ?? "control",
  /** Whether each of these allows, with one request. */
  allowed: async (flags) => {
    const decisions = await cdp.decideAll({ userId });
    return Object.fromEntries(flags.map((flag) => [flag, decisions[flag]?.allow ?? false]));
  },
});
