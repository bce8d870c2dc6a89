/**
 * The client: events out, decisions in.
 *
 *     track → event's JSON → outbox ── timer ─→ POST /v1/batch → settled → handles, `onError`
 *
 * Nothing is touched when this module is imported: what a browser has is looked for when a client begins.
 */

import { unanswered } from "./answers";
import type { DecideAllParams, DecideParams, Handle, TinyCDPClient } from "./calls";
import type { Decision, Question, Undecided } from "./decisions";
import { askingOf, undecided } from "./decisions";
import type { AnyParams, EventParams, Ids, IdentifyParams, Kind, TrackEvent } from "./events";
import { bytesOf, EVENT_BYTES_MAX, eventOf, idsIn, jsonOf, namesOf, REQUEST_BYTES_MAX, requestOf } from "./events";
import { exchange, verdictIn } from "./http";
import type { Identity } from "./identity";
import { CONSENT, identityOf, pageContext } from "./identity";
import type { TinyCDPOptions } from "./options";
import { settingsOf } from "./options";
import type { Attempt, Entry, Stats } from "./outbox";
import { fitting, isSettled, outboxOf } from "./outbox";
import type { Shelf } from "./shelf";
import { shelfOf } from "./shelf";
import { memoryStore, windowStore } from "./storage";

/** Bytes that a browser sends for a page that is left. All requests of the page share 64 KiB. */
const UNLOAD_BYTES_MAX = 60 * 1024;
/** How long a Node process that ends by itself goes on to send what is queued. */
const EXIT_MS = 2_000;
/** So many attempts that failed one after the other are worth a word in the log. */
const FAILURES_TOLD = 3;
/** Without `onError` the log says at most so often that events are lost. */
const LOSSES_TOLD_MS = 10_000;

/** A client. Make one for a page or a process. Throws where an option is wrong. */
export function initTinyCDP(options: TinyCDPOptions): TinyCDPClient {
  const settings = settingsOf(options);
  const { endpoint, writeKey, readKey, logger, onError, beforeSend } = settings;
  const isBrowser = typeof window !== "undefined" && typeof document !== "undefined";
  const outbox = outboxOf({ ...settings, queueMax: settings.maxQueueSize });
  const asking = askingOf();
  const listeners = new Set<() => void>();
  const over = new AbortController(); // ends what listens
  let waiters: (() => void)[] = [];
  let identity: Identity | undefined;
  let shelf: Shelf | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let flushing = 0;
  let epoch = 0; // counts changes of the identity: an answer for one that was left is dropped
  let isStarted = false;
  let isOver = false;
  let isExiting = false;
  let isInTrouble = false;
  let isAwayTold = false;
  let losses = 0;
  let lossesToldMs = -LOSSES_TOLD_MS;

  const nowMs = (): number => performance.now();
  const isOffline = (): boolean => isBrowser && navigator.onLine === false;
  const isHidden = (): boolean => isBrowser && document.visibilityState === "hidden";

  // ── begin and end ────────────────────────────────────────────────────────────────────────────────────────────────

  function start(): void {
    if (isStarted || isOver) return;
    isStarted = true;
    if (!isBrowser) {
      const node: any = (globalThis as any).process;
      if (typeof node?.off !== "function") return;
      node.on("beforeExit", sendAtExit);
      over.signal.onabort = () => node.off("beforeExit", sendAtExit);
      return;
    }
    const store = (settings.persistence && windowStore("localStorage")) || memoryStore();
    identity = identityOf(store, settings.optOutByDefault);
    if (settings.persistence) {
      shelf = shelfOf(endpoint);
      shelf.hold(outbox.waiting, adopt);
    }
    listen(window, "online", () => {
      outbox.resume();
      pump();
    });
    listen(window, "storage", (event: StorageEvent) => {
      if (event.key === CONSENT && isOptedOut()) drop("opted out");
    });
    listen(window, "pageshow", (event: PageTransitionEvent) => {
      if (!event.persisted) return;
      outbox.forget(shelf?.gone(outbox.waiting()) ?? []);
      shelf?.hold(outbox.waiting, adopt);
      pump();
    });
    listen(window, "pagehide", () => {
      if (settings.autoFlushOnUnload) sendBeacons();
      shelf?.release(outbox.waiting());
    });
    listen(document, "visibilitychange", () => {
      if (!isHidden()) shelf?.hold(outbox.waiting, adopt);
      else if (settings.autoFlushOnUnload) void flush();
    });
  }

  const listen = (target: EventTarget, name: string, act: (event: any) => void): void =>
    target.addEventListener(name, act, { signal: over.signal });

  /** Sends what is queued before a Node process ends by itself: once, since it would else go on as long as it fails. */
  async function sendAtExit(): Promise<void> {
    if (isExiting || !outbox.stats.queued) return;
    isExiting = true;
    const { queued } = await flush(EXIT_MS);
    if (queued) logger.warn(`${queued} events were not sent before the process ended`);
  }

  function requireLife(): void {
    if (isOver) throw new Error("TinyCDP client has been destroyed");
    start();
  }

  async function destroy(timeoutMs = settings.timeout): Promise<Stats> {
    if (isOver) return stats();
    isOver = true;
    await sentUntil(() => !outbox.stats.queued, timeoutMs);
    clearTimeout(timer);
    if (shelf) {
      shelf.release(outbox.waiting()); // the rest stays there, for the next page
      outbox.leave();
    } else {
      tell(outbox.giveUp("the client was closed before it was acknowledged", "closed"));
    }
    over.abort();
    wake();
    return stats();
  }

  // ── events in ────────────────────────────────────────────────────────────────────────────────────────────────────

  function put(kind: Kind, params: AnyParams): Entry {
    requireLife();
    const entry: Entry = { body: "", size: 0, messageId: "", names: [], queuedMs: nowMs(), state: "queued", reason: "" };
    const lose = (state: "dropped" | "refused", reason: string, key: string, isTold = true): Entry => {
      outbox.note(entry, state, reason, key);
      if (isTold) tell([entry]);
      return entry;
    };
    if (isOptedOut()) {
      if (kind === "identify") ownIds(kind, params); // decisions are about who is signed in all the same
      return lose("dropped", "the person opted out", "opted out", false);
    }
    let event: TrackEvent;
    let failure = "no JSON or too large";
    try {
      event = eventOf(kind, { ...params, context: params.context ?? contextOf(), ...ownIds(kind, params) });
      entry.messageId = event.messageId;
      if (writeKey === undefined) return lose("refused", "writeKey: not set; give one", "no write key");
      if (beforeSend) {
        for (const name of ["properties", "traits", "context"] as const) if (event[name]) event[name] = { ...event[name] };
        failure = "beforeSend failed";
        const changed = beforeSend(event);
        failure = "no JSON or too large";
        if (changed === null) return lose("dropped", "beforeSend returned null", "beforeSend", false);
        event = changed || event;
        entry.messageId = event.messageId ||= entry.messageId;
      }
      entry.body = jsonOf(event);
      entry.size = bytesOf(entry.body);
      if (entry.size > EVENT_BYTES_MAX) throw new Error(`${entry.size} bytes; an event has at most ${EVENT_BYTES_MAX}`);
    } catch (error) {
      return lose("refused", `${failure}: ${(error as any)?.message}`, failure);
    }
    entry.names = namesOf(event);
    queue([entry]);
    return entry;
  }

  /** Queues entries, for which others may have to go. */
  function queue(entries: Entry[]): void {
    for (const entry of entries) {
      const lost = outbox.put(entry);
      asking.drop(entry.names);
      shelf?.remove(lost);
      tell(lost);
    }
    shelf?.put(entries.filter((entry) => !isSettled(entry)));
    schedule();
  }

  /** The ids of an event that names none: whoever uses this browser. Throws where nobody can be named. */
  function ownIds(kind: Kind, params: EventParams): Ids {
    const ids = idsIn(params);
    if (identity && kind === "identify" && ids.userId !== undefined) {
      if (identity.user() !== ids.userId) changeIdentity(() => identity!.take(ids.userId!));
      return { ...ids, anonymousId: ids.anonymousId ?? identity.anonymous() };
    }
    return isNamed(ids) ? ids : ownIdentity();
  }

  const isNamed = (ids: Ids): boolean => (ids.userId ?? ids.anonymousId) !== undefined;

  const ownIdentity = (): Ids => (identity ? { userId: identity.user(), anonymousId: identity.anonymous() } : {});

  function contextOf(): Record<string, unknown> | undefined {
    if (!identity) return settings.context;
    return { ...pageContext(), sessionId: identity.session(Date.now()), ...settings.context };
  }

  function changeIdentity(change: () => void): void {
    change();
    epoch++;
    asking.drop();
    notify();
  }

  function notify(): void {
    for (const listener of listeners) listener();
  }

  const handleOf = (entry: Entry): Handle => ({
    messageId: entry.messageId,
    get state() {
      return entry.state;
    },
    get reason() {
      return entry.reason;
    },
    wait: (timeoutMs) => sentUntil(() => isSettled(entry), timeoutMs).then(() => entry.state),
  });

  function adopt(entries: Entry[]): void {
    if (isOptedOut()) return;
    for (const entry of entries) entry.queuedMs = nowMs();
    queue(entries);
  }

  // ── events out ───────────────────────────────────────────────────────────────────────────────────────────────────

  function schedule(): void {
    const wakeMs = outbox.wakeMs(flushing > 0);
    clearTimeout(timer);
    if (wakeMs === undefined || (isOver && !flushing)) return;
    timer = setTimeout(pump, Math.max(0, Math.min(wakeMs - nowMs(), 2 ** 31 - 1)));
    if (!flushing) (timer as any).unref?.(); // a process that has nothing else to do may end
  }

  function pump(): void {
    if (isOffline()) return; // an attempt would only make it look as if it may have counted
    const bytesMax = isHidden() ? UNLOAD_BYTES_MAX : REQUEST_BYTES_MAX;
    const [attempt, givenUp] = outbox.next(nowMs(), Date.now(), flushing > 0, bytesMax);
    if (givenUp.length) {
      shelf?.remove(givenUp);
      tell(givenUp);
      wake();
    }
    if (attempt) void send(attempt);
    else schedule();
  }

  async function send(attempt: Attempt): Promise<void> {
    shelf?.put(attempt.entries, attempt.wallMs);
    const body = requestOf(attempt.entries.map((entry) => entry.body));
    const keepalive = isHidden() && body.length <= UNLOAD_BYTES_MAX;
    const ask = () =>
      exchange(settings.fetch, { url: `${endpoint}/v1/batch`, key: writeKey, body, keepalive }, settings.timeout);
    const verdict = await (shelf ? shelf.alone(ask) : ask()).then(verdictIn, () => unanswered("no answer", false));
    logger.debug(`a batch of ${attempt.entries.length}: ${verdict.reason}`);
    const entries = [...attempt.entries];
    const settled = outbox.settle(attempt, verdict, nowMs());
    if (settled.length) shelf?.remove(settled);
    else shelf?.put(entries.filter((entry) => !isSettled(entry)));
    for (const entry of settled) asking.drop(entry.names);
    say(verdict.fate, verdict.reason, verdict.warnings);
    tell(settled);
    wake();
    pump();
  }

  /** Hands what is not acknowledged to the browser, for a page that is left. No answer comes, so all of it stays. */
  function sendBeacons(): void {
    const waiting = isOffline() ? [] : outbox.waiting();
    while (waiting.length) {
      const entries = fitting(waiting, UNLOAD_BYTES_MAX);
      let isTaken = false;
      try {
        isTaken = navigator.sendBeacon(`${endpoint}/v1/batch`, requestOf(entries.map((entry) => entry.body), writeKey));
      } catch {}
      if (!isTaken) return;
      outbox.stamp(entries, Date.now());
      shelf?.put(entries);
    }
  }

  /** Has everything sent without waiting for full batches, until this is so; false if the time was over before. */
  async function sentUntil(isDone: () => boolean, timeoutMs?: number): Promise<boolean> {
    if (isDone()) return true;
    flushing++;
    let limit: ReturnType<typeof setTimeout> | undefined;
    const waited = new Promise<boolean>((resolve) => {
      if (timeoutMs !== undefined && timeoutMs < Infinity) limit = setTimeout(() => resolve(isDone()), timeoutMs);
      waiters.push(() => isDone() && resolve(true));
    });
    pump();
    try {
      return await waited;
    } finally {
      clearTimeout(limit);
      flushing--;
      schedule();
    }
  }

  /** Looks again whether what somebody waits for is so. */
  function wake(): void {
    for (const look of waiters) look();
    if (!flushing) waiters = [];
  }

  async function flush(timeoutMs = settings.timeout): Promise<Stats> {
    await sentUntil(() => !outbox.stats.queued, timeoutMs);
    return stats();
  }

  function stats(): Stats {
    return JSON.parse(JSON.stringify(outbox.stats));
  }

  function drop(reason: string): void {
    const waiting = outbox.waiting();
    outbox.giveUp(reason, reason);
    shelf?.remove(waiting);
    wake();
    schedule();
  }

  /** What the log says of an answer: one warning for each outage. */
  function say(fate: string, reason: string, warnings: string[]): void {
    for (const warning of warnings) logger.warn(warning);
    const isFailing = fate === "held" || (fate === "again" && outbox.failures() >= FAILURES_TOLD);
    if (isFailing && !isInTrouble) {
      logger.warn(`events ${fate === "held" ? "wait until key or address is mended" : "are not acknowledged, and sent again"}: ${reason}`);
    }
    if (fate === "stored" && isInTrouble) logger.info("events are acknowledged again");
    isInTrouble = isFailing || (isInTrouble && fate !== "stored");
  }

  /** Tells `onError` of each that did not arrive; without it, the log, now and then. */
  function tell(entries: Entry[]): void {
    for (const { state, reason, messageId, body } of entries) {
      if (state === "sent" || state === "queued") continue;
      if (!onError) {
        losses++;
        if (nowMs() - lossesToldMs < LOSSES_TOLD_MS) continue;
        logger.warn(`${losses} events do not arrive: ${reason} (give onError to see each)`);
        losses = 0;
        lossesToldMs = nowMs();
        continue;
      }
      try {
        onError({ state, reason, messageId, event: body || undefined });
      } catch (error) {
        logger.error(`onError threw ${(error as any)?.name}`);
      }
    }
  }

  // ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The decisions about whom a call names, else about whoever uses this browser. Throws where there are none. */
  async function ask(params: DecideAllParams, flag?: string): Promise<Decision[]> {
    requireLife();
    if (readKey === undefined) throw new Error("Read key is required for decide calls");
    const given = idsIn(params);
    const isOwn = !isNamed(given);
    if (isOwn && !identity) throw new Error("User ID is required and cannot be empty");
    const question: Question = { ...(isOwn ? ownIdentity() : given), flag };
    const askedIn = epoch;
    const deadlineMs = nowMs() + (params.timeout ?? settings.decideTimeout);
    const { after } = params;
    if (after) {
      outbox.hurry(namesOf(question));
      const state = await after.wait(deadlineMs - nowMs());
      if (state !== "sent") throw undecided("the event was not acknowledged in time", "GENERAL", undefined, false);
    }
    const begun = asking.begin(question, nowMs());
    if (!("question" in begun)) return begun;
    const body = JSON.stringify(question);
    const isOne = flag !== undefined;
    const url = `${endpoint}/v1/decide${isOne ? `?${new URLSearchParams(JSON.parse(body))}` : ""}`;
    const asked = { url, key: readKey, etag: begun.kept?.etag, body: isOne ? undefined : body };
    const answer = await exchange(settings.fetch, asked, deadlineMs - nowMs());
    try {
      const found = "status" in answer ? asking.answered(begun, answer, nowMs()) : asking.unanswered(begun, answer.reason, nowMs());
      if (isOwn && askedIn !== epoch) throw undecided("the identity was left meanwhile");
      return found;
    } finally {
      if (asking.isAway() && !isAwayTold) logger.warn("the server does not answer decisions");
      isAwayTold = asking.isAway();
    }
  }

  async function decide<T>(params: DecideParams<T>): Promise<Decision<T>> {
    const { flag, default: value } = params;
    try {
      if (!flag?.trim()) throw new Error("Flag key is required and cannot be empty");
      return (await ask(params, flag))[0] as Decision<T>;
    } catch (error) {
      if (!("default" in params)) throw error;
      const { message, code: errorCode = "GENERAL", afterMet = true } = error as Undecided;
      const userId = idsIn(params).userId ?? identity?.user() ?? "";
      return { flag, userId, allow: !!value, value: value as T, reason: "ERROR", reasons: [], error: message, errorCode, afterMet };
    }
  }

  async function decideAll(params: DecideAllParams = {}): Promise<Record<string, Decision>> {
    const decisions = await ask(params).catch(() => []);
    return Object.fromEntries(decisions.map((decision) => [decision.flag, decision]));
  }

  // ── the calls ────────────────────────────────────────────────────────────────────────────────────────────────────

  function isOptedOut(): boolean {
    return identity ? identity.isOptedOut() : settings.optOutByDefault;
  }

  function requireSomebody(params: EventParams): void {
    requireLife();
    if (!identity && !isNamed(idsIn(params))) {
      throw new Error("At least one identifier (userId, deviceId, or externalId) is required");
    }
  }

  const calls =
    (kind: Kind) =>
    (params: AnyParams = {}): Handle => {
      requireSomebody(params);
      return handleOf(put(kind, params));
    };

  async function identify(params: IdentifyParams): Promise<void> {
    if (writeKey === undefined) throw new Error("Write key is required for identify calls");
    requireSomebody(params);
    const entry = put("identify", params);
    await sentUntil(() => isSettled(entry), settings.timeout);
    if (entry.state === "sent") notify();
    if (entry.state === "refused") throw new Error(/^4\d\d/.test(entry.reason) ? `HTTP ${entry.reason}` : entry.reason);
  }

  if (settings.autoStart) start();
  return {
    identify: (params) => {
      const done = identify(params);
      done.catch(() => {}); // whoever awaits it is told; a call that nobody awaits ends no process
      return done;
    },
    track: (params) => {
      requireLife();
      if (typeof params.event !== "string" || !params.event.trim()) throw new Error("Event name is required and cannot be empty");
      return calls("track")(params);
    },
    page: calls("page"),
    screen: calls("screen"),
    group: calls("group"),
    alias: calls("alias"),
    reset: () => {
      requireLife();
      changeIdentity(() => identity?.clear());
    },
    decide,
    decideAll,
    flush,
    getQueueSize: () => outbox.stats.queued,
    clearQueue: () => drop("cleared"),
    destroy,
    stats,
    optIn: () => {
      requireLife();
      identity?.consent("in");
    },
    optOut: () => {
      requireLife();
      identity?.consent("out");
      drop("opted out");
      shelf?.clear(); // what closed tabs left, too
    },
    isOptedOut,
    getUserId: () => identity?.user(),
    getAnonymousId: () => identity?.anonymous(),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    start,
  };
}
