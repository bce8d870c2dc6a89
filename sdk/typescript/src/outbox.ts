/**
 * Events on their way out: the whole of queueing, batching, splitting and repeating, without I/O, timers or a clock.
 *
 *     put → queue ─┬→ attempt → verdict ─┬→ settled: sent, refused, unknown
 *     retries ─────┘                     └→ again, whole or in halves, not before its time
 *
 * One attempt is under way at a time. Times are given: `nowMs` of a clock that never goes back, `wallMs` of the
 * calendar's. `tests/conformance/clients/batches.json` holds the cases.
 */

import type { RetryConfig, Verdict } from "./answers";
import { waitMs } from "./answers";
import { ENVELOPE_BYTES, REQUEST_BYTES_MAX } from "./events";

/**
 * How far an event is: `queued`, `sending`, or how it ended. `unknown`: it may count or not, and this client does not send it
 * again.
 */
export type State = "queued" | "sending" | "sent" | "dropped" | "refused" | "unknown";

/** For so long the server knows a repeat for certain; less an hour for clocks that differ. */
const REPEAT_MS_MAX = 23 * 3_600_000;
/** A calendar that goes back by more than this between attempts cannot say how old the first one is. */
const CLOCK_BACK_MS_MAX = 60_000;
/** So often a batch is answered 429 before it is split: one full id holds all others. */
const FULL_ANSWERS_MAX = 3;
/** Why nobody here knows what becomes of an event that the browser keeps. */
const ELSEWHERE = "another page sends it";
/** Reasons that are counted by name; those beyond are "other". */
const REASONS_MAX = 50;

/**
 * An event on its way. `firstMs`, `lastMs`: the calendar's time of its first attempt that may have stored it, and of its
 * last attempt. `place`: its name in a browser's storage.
 */
export interface Entry {
  body: string;
  bytes: number;
  messageId: string;
  names: string[];
  queuedMs: number;
  state: State;
  reason: string;
  firstMs?: number | undefined;
  lastMs?: number | undefined;
  place?: string | undefined;
}

/** Entries that go out in one request; the calendar's time when they did, and how often they were told 429. */
export interface Attempt {
  batch: Entry[];
  fullAnswers: number;
  notBeforeMs: number;
  wallMs: number;
}

/** How many events are queued or under way, and what became of the others since the client was made, by reason. */
export interface Stats {
  queued: number;
  sent: number;
  dropped: Record<string, number>;
  refused: Record<string, number>;
  unknown: Record<string, number>;
}

export interface OutboxOptions {
  maxQueueSize: number;
  flushAt: number;
  flushIntervalMs: number;
  retry: RetryConfig;
}

export type Outbox = ReturnType<typeof outboxOf>;

/** An event that begins its way now. */
export const newEntry = (): Entry => {
  return { body: "", bytes: 0, messageId: "", names: [], queuedMs: performance.now(), state: "queued", reason: "" };
};

/** Whether a state is the last one. */
export const isSettled = (entry: Entry): boolean => entry.state !== "queued" && entry.state !== "sending";

export function outboxOf({ maxQueueSize, flushAt, flushIntervalMs, retry }: OutboxOptions) {
  const stats: Stats = { queued: 0, sent: 0, dropped: {}, refused: {}, unknown: {} };
  let queue: Entry[] = [];
  let retries: Attempt[] = [];
  let underWay: Attempt | undefined;
  let failures = 0; // attempts in a row without an answer that stores
  let pausedUntilMs = 0;

  /** Ends an entry's way. `key` is what it is counted under, one of few; the reason may say more. */
  function end(entry: Entry, state: "sent" | "dropped" | "refused" | "unknown", reason: string, key = reason): void {
    stats.queued--;
    note(entry, state, reason, key);
  }

  /** Counts an event that was refused or dropped before it could be queued. */
  function note(entry: Entry, state: "sent" | "dropped" | "refused" | "unknown", reason: string, key = reason): void {
    entry.state = state;
    entry.reason = reason;
    if (state === "sent") stats.sent++;
    else {
      const counts = stats[state];
      const name = key in counts || Object.keys(counts).length < REASONS_MAX ? key : "other";
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }

  /** An entry that is given up: whether it counts is not known where an attempt may have stored it. */
  const lose = (entry: Entry, reason: string): void =>
    end(entry, !entry.firstMs && entry.state === "queued" ? "dropped" : "unknown", reason);

  /** Takes out the oldest that is not under way; there must be one. */
  function oldestWaiting(): Entry {
    const retry = retries.find((attempt) => attempt.batch.length);
    if (!retry) queue.sort((one, other) => one.queuedMs - other.queuedMs); // what was hurried is not the oldest
    return (retry?.batch ?? queue).shift()!;
  }

  /** Queues an event; the oldest that had to go for it, which is itself where all others are under way. */
  function put(entry: Entry): Entry[] {
    queue.push(entry);
    if (++stats.queued <= maxQueueSize) return [];
    const oldest = oldestWaiting();
    lose(oldest, "queue full");
    return [oldest];
  }

  /** Every entry that is not settled, in order. */
  function waiting(): Entry[] {
    return [...(underWay?.batch ?? []), ...retries.flatMap((attempt) => attempt.batch), ...queue];
  }

  /** Puts what is queued of these ids, or has one of these as its `messageId`, ahead of all else. */
  function hurry(names: string[]): void {
    const isOther = (entry: Entry): number => +![entry.messageId, ...entry.names].some((name) => names.includes(name));
    queue.sort((one, other) => isOther(one) - isOther(other));
  }

  /** When something is due next, at the earliest; never (Infinity) while nothing is queued, or an answer must come before. */
  function wakeMs(flush: boolean): number {
    if (underWay) return Infinity;
    retries = retries.filter((attempt) => attempt.batch.length);
    const times = retries.map((attempt) => attempt.notBeforeMs);
    const [first] = queue;
    if (first) times.push(flush || queue.length >= flushAt ? 0 : first.queuedMs + flushIntervalMs);
    return Math.max(Math.min(...times), pausedUntilMs);
  }

  /**
   * The entries to send now, if any are due; and those that are given up, since nobody can say any more whether an
   * earlier attempt counted. `flush` makes everything due that does not wait for its time after a refusal.
   */
  function next(nowMs: number, wallMs: number, flush: boolean, bytesMax = REQUEST_BYTES_MAX): [Attempt | undefined, Entry[]] {
    if (nowMs < wakeMs(flush)) return [undefined, []];
    const due = retries.findIndex((attempt) => attempt.notBeforeMs <= nowMs);
    const attempt =
      due < 0
        ? { batch: fitting(queue, bytesMax, flushAt), fullAnswers: 0, notBeforeMs: 0, wallMs }
        : retries.splice(due, 1)[0]!;
    const isOld = ({ firstMs = wallMs, lastMs = wallMs }: Entry): boolean =>
      wallMs - firstMs > REPEAT_MS_MAX || lastMs - wallMs > CLOCK_BACK_MS_MAX;
    const givenUp = attempt.batch.filter(isOld);
    for (const entry of givenUp) end(entry, "unknown", "an old attempt may have counted");
    attempt.batch = attempt.batch.filter((entry) => !isSettled(entry));
    if (!attempt.batch.length) return [undefined, givenUp];
    for (const entry of attempt.batch) entry.state = "sending";
    attempt.wallMs = wallMs;
    underWay = attempt;
    return [attempt, givenUp];
  }

  /** Notes an attempt that may have stored these entries. */
  function stamp(entries: Entry[], wallMs: number): void {
    for (const entry of entries) {
      entry.firstMs ??= wallMs;
      entry.lastMs = wallMs;
    }
  }

  /** What the answer makes of the attempt; the entries that are settled by it. */
  function settle(attempt: Attempt, verdict: Verdict, nowMs: number): Entry[] {
    if (attempt !== underWay) return [];
    underWay = undefined;
    const { fate, reason } = verdict;
    const entries = attempt.batch;
    if (verdict.isAmbiguous) stamp(entries, attempt.wallMs);
    if (fate === "stored" || fate === "split") failures = 0;
    if (fate === "stored") {
      entries.forEach((entry, index) => {
        const refusal = verdict.rejected[index];
        if (refusal) end(entry, "refused", refusal[1], refusal[0]);
        else end(entry, "sent", "");
      });
    } else if (fate === "split" && !entries[1]) {
      const [entry] = entries as [Entry];
      end(entry, !entry.firstMs ? "refused" : "unknown", reason, "request refused");
    } else if (fate === "split") {
      again(attempt, nowMs, true);
    } else if (reason.startsWith("HTTP 429") && ++attempt.fullAnswers >= FULL_ANSWERS_MAX) {
      // One full id holds the others: they are asked apart from it, and it waits by itself.
      again(attempt, nowMs + waitMs(attempt.fullAnswers, verdict.retryAfterMs, retry), true);
    } else {
      pausedUntilMs = nowMs + waitMs(++failures, verdict.retryAfterMs, retry);
      again(attempt, pausedUntilMs);
    }
    return entries.filter(isSettled);
  }

  /** Sends the entries of an attempt again, not before a time; as two attempts, where it is halved. */
  function again({ batch, ...attempt }: Attempt, notBeforeMs: number, isHalved = false): void {
    const middle = isHalved ? batch.length >> 1 : 0;
    for (const part of [batch.slice(0, middle), batch.slice(middle)]) {
      for (const entry of part) entry.state = "queued";
      retries.push({ ...attempt, batch: part, notBeforeMs });
    }
  }

  /** What waits for its time after a failure is due now. */
  function resume(): void {
    pausedUntilMs = 0;
    for (const attempt of retries) attempt.notBeforeMs = 0;
  }

  /**
   * Gives up every entry that is not settled; those that the browser keeps are left to another page, where `isLeft`. The
   * entries that are lost by it. The outbox is empty afterwards.
   */
  function giveUp(reason: string, isLeft = false): Entry[] {
    const entries = waiting();
    [queue, retries, underWay] = [[], [], undefined];
    for (const entry of entries) isLeft && entry.place ? end(entry, "unknown", ELSEWHERE) : lose(entry, reason);
    return entries.filter((entry) => entry.reason !== ELSEWHERE);
  }

  /** Leaves entries to another tab, which took them over, unless they are under way. */
  function forget(gone: Entry[]): void {
    for (const entry of gone) if (entry.state === "queued") end(entry, "unknown", ELSEWHERE);
    const stays = (entry: Entry): boolean => !isSettled(entry);
    queue = queue.filter(stays);
    for (const attempt of retries) attempt.batch = attempt.batch.filter(stays);
  }

  return {
    stats, put, note, hurry, wakeMs, next, settle, stamp, waiting, resume, giveUp, forget,
    failures: () => failures,
  };
}

/** Takes out of entries the first ones that fit into a request; one at least. */
export function fitting(source: Entry[], bytesMax: number, countMax = Infinity): Entry[] {
  let bytes = ENVELOPE_BYTES;
  let count = 0;
  while (count < source.length && count < countMax && (bytes += source[count]!.bytes + 1) <= bytesMax) count++;
  return source.splice(0, count || 1);
}
