/** From a call to an event that can be queued, or one that is refused or dropped at once. */

import type { AnyParams, Kind, TrackEvent } from "./events";
import { bytesOf, EVENT_BYTES_MAX, eventOf, jsonOf, namesOf } from "./events";
import { BEFORE_SEND } from "./losses";
import type { Settings } from "./options";
import type { Entry, Outbox } from "./outbox";

/** What an event is counted under that is refused at once. */
const NO_EVENT = "no JSON or too large";

/**
 * Writes an event's JSON into its entry, after `beforeSend`; the outbox notes one that is refused or dropped. `paramsOf`
 * names who and where, and may throw.
 */
export function write(entry: Entry, kind: Kind, paramsOf: () => AnyParams, { writeKey, beforeSend }: Settings, outbox: Outbox): void {
  let failure = NO_EVENT;
  try {
    let event: TrackEvent = eventOf(kind, paramsOf());
    entry.messageId = event.messageId;
    if (!writeKey) {
      failure = "no writeKey";
      throw new Error("give one");
    }
    if (beforeSend) {
      for (const name of ["properties", "traits", "context"] as const) if (event[name]) event[name] = { ...event[name] };
      failure = "beforeSend failed";
      const changed = beforeSend(event);
      if (changed === null) return outbox.note(entry, "dropped", BEFORE_SEND);
      failure = NO_EVENT;
      event = changed || event;
      entry.messageId = event.messageId ||= entry.messageId;
    }
    entry.body = jsonOf(event);
    entry.bytes = bytesOf(entry.body);
    if (entry.bytes > EVENT_BYTES_MAX) throw new Error(`${entry.bytes} bytes; at most ${EVENT_BYTES_MAX}`);
    entry.names = namesOf(event);
  } catch (error) {
    outbox.note(entry, "refused", `${failure}: ${(error as any)?.message}`, failure);
  }
}
