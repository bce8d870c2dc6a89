/**
 * What the shop's client sends and is answered, for the page to show; and the switch that takes the page offline.
 *
 * An app needs none of this: `beforeSend`, `onError` and `fetch` are options of every client.
 */

import type { Failure, TrackEvent } from "@tinycdp/sdk";
import { useSyncExternalStore } from "react";

/** One event, or one answer that differs from the one before. */
export interface Line {
  /** An event's message id. */
  id: string;
  at: Date;
  kind: "event" | "decision";
  what: string;
  details: string;
  /** How far an event is: queued, sent, refused, dropped or unknown. */
  state: string;
}

interface Wire {
  /** The newest first. */
  lines: readonly Line[];
  isOnline: boolean;
  /** How many decisions the server answered. */
  decisions: number;
}

/** More lines push the oldest out. */
const LINES_MAX = 50;

let wire: Wire = { lines: [], isOnline: true, decisions: 0 };
const listeners = new Set<() => void>();
/** What each flag said last. */
const said = new Map<string, string>();

function change(changes: Partial<Wire>): void {
  wire = { ...wire, ...changes };
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** The wire, as it is now. */
export const useWire = (): Wire => useSyncExternalStore(subscribe, () => wire);

export const clearLog = (): void => change({ lines: [] });

function add(line: Omit<Line, "at">): void {
  change({ lines: [{ ...line, at: new Date() }, ...wire.lines].slice(0, LINES_MAX) });
}

function settle(ids: ReadonlySet<string>, state: string): void {
  change({ lines: wire.lines.map((line) => (ids.has(line.id) && line.state === "queued" ? { ...line, state } : line)) });
}

/** `beforeSend`: every event passes here as it is queued. */
export function noteEvent({ messageId, type, event, properties, traits }: TrackEvent): void {
  const { page: _, timestamp: __, ...shown } = { ...properties, ...traits };
  const details = Object.entries(shown).map(([name, value]) => `${name}: ${value}`);
  add({ id: messageId, kind: "event", what: event ?? type, details: details.join(", "), state: "queued" });
}

/** `onError`: an event that does not arrive, or may not. */
export function noteFailure({ messageId, state }: Failure): void {
  settle(new Set([messageId]), state);
}

/** The platform's `fetch`, unless the page is offline. What is answered is noted; the client has its answer untouched. */
export const watchedFetch: typeof fetch = async (input, init) => {
  if (!wire.isOnline) throw new TypeError("the shop is offline");
  const answer = await fetch(input, init);
  // Read before the client has it, which may end the request once it is done. A log must break nothing.
  if (answer.ok) await noteAnswer(String(input), init?.body, answer.clone()).catch(() => {});
  return answer;
};

/** Notes the answer to a batch or to a question for decisions. */
async function noteAnswer(url: string, sent: unknown, answer: Response): Promise<void> {
  const { pathname } = new URL(url);
  if (pathname.endsWith("/v1/decide")) noteDecisions(await answer.json());
  if (!pathname.endsWith("/v1/batch")) return;
  const { batch } = JSON.parse(String(sent)) as { batch: TrackEvent[] };
  const { rejected = [] } = (await answer.json()) as { rejected?: { index: number }[] };
  const refused = new Set(rejected.map(({ index }) => index));
  settle(new Set(batch.flatMap(({ messageId }, index) => (refused.has(index) ? [] : [messageId]))), "sent");
}

interface Answered {
  flag: string;
  allow: boolean;
  variant?: string | null;
  reason: string;
}

/** Notes each decision that differs from the last one on its flag. */
function noteDecisions(body: Answered | { decisions: Answered[] }): void {
  const decisions = "decisions" in body ? body.decisions : [body];
  change({ decisions: wire.decisions + decisions.length });
  for (const { flag, allow, variant, reason } of decisions) {
    const answer = variant ?? (allow ? "yes" : "no");
    if (said.get(flag) === answer) continue;
    said.set(flag, answer);
    add({ id: "", kind: "decision", what: flag, details: answer, state: reason });
  }
}

/** Takes the page offline, or back, as the browser would. */
export function setOnline(isOnline: boolean): void {
  change({ isOnline });
  Object.defineProperty(navigator, "onLine", { configurable: true, get: () => isOnline });
  window.dispatchEvent(new Event(isOnline ? "online" : "offline"));
}
