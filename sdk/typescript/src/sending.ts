/** Events over the wire: a batch and what its answer means, and what a page hands to the browser when it is left. */

import type { Verdict } from "./answers";
import { unanswered } from "./answers";
import { bytesOf, REQUEST_BYTES_MAX, requestOf } from "./events";
import { exchange, verdictIn } from "./http";
import type { Settings } from "./options";
import type { Attempt, Outbox } from "./outbox";
import { fitting } from "./outbox";
import type { Shelf } from "./shelf";
import { isHidden, isOffline } from "./tab";

/** Bytes that a browser sends for a page that is left. All requests of the page share 64 KiB. */
const UNLOAD_BYTES_MAX = 60 * 1024;

/** Bytes of a request, at most. */
export const requestBytesMax = (): number => (isHidden() ? UNLOAD_BYTES_MAX : REQUEST_BYTES_MAX);

/** Sends an attempt, one at a time among the tabs of a browser; what its answer means. */
export async function sent({ batch }: Attempt, { endpoint, writeKey, fetch, timeout, logger }: Settings, shelf: Shelf | undefined): Promise<Verdict> {
  const body = requestOf(batch);
  const keepalive = isHidden() && bytesOf(body) <= UNLOAD_BYTES_MAX;
  const ask = () => exchange(fetch, { url: `${endpoint}/v1/batch`, key: writeKey, body, keepalive }, timeout);
  const verdict = await (shelf?.alone(ask) ?? ask()).then(verdictIn, () => unanswered("no answer", false));
  logger.debug(`${batch.length} events: ${verdict.reason}`);
  return verdict;
}

/** Hands what is not acknowledged to the browser, for a page that is left. No answer comes, so all of it stays. */
export function sendBeacons(outbox: Outbox, { endpoint, writeKey }: Settings, shelf: Shelf | undefined): void {
  const waiting = isOffline() ? [] : outbox.waiting();
  try {
    while (waiting.length) {
      const entries = fitting(waiting, UNLOAD_BYTES_MAX);
      const body = requestOf(entries, writeKey);
      if (!navigator.sendBeacon(`${endpoint}/v1/batch`, body)) return;
      outbox.stamp(entries, Date.now());
      shelf?.put(entries);
    }
  } catch {} // a browser, or a blocker of requests, that has no beacons
}
