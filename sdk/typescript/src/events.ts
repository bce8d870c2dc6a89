/**
 * From a call to an event's JSON, in the words of the wire.
 *
 * Written in the call, so that nothing which the app changes afterwards reaches the queue. A batch is the events' texts
 * joined, never parsed again.
 */

/** What an event says happened. */
export type Kind = "identify" | "track" | "page" | "screen" | "group" | "alias";

/** An event as the wire has it. */
export interface TrackEvent {
  type: Kind;
  messageId: string;
  timestamp: string;
  userId?: string | undefined;
  anonymousId?: string | undefined;
  event?: string | undefined;
  name?: string | undefined;
  category?: string | undefined;
  groupId?: string | undefined;
  previousId?: string | undefined;
  properties?: Record<string, unknown> | undefined;
  traits?: Record<string, unknown> | undefined;
  context?: Record<string, unknown> | undefined;
}

/** Whom a call is about, when it happened, and what a repeat of it is known by. */
export interface EventParams {
  /** The user's id. */
  userId?: string | number | undefined;
  /** Another word for `userId`. */
  externalId?: string | number | undefined;
  /** The id of a device or a browser, before somebody signed in. */
  anonymousId?: string | undefined;
  /** Another word for `anonymousId`. */
  deviceId?: string | undefined;
  /** When it happened: a Date, or ISO 8601; now by default. */
  timestamp?: Date | string | undefined;
  /** What a repeat is known by; without one each call is an event of its own. */
  messageId?: string | undefined;
  /** Stands for the client's own context. */
  context?: Record<string, unknown> | undefined;
}

export interface IdentifyParams extends EventParams {
  /** Attributes of the user: whole values of top-level keys; null removes one. */
  traits?: Record<string, unknown> | undefined;
}

export interface TrackParams extends EventParams {
  event: string;
  properties?: Record<string, unknown> | undefined;
}

/** A page or a screen that was seen: it counts as the event "Page Viewed" or "Screen Viewed". */
export interface ViewParams extends EventParams {
  name?: string | undefined;
  category?: string | undefined;
  properties?: Record<string, unknown> | undefined;
}

export interface GroupParams extends EventParams {
  groupId: string;
  traits?: Record<string, unknown> | undefined;
}

export interface AliasParams extends EventParams {
  /** An id, of a user or a device, that is the same person. */
  previousId: string;
}

/** The ids of somebody, as the wire has them. */
export interface Ids {
  userId?: string | undefined;
  anonymousId?: string | undefined;
}

/** Whatever a call may be given, of each kind. */
export type AnyParams = EventParams & Partial<TrackParams & ViewParams & GroupParams & AliasParams>;

/** One event, and one request, as the server bounds them. */
export const EVENT_BYTES_MAX = 32 * 1024;
export const REQUEST_BYTES_MAX = 500 * 1024;
/** What a request has beside its events. */
export const ENVELOPE_BYTES = 60;

const encoder = new TextEncoder();

/** How many bytes a text has as UTF-8. */
export const bytesOf = (text: string): number => encoder.encode(text).length;

/** A random id. The browser makes no UUIDs for a page that came without TLS. */
export const randomId = (): string =>
  crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint32Array(4)).join("-");

/** The ids that a call names, as texts. */
export function idsIn(params: EventParams): Ids {
  return {
    userId: textOf(params.userId) ?? textOf(params.externalId),
    anonymousId: textOf(params.anonymousId) ?? textOf(params.deviceId),
  };
}

/** Whether ids name somebody. */
export const isNamed = (ids: Ids): boolean => !!(ids.userId ?? ids.anonymousId);

/** An id as text; undefined for what is none. */
function textOf(id: unknown): string | undefined {
  try {
    return String(id ?? "").trim() ? String(id) : undefined;
  } catch {
    return undefined;
  }
}

/** An event in the words of the wire. Throws where the time is none. */
export function eventOf(kind: Kind, params: AnyParams): TrackEvent {
  const { timestamp } = params;
  const event: TrackEvent = {
    type: kind,
    messageId: textOf(params.messageId) ?? randomId(),
    timestamp: typeof timestamp === "string" ? timestamp : (timestamp ?? new Date()).toISOString(),
    ...idsIn(params),
  };
  if (kind === "identify" || kind === "group") event.traits = params.traits ?? {};
  else if (kind !== "alias") event.properties = params.properties ?? {};
  for (const name of ["event", "name", "category", "groupId", "previousId", "context"] as const) {
    if (params[name] !== undefined) event[name] = params[name] as any;
  }
  return event;
}

/** An event's JSON. Throws an error that says what is no JSON, and what to send instead. */
export function jsonOf(event: TrackEvent): string {
  const json = JSON.stringify(event, plain);
  if (/[^\\](\\\\)*\\ud[89a-f]/.test(json)) {
    throw new Error("half of a surrogate pair; send whole characters");
  }
  return json;
}

/** A value as JSON has it. Dates are texts by now. */
function plain(_: string, value: unknown): unknown {
  if (value instanceof Set) return [...value];
  if (value instanceof Map) return Object.fromEntries(value);
  const type = typeof value;
  if (/bigint|function|symbol/.test(type) || (type === "number" && !Number.isFinite(value))) {
    throw new Error(`${type === "number" ? value : type} is no JSON value; send a number or a text`);
  }
  return value;
}

/** The ids that an event names, each with its kind before it: whose kept answers it makes old. */
export function namesOf(event: Ids & { previousId?: string | undefined }): string[] {
  const { userId, anonymousId, previousId } = event;
  const ids = [["user", userId], ["anon", anonymousId], ["user", previousId], ["anon", previousId]];
  return ids.filter(([, id]) => id).map((name) => name.join(":"));
}

/** The body of `POST /v1/batch` for events that are written. `writeKey` is in it where no header can have it. */
export function requestOf(entries: { body: string }[], writeKey?: string): string {
  const key = writeKey ? `"writeKey":${JSON.stringify(writeKey)},` : "";
  return `{${key}"batch":[${entries.map((entry) => entry.body).join()}],"sentAt":"${new Date().toISOString()}"}`;
}
