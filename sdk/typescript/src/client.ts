/**
 * The client: events out, decisions in.
 *
 *     track → event's JSON (intake) → outbox ── timer (sending) ─→ POST /v1/batch → settled → handles, `onError`
 *     decide (deciding) → what is kept, or a question → a decision, or the default
 *
 * Nothing is touched when this module is imported: what a browser has is looked for when a client begins.
 */

import type { Handle, TinyCDPClient } from "./calls";
import { askingOf } from "./decisions";
import { decidingOf } from "./deciding";
import type { AnyParams, EventParams, Ids, IdentifyParams, Kind } from "./events";
import { idsIn, isNamed } from "./events";
import type { Identity } from "./identity";
import { CONSENT, identityOf, pageContext } from "./identity";
import { write } from "./intake";
import { isWanted, lossesOf, OPTED_OUT, quietly } from "./losses";
import { keepProcess, sendAtExit } from "./node";
import type { TinyCDPOptions } from "./options";
import { settingsOf } from "./options";
import type { Attempt, Entry, State, Stats } from "./outbox";
import { isSettled, newEntry, outboxOf } from "./outbox";
import { requestBytesMax, sendBeacons, sent } from "./sending";
import { shelfOf } from "./shelf";
import { windowStore } from "./storage";
import { isHidden, isOffline, isPage } from "./tab";
import { later } from "./timer";

/** A client. Make one for a page or a process. Throws where an option is wrong. */
export function initTinyCDP(options: TinyCDPOptions): TinyCDPClient {
  const settings = settingsOf(options);
  const { endpoint, writeKey, logger } = settings;
  const listeners = new Set<() => void>();
  const waiters = new Set<() => void>(); // while somebody waits, all is sent at once
  const over = new AbortController(); // ends what listens
  let identity: Identity | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let dueMs = Infinity; // when it goes off
  let isStarted = false;
  let isOver = false;
  const outbox = outboxOf(settings);
  const shelf = isPage() && settings.persistence ? shelfOf(endpoint) : undefined; // it holds nothing before `start`
  const asking = askingOf(logger);
  const losses = lossesOf(settings);
  const stream = settings.stream?.({ ...settings, who, events: outbox.waiting, stats, notify });

  const queued = (): number => outbox.stats.queued;
  function stats(): Stats {
    return structuredClone(outbox.stats);
  }

  // ── begin and end ────────────────────────────────────────────────────────────────────────────────────────────────

  function start(): void {
    if (isStarted || isOver) return;
    isStarted = true;
    if (!isPage()) return sendAtExit(over.signal, queued, flush, logger);
    const { persistence, autoFlushOnUnload } = settings;
    identity = identityOf(windowStore(persistence ? "localStorage" : undefined), settings.optOutByDefault);
    // Without a key nothing can be sent: what others left is for a page that has one.
    const hold = (): unknown => writeKey && shelf?.hold(outbox.waiting, (entries) => isOptedOut() || queue(entries));
    hold();
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
      wake();
      hold();
      pump();
    });
    listen("pagehide", () => {
      if (autoFlushOnUnload) sendBeacons(outbox, settings, shelf);
      shelf?.release(outbox.waiting());
    });
    listen("visibilitychange", () => {
      if (!isHidden()) hold();
      else if (autoFlushOnUnload) void flush();
    });
    stream?.follow();
  }

  /** All is heard at the window: what the document is told goes on to it, and `pagehide` is told to it alone. */
  function listen(name: string, act: (event: any) => void): void {
    addEventListener(name, act, { signal: over.signal });
  }

  function requireLife(): void {
    if (isOver) throw new Error("TinyCDP client has been destroyed");
    start();
  }

  async function flush(timeoutMs = settings.timeout): Promise<Stats> {
    await until(() => !queued(), timeoutMs);
    return stats();
  }

  async function destroy(timeoutMs = settings.timeout): Promise<Stats> {
    if (isOver) return stats();
    isOver = true;
    stream?.end();
    await flush(timeoutMs);
    shelf?.release(outbox.waiting());
    ended(outbox.giveUp("closed", true)); // what the shelf has is the next page's
    over.abort();
    return stats();
  }

  // ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

  function put(kind: Kind, params: AnyParams): Entry {
    const entry = newEntry();
    const ids = idsOf(kind, params); // decisions are about who is signed in, also where nothing is sent
    if (isOptedOut()) outbox.note(entry, "dropped", OPTED_OUT);
    else write(entry, kind, () => ({ ...params, context: params.context ?? contextOf(), ...ids }), settings, outbox);
    if (isSettled(entry)) ended([entry]);
    else queue([entry]);
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

  /** What is to be done for entries that are settled. */
  function ended(entries: Entry[]): void {
    shelf?.remove(entries);
    for (const entry of entries) asking.drop(entry.names);
    losses.tell(entries);
    wake();
  }

  const drop = (reason: string): void => ended(outbox.giveUp(reason));

  // ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

  function schedule(): void {
    const isFlushing = waiters.size > 0;
    const wakeMs = outbox.wakeMs(isFlushing);
    // A timer that goes off in time is left alone: events that come close after each other would put it off for ever.
    if (wakeMs < dueMs) {
      clearTimeout(timer);
      dueMs = wakeMs;
      timer = later(() => {
        dueMs = Infinity;
        pump();
      }, wakeMs - performance.now());
    }
    keepProcess(timer, isFlushing); // else one that has nothing else to do may end
  }

  function pump(): void {
    if (isOffline()) return;
    const [attempt, givenUp] = outbox.next(performance.now(), Date.now(), waiters.size > 0, requestBytesMax());
    ended(givenUp);
    if (attempt) void send(attempt);
    else schedule();
  }

  async function send(attempt: Attempt): Promise<void> {
    shelf?.put(attempt.batch, attempt.wallMs);
    const verdict = await sent(attempt, settings, shelf);
    ended(outbox.settle(attempt, verdict, performance.now()));
    shelf?.put(attempt.batch);
    losses.say(verdict, outbox.failures());
    pump();
  }

  /** Has everything sent without waiting for full batches, until this is so, or the time is over. */
  function until(isDone: () => boolean, timeoutMs = Infinity): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(limit);
        waiters.delete(look);
        schedule();
        resolve();
      };
      const look = (): unknown => isDone() && end();
      const limit = timeoutMs === Infinity ? undefined : later(end, timeoutMs);
      waiters.add(look);
      if (isDone()) end();
      else pump();
    });
  }

  /** Looks again whether what somebody waits for is so. */
  const wake = (): void => waiters.forEach((look) => look());

  const handleOf = (entry: Entry): Handle => ({
    messageId: entry.messageId,
    get state() {
      return entry.state;
    },
    get reason() {
      return entry.reason;
    },
    wait: (timeoutMs) => until(() => isSettled(entry), timeoutMs).then(() => entry.state),
  });

  // ── who ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whoever uses this browser; nobody elsewhere. */
  function who(): Ids {
    return identity?.ids() ?? {};
  }

  /** The ids of an event; where it names none, those of whoever uses this browser. An identify changes who that is. */
  function idsOf(kind: Kind, params: EventParams): Ids {
    const ids = idsIn(params);
    if (identity && kind === "identify" && ids.userId) {
      if (who().userId !== ids.userId) changeIdentity(ids.userId);
      return { ...ids, anonymousId: ids.anonymousId ?? who().anonymousId };
    }
    return isNamed(ids) ? ids : who();
  }

  function contextOf(): Record<string, unknown> | undefined {
    if (!identity) return settings.context;
    return { ...pageContext(), sessionId: identity.session(Date.now()), ...settings.context };
  }

  /** Whoever uses this browser is this user from now on; without an id nobody whose name is known. */
  function changeIdentity(userId?: string): void {
    identity?.take(userId);
    asking.drop();
    stream?.follow();
    notify();
  }

  function notify(): void {
    for (const listener of listeners) void quietly(logger, "a subscriber", listener);
  }

  function isOptedOut(): boolean {
    return identity?.isOptedOut() ?? settings.optOutByDefault;
  }

  // ── the calls ────────────────────────────────────────────────────────────────────────────────────────────────────

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

  async function identify(params: IdentifyParams): Promise<State> {
    requireSomebody(params);
    const entry = put("identify", params);
    if (!writeKey) throw new Error("Write key is required for identify calls");
    const state = await handleOf(entry).wait(settings.timeout);
    const { reason } = entry;
    if (state === "sent") notify();
    if (/refused|dropped/.test(state) && !isWanted(reason)) throw new Error(reason);
    return state;
  }

  if (settings.autoStart) start();
  return {
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
      changeIdentity();
    },
    ...decidingOf(settings, asking, requireLife, who, outbox.hurry, stream),
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
    getUserId: () => who().userId,
    getAnonymousId: () => who().anonymousId,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    start,
  };
}
