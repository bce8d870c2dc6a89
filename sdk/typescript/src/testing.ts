/**
 * For the tests of apps: a client that records, and answers what a test says.
 *
 *     const cdp = recordingClient({ flags: { free_shipping: true } });
 *     checkout(cdp, "ada");
 *     expect(cdp.events[0]?.event).toBe("purchase");
 */

import type { TinyCDPClient, TinyCDPOptions, TrackEvent } from "@tinycdp/sdk";
import { initTinyCDP } from "@tinycdp/sdk";
import { bytesOf, EVENT_BYTES_MAX, jsonOf } from "./events";

/** What a flag answers: a value, or a function from the user id to one. */
export type FlagAnswer = unknown | ((userId: string) => unknown);

export interface RecordingOptions extends Partial<TinyCDPOptions> {
  /** Key of a flag → its answer. A flag that is not here is unknown. */
  flags?: Record<string, FlagAnswer> | undefined;
}

export interface RecordingClient extends TinyCDPClient {
  /** The events that would be sent, as the wire has them, in order. */
  readonly events: TrackEvent[];
  /** May be changed by a test at any time. */
  readonly flags: Record<string, FlagAnswer>;
}

/** A client that sends nothing and asks nobody. It checks and writes events as the real one does, and keeps nothing. */
export function recordingClient({ flags = {}, ...options }: RecordingOptions = {}): RecordingClient {
  const events: TrackEvent[] = [];
  const own = { ...flags };

  const decision = (flag: string, userId: string) => {
    const answer = own[flag];
    const value: unknown = typeof answer === "function" ? answer(userId) : answer;
    const variant = typeof value === "string" ? value : undefined;
    return { flag, userId, allow: !!value, value, variant, reason: "STATIC", reasons: [] };
  };

  function answer(url: URL, body: any): [status: number, said: object] {
    if (url.pathname.endsWith("/v1/batch")) return [200, { success: true }];
    const asked = body ?? Object.fromEntries(url.searchParams);
    const userId: string = asked.userId ?? asked.anonymousId ?? "";
    if (!("flag" in asked)) return [200, { decisions: Object.keys(own).map((flag) => decision(flag, userId)) }];
    if (asked.flag in own) return [200, decision(asked.flag, userId)];
    return [404, { message: `Flag '${asked.flag}' not found`, details: { field: "flag" } }];
  }

  /** Keeps an event as the wire has it; none that the client is about to refuse, as its handle then says. */
  function record(event: TrackEvent): void {
    try {
      const json = jsonOf(event);
      if (bytesOf(json) <= EVENT_BYTES_MAX) events.push(JSON.parse(json));
    } catch {} // it is no JSON
  }

  const client = initTinyCDP({
    endpoint: "http://recording.invalid",
    writeKey: "recording",
    readKey: "recording",
    persistence: false,
    autoFlushOnUnload: false,
    ...options,
    beforeSend: (event) => {
      const changed = options.beforeSend ? options.beforeSend(event) : event;
      if (changed !== null) record(changed || event);
      return changed;
    },
    fetch: async (url, request) => {
      const body = typeof request?.body === "string" ? JSON.parse(request.body) : undefined;
      const [status, said] = answer(new URL(String(url)), body);
      return new Response(JSON.stringify(said), { status });
    },
  });
  return Object.assign(client, { events, flags: own });
}
