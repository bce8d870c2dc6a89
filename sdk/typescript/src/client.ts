/**
 * The client: events out, decisions in.
 *
 *     track → event's JSON → outbox ── timer ─→ POST /v1/batch → settled → handles, `onError`
 *
 * Nothing is touched when this module is imported: what a browser has is looked for when a client begins.
 */

import { unanswered } from "./answers";
import type { DecideAllParams, DecideParams, Handle, TinyCDPClient } from "./calls";
import type { Decision, Question, Request, Undecided } from "./decisions";
import { askingOf, undecided } from "./decisions";
import type { AnyParams, EventParams, Ids, IdentifyParams, Kind, TrackEvent } from "./events";
import { bytesOf, EVENT_BYTES_MAX, eventOf, idsIn, jsonOf, namesOf, REQUEST_BYTES_MAX, requestOf } from "./events";
import { exchange, verdictIn } from "./http";
import type { Identity } from "./identity";
import { CONSENT, identityOf, pageContext } from "./identity";
import { sendAtExit, unref } from "./node";
import type { TinyCDPOptions } from "./options";
import { settingsOf } from "./options";
import type { Attempt, Entry, Stats } from "./outbox";
import { fitting, isSettled, newEntry, outboxOf } from "./outbox";
import type { Shelf } from "./shelf";
import { shelfOf } from "./shelf";
import { windowStore } from "./storage";

/** Bytes that a browser sends for a page that is left. All requests of the page share 64 KiB. */
const UNLOAD_BYTES_MAX = 60 * 1024;
/** A timer of more goes off at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** So many attempts that failed one after the other are worth a word in the log. */
const FAILURES_TOLD = 3;
/** What an event is counted under that is refused at once. */
const NO_EVENT = "no JSON or too large";
/** What becomes of an event as the app or the person wanted it: `onError` is not told. */
const OPTED_OUT = "opted out";
const BEFORE_SEND = "beforeSend";
/** Without `onError` the log says at most so often that events are lost. */
const LOSSES_TOLD_MS = 10_000;

/** A client. Make one for a page or a process. Throws where an option is wrong. */
export function initTinyCDP(options: TinyCDPOptions): TinyCDPClient {
  const settings = settingsOf(options);
  const { endpoint, writeKey, readKey, logger, onError, beforeSend } = settings;
  const isBrowser = typeof document !== "undefined";
  const outbox = outboxOf(settings);
  const asking = askingOf();
  const listeners = new Set<() => void>();
  const over = new AbortController(); // ends what listens
  const waiters = new Set<() => void>(); // while somebody waits, all is sent at once
  let identity: Identity | undefined;
  let shelf: Shelf | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let epoch = 0; // counts changes of the identity: an answer for one that was left is dropped
  let isStarted = false;
  let isOver = false;
  let isInTrouble = false;
  let losses = 0;
  let lossesToldMs = -LOSSES_TOLD_MS;

  const nowMs = (): number => performance.now();
  const queued = (): number => outbox.stats.queued;
  const isOffline = (): boolean => isBrowser && navigator.onLine === false;
  const isHidden = (): boolean => isBrowser && document.hidden;

  // ── begin and end ────────────────────────────────────────────────────────────────────────────────────────────────

  function start(): void {
    if (isStarted || isOver) return;
    isStarted = true;
    if (!isBrowser) return sendAtExit(over.signal, queued, flush, logger);
    const { persistence } = settings;
    identity = identityOf(windowStore(persistence ? "localStorage" : undefined), settings.optOutByDefault);
    shelf = persistence ? shelfOf(endpoint) : undefined;
    shelf?.hold(outbox.waiting, adopt);
    listen("online", () => {
      outbox.resume();
      pump();
    });
    listen("storage", (event: StorageEvent) => {
      if (event.key === CONSENT && isOptedOut()) drop(OPTED_OUT);
    });
    listen("pageshow", (event: PageTransitionEvent) => {
      if (!event.persisted) return;
      outbox.forget(shelf?.gone(outbox.waiting()) ?? []);
      shelf?.hold(outbox.waiting, adopt);
      pump();
    });
    listen("pagehide", () => {
      if (settings.autoFlushOnUnload) sendBeacons();
      shelf?.release(outbox.waiting());
    });
    listen("visibilitychange", () => {
      if (!isHidden()) shelf?.hold(outbox.waiting, adopt);
      else if (settings.autoFlushOnUnload) void flush();
    });
  }

  /** All is heard at the window: what the document is told goes on to it, and `pagehide` is told to it alone. */
  const listen = (name: string, act: (event: any) => void): void =>
    addEventListener(name, act, { signal: over.signal });

  function requireLife(): void {
    if (isOver) throw new Error("TinyCDP client has been destroyed");
    start();
  }

  async function destroy(timeoutMs = settings.timeout): Promise<Stats> {
    if (isOver) return stats();
    isOver = true;
    await sentUntil(() => !queued(), timeoutMs);
    clearTimeout(timer);
    if (shelf) {
      shelf.release(outbox.waiting()); // the rest stays there, for the next page
      outbox.leave();
    } else {
      ended(outbox.giveUp("closed"));
    }
    over.abort();
    wake();
    return stats();
  }

  // ── events in ────────────────────────────────────────────────────────────────────────────────────────────────────

  function put(kind: Kind, params: AnyParams): Entry {
    const entry = newEntry();
    const end = (state: "dropped" | "refused", reason: string, key?: string): Entry => {
      outbox.note(entry, state, reason, key);
      ended([entry]);
      return entry;
    };
    if (isOptedOut()) {
      if (kind === "identify") ownIds(kind, params); // decisions are about who is signed in all the same
      return end("dropped", OPTED_OUT);
    }
    let event: TrackEvent;
    let failure = NO_EVENT;
    try {
      event = eventOf(kind, { ...params, context: params.context ?? contextOf(), ...ownIds(kind, params) });
      entry.messageId = event.messageId;
      if (!writeKey) {
        failure = "no writeKey";
        throw new Error("give one");
      }
      if (beforeSend) {
        for (const name of ["properties", "traits", "context"] as const) if (event[name]) event[name] = { ...event[name] };
        failure = "beforeSend failed";
        const changed = beforeSend(event);
        if (changed === null) return end("dropped", BEFORE_SEND);
        failure = NO_EVENT;
        event = changed || event;
        entry.messageId = event.messageId ||= entry.messageId;
      }
      entry.body = jsonOf(event);
      entry.size = bytesOf(entry.body);
      if (entry.size > EVENT_BYTES_MAX) throw new Error(`${entry.size} bytes; at most ${EVENT_BYTES_MAX}`);
    } catch (error) {
      return end("refused", `${failure}: ${(error as any)?.message}`, failure);
    }
    entry.names = namesOf(event);
    queue([entry]);
    return entry;
  }

  /** Queues entries, for which others may have to go. */
  function queue(entries: Entry[]): void {
    for (const entry of entries) {
      asking.drop(entry.names);
      ended(outbox.put(entry));
    }
    shelf?.put(entries);
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
    if (!isOptedOut()) queue(entries);
  }

  // ── events out ───────────────────────────────────────────────────────────────────────────────────────────────────

  function schedule(): void {
    const isFlushing = waiters.size > 0;
    const wakeMs = outbox.wakeMs(isFlushing);
    clearTimeout(timer);
    if (wakeMs === undefined || (isOver && !isFlushing)) return;
    timer = setTimeout(pump, Math.min(wakeMs - nowMs(), TIMER_MS_MAX));
    if (!isFlushing) unref(timer); // a process that has nothing else to do may end
  }

  function pump(): void {
    if (isOffline()) return; // an attempt would only make it look as if it may have counted
    const bytesMax = isHidden() ? UNLOAD_BYTES_MAX : REQUEST_BYTES_MAX;
    const [attempt, givenUp] = outbox.next(nowMs(), Date.now(), waiters.size > 0, bytesMax);
    ended(givenUp);
    if (attempt) void send(attempt);
    else schedule();
  }

  async function send(attempt: Attempt): Promise<void> {
    shelf?.put(attempt.entries, attempt.wallMs);
    const body = requestOf(attempt.entries.map((entry) => entry.body));
    const keepalive = isHidden() && bytesOf(body) <= UNLOAD_BYTES_MAX;
    const ask = () =>
      exchange(settings.fetch, { url: `${endpoint}/v1/batch`, key: writeKey, body, keepalive }, settings.timeout);
    const verdict = await (shelf ? shelf.alone(ask) : ask()).then(verdictIn, () => unanswered("no answer", false));
    logger.debug(`${attempt.entries.length} events: ${verdict.reason}`);
    ended(outbox.settle(attempt, verdict, nowMs()));
    shelf?.put(attempt.entries);
    say(verdict.fate, verdict.reason, verdict.warnings);
    pump();
  }

  /** Hands what is not acknowledged to the browser, for a page that is left. No answer comes, so all of it stays. */
  function sendBeacons(): void {
    const waiting = isOffline() ? [] : outbox.waiting();
    try {
      while (waiting.length) {
        const entries = fitting(waiting, UNLOAD_BYTES_MAX);
        const body = requestOf(entries.map((entry) => entry.body), writeKey);
        if (!navigator.sendBeacon(`${endpoint}/v1/batch`, body)) return;
        outbox.stamp(entries, Date.now());
        shelf?.put(entries);
      }
    } catch {} // a browser, or a blocker of requests, that has no beacons
  }

  /** Has everything sent without waiting for full batches, until this is so, or the time is over. */
  const sentUntil = (isDone: () => boolean, timeoutMs = Infinity): Promise<void> =>
    new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(limit);
        waiters.delete(look);
        schedule();
        resolve();
      };
      const look = (): void => {
        if (isDone()) end();
      };
      const limit = timeoutMs < Infinity ? setTimeout(end, timeoutMs) : undefined;
      waiters.add(look);
      look();
      if (waiters.has(look)) pump();
    });

  /** Looks again whether what somebody waits for is so. */
  const wake = (): void => waiters.forEach((look) => look());

  async function flush(timeoutMs = settings.timeout): Promise<Stats> {
    await sentUntil(() => !queued(), timeoutMs);
    return stats();
  }

  function stats(): Stats {
    return structuredClone(outbox.stats);
  }

  function drop(reason: string): void {
    ended(outbox.giveUp(reason));
    schedule();
  }

  /** What is to be done for entries that are settled. */
  function ended(entries: Entry[]): void {
    shelf?.remove(entries);
    for (const entry of entries) asking.drop(entry.names);
    tell(entries);
    wake();
  }

  /** What the log says of an answer: one warning for each outage. */
  function say(fate: string, reason: string, warnings: string[]): void {
    for (const warning of warnings) logger.warn(warning);
    const wasInTrouble = isInTrouble;
    isInTrouble = fate !== "stored" && (isInTrouble || fate === "held" || outbox.failures() >= FAILURES_TOLD);
    if (isInTrouble && !wasInTrouble) logger.warn(`events are not acknowledged, and wait: ${reason}`);
    if (wasInTrouble && !isInTrouble) logger.info("events are acknowledged again");
  }

  /** Tells `onError` of each that did not arrive; without it, the log, now and then. */
  function tell(entries: Entry[]): void {
    for (const { state, reason, messageId, body } of entries) {
      if (state === "sent" || reason === OPTED_OUT || reason === BEFORE_SEND) continue;
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
    if (!readKey) throw new Error("Read key is required for decide calls");
    const given = idsIn(params);
    const isOwn = !isNamed(given);
    if (isOwn && !identity) throw new Error("User ID is required and cannot be empty");
    const question: Question = { ...(isOwn ? ownIdentity() : given), flag };
    const askedIn = epoch;
    const { after, timeout = settings.decideTimeout } = params;
    const deadlineMs = nowMs() + timeout;
    if (after) {
      outbox.hurry(namesOf(question));
      const state = await after.wait(deadlineMs - nowMs());
      if (state !== "sent") throw undecided("the event was not acknowledged in time", "GENERAL", false);
    }
    const begun = asking.begin(question, nowMs(), timeout);
    if (!("question" in begun)) return begun;
    const found = await (begun.decided ??= decided(begun, deadlineMs));
    if (isOwn && askedIn !== epoch) throw undecided("the identity was left meanwhile");
    return found;
  }

  async function decided(request: Request, deadlineMs: number): Promise<Decision[]> {
    const { question, kept } = request;
    const body = JSON.stringify(question);
    const isOne = question.flag !== undefined;
    const url = `${endpoint}/v1/decide${isOne ? `?${new URLSearchParams(JSON.parse(body))}` : ""}`;
    const asked = { url, key: readKey, etag: kept?.etag, body: isOne ? undefined : body };
    const reply = await exchange(settings.fetch, asked, deadlineMs - nowMs());
    const wasAway = asking.isAway();
    try {
      return asking.answered(request, reply, nowMs());
    } finally {
      if (asking.isAway() && !wasAway) logger.warn("the server does not answer decisions");
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
    return identity?.isOptedOut() ?? settings.optOutByDefault;
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
    requireSomebody(params);
    if (!writeKey) {
      ownIds("identify", params); // decisions are about who is signed in all the same
      throw new Error("Write key is required for identify calls");
    }
    const entry = put("identify", params);
    await sentUntil(() => isSettled(entry), settings.timeout);
    if (entry.state === "sent") notify();
    if (entry.state === "refused") throw new Error(entry.reason);
  }

  if (settings.autoStart) start();
  const client: TinyCDPClient = {
    identify: (params) => {
      const done = identify(params);
      done.catch(() => {}); // whoever awaits it is told; a call that nobody awaits ends no process
      return done;
    },
    track: (params) => {
      if (!(params.event as any)?.trim?.()) throw new Error("Event name is required and cannot be empty");
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
    getQueueSize: queued,
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
      drop(OPTED_OUT);
      shelf?.clear(); // what closed tabs left, too
    },
    isOptedOut,
    getUserId: () => identity?.user(),
    getAnonymousId: () => identity?.anonymous(),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    start,
  };
  return settings.stream?.(client, settings) ?? client;
}
