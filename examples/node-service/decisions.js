/** What every route may ask: the flags of whoever calls, as middleware of Express. */

import { cdp } from "./client.js";

/**
 * Puts the decisions on `request.flags`, asked for with one request. Nobody waits longer than `decideTimeout`, and no
 * request fails for it: where nothing can be said `flags` is empty, so each route has its own default.
 */
export async function decisions(request, _response, next) {
  const userId = request.get("x-user-id");
  request.flags = userId ? await cdp.decideAll({ userId }) : {};
  next();
}

/** What is taken off every price: the value of a flag, 0 where there is none. */
export const percentOff = (flags) => flags.member_price?.value.percent_off ?? 0;
