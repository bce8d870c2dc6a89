/**
 * A function of a cloud: it is frozen, or ended, as soon as it has answered, and whatever is queued then waits for a call
 * that may never come. So it sends before it answers.
 */

import { cdp } from "./client.js";

/** What is left of the time that the cloud gives, for the last attempt. */
const FLUSH_MS = 2_000;

export async function handler({ userId, invoice, amount }) {
  const paid = cdp.track({ userId, event: "purchase", properties: { amount }, messageId: `invoice-${invoice}` });
  const gift = await cdp.decide({ userId, flag: "free_shipping", default: false, after: paid });
  cdp.track({ userId, event: "invoice_paid", properties: { invoice, gift: gift.value } });
  const { queued } = await cdp.flush(FLUSH_MS);
  return { gift: gift.value, queued };
}
