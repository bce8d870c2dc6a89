/**
 * Flags that the server keeps up to date in browsers: `initTinyCDP({ ..., stream: changeStream })`.
 *
 *     lock of the person → answer about all flags ─→ EventSource ─ message → the answer again, by its ETag
 *                                └──────────── BroadcastChannel: the other tabs have both from this one
 *
 * One visible tab of a browser has the connection: over HTTP/1.1 six of them would exhaust an origin. While it is up, what is
 * kept is given without asking; while an event of the page may have changed it, and until the stream is open at first, calls
 * that come together are given one answer about all flags. Without a stream, and in browsers that lack locks or channels, the
 * client asks as it always does.
 */

import type { FlagStream, StreamSettings } from "@tinycdp/sdk";
import { objectIn } from "./answers";
import type { Decision } from "./decisions";
import { decisionsIn } from "./decisions";
import type { Ids } from "./events";
import { randomId } from "./events";
import { exchange } from "./http";
import { later } from "./timer";

/**
 * What the tabs of one person know. `stream`: whether it is up, or is to be opened for the first time, or cannot be had now.
 * `path` is its address.
 */
interface State {
  stream: "opening" | "up" | "away";
  decisions?: Decision[] | undefined;
  etag?: string | null | undefined;
  path?: string | undefined;
}

/** Whether the flags changed, by a question that was answered; undefined where none was. */
type Answered = boolean | undefined;

/** The answer is asked for again after so long all the same: a dead connection says nothing. */
const CHECK_MS = 300_000;
/** After a stream that ended, and while none can be had, so long passes before the next one; it doubles from first to last. */
const PAUSE_FIRST_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
/** The part of a call's time for which it waits for the stream. In the rest the client asks. */
const STREAMS_PART = 1 / 2;

/** Keeps the flags of a client up to date. Give it to `initTinyCDP` as the option `stream`. */
export function changeStream(settings: StreamSettings): FlagStream | undefined {
  const { endpoint, readKey, decideTimeout, who, notify } = settings;
  const isPage = typeof document === "object";
  if (!isPage || !readKey || typeof EventSource !== "function" || typeof BroadcastChannel !== "function") return undefined;
  const { locks } = navigator;
  if (!locks) return undefined;

  const over = new AbortController();
  let isBegun = false;
  let ids: Ids = {}; // whose stream this page takes part in; another object for each time that it does
  let state: State = { stream: "opening" };
  let shown: string | null | undefined; // the ETag that those who subscribed know of
  let leave = (): void => {};
  /** Has what is known brought up to date, by the tab that has the stream. */
  let catchUp = async (): Promise<Answered> => undefined;
  let tell = take;
  /** Ends the connection of the stream. It is opened again once a question was answered. */
  let hangUp = (): void => {};
  let caughtUp = catchUp();
  let settledThen: string | undefined; // the events that were settled when that began

  /** Whether what is known is of whoever uses the browser now. */
  const isTheirs = (): boolean => JSON.stringify(who()) === JSON.stringify(ids);

  // ── the tabs of a person ───────────────────────────────────────────────────────────────────────────────────────────

  /** Takes part in the stream of whoever uses this browser, if the page is seen. */
  function join(): void {
    leave();
    if (over.signal.aborted || document.visibilityState === "hidden") return;
    ids = who();
    const name = `tinycdp.stream ${endpoint} ${JSON.stringify(ids)}`;
    const tabs = new BroadcastChannel(name);
    const stay = new AbortController();
    const { signal } = stay;
    const waiting = new Map<string, (answered?: Answered) => void>();
    let leads = false;
    let know = (): void => {};
    const isKnown = new Promise<void>((resolve) => (know = resolve)); // whether another tab leads

    /** Asks the tab that leads. One that does not answer has no stream, as far as this tab can see. */
    const askTab = (): Promise<Answered> =>
      new Promise((resolve) => {
        const id = randomId();
        const end = (answered?: Answered): void => {
          clearTimeout(timer);
          waiting.delete(id);
          resolve(answered);
        };
        const timer = later(() => end(void take({ ...state, stream: "away" })), decideTimeout);
        waiting.set(id, end);
        tabs.postMessage({ id });
      });

    const ask = async (): Promise<Answered> => {
      await isKnown;
      if (signal.aborted) return undefined;
      return leads ? askServer() : askTab();
    };

    /** Has the stream, until this page leaves. */
    const lead = (first: () => Promise<Answered>): Promise<void> => {
      leads = true;
      waiting.forEach((end) => end());
      know();
      void keepUp(signal, first());
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    };

    tell = (told) => {
      tabs.postMessage({ told });
      take(told);
    };
    tabs.onmessage = ({ data: { id, told } }) => {
      if (leads && id) void catchUp().then(() => signal.aborted || tabs.postMessage({ id, told: state }));
      if (leads || !told) return;
      take(told);
      waiting.get(id)?.(told.stream === "away" ? undefined : true);
    };
    leave = () => {
      stay.abort();
      know();
      tabs.close();
      waiting.forEach((end) => end());
      state = { stream: "opening" };
      shown = undefined;
      ids = {}; // an answer that comes now is nobody's
      leave = () => {};
    };
    catchUp = oneAtATime(ask);
    renew();
    locks
      .request(name, { ifAvailable: true }, (lock) => {
        if (signal.aborted) return undefined;
        if (lock) return lead(() => caughtUp);
        know();
        const follow = (): Promise<void> => {
          tell({ ...state, stream: "opening" }); // another tab had it until now
          return lead(catchUp);
        };
        locks.request(name, { signal }, follow).catch(() => {});
        return undefined;
      })
      .catch(() => signal.aborted || leave()); // a page that has no locks
  }

  /** Takes what is known now. Those who subscribed are told of what changed since they were given an answer. */
  function take(told: State): void {
    state = told;
    if (told.stream === "away") shown = undefined; // who asks now is given the default, perhaps
    if (told.stream === "opening" && told.decisions) shown ??= told.etag; // who asks before it is open is given this
    if (told.stream !== "up" || told.etag === shown) return;
    shown = told.etag;
    notify();
  }

  // ── the stream ─────────────────────────────────────────────────────────────────────────────────────────────────────

  const down = (): void => {
    if (state.stream !== "away") tell({ ...state, stream: "away" });
  };

  /** Has the stream open until this page leaves, once its first question is answered. */
  async function keepUp(leaving: AbortSignal, asked: Promise<Answered>): Promise<void> {
    for (let pauseMs = PAUSE_FIRST_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
      const answered = await asked;
      if (leaving.aborted) return;
      if (answered !== undefined && state.path && (await listen(state.path, leaving))) pauseMs = PAUSE_FIRST_MS;
      if (leaving.aborted) return;
      down();
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          leaving.removeEventListener("abort", end);
          resolve();
        };
        const timer = setTimeout(end, pauseMs * (1 - Math.random() / 2));
        leaving.addEventListener("abort", end);
      });
      if (leaving.aborted) return;
      asked = catchUp();
    }
  }

  /** Listens until the stream ends; whether it was open at all. */
  const listen = (path: string, leaving: AbortSignal): Promise<boolean> =>
    new Promise((resolve) => {
      const source = new EventSource(endpoint + path);
      let wasOpen = false;
      const end = (): void => {
        clearInterval(check);
        leaving.removeEventListener("abort", end);
        source.close();
        resolve(wasOpen);
      };
      const check = setInterval(async () => (await catchUp()) && end(), CHECK_MS); // it told nothing of a change: it is dead
      source.onopen = async () => {
        wasOpen = true;
        // While it was away each call asked the server: what is known may be older than the answers to those.
        if (state.stream === "away" && (await catchUp()) === undefined) return;
        if (source.readyState === EventSource.OPEN) tell({ ...state, stream: "up" });
      };
      source.onmessage = ({ data }) => {
        const { type, etag } = objectIn(data);
        if (type === "refetchEvaluation" && etag !== state.etag) void catchUp();
      };
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) end();
        else down();
      };
      leaving.addEventListener("abort", end);
      hangUp = end;
    });

  /**
   * Asks for all flags by the ETag of what is known. Where nobody answers the stream is no use: it would tell of changes that
   * nobody knows.
   */
  async function askServer(): Promise<Answered> {
    const [askedFor, { etag }] = [ids, state];
    const body = JSON.stringify({ ...ids, stream: true });
    const reply = await exchange(settings.fetch, { url: `${endpoint}/v1/decide`, key: readKey, body, etag }, decideTimeout);
    if (askedFor !== ids) return undefined;
    if (reply.status === 304) return false;
    const said = objectIn(reply.body);
    const decisions = reply.status === 200 ? decisionsIn(said["decisions"]) : undefined;
    if (!decisions) {
      down();
      hangUp();
      return undefined;
    }
    const path: string | undefined = said["stream"];
    tell({ stream: state.stream === "opening" && !path ? "away" : state.stream, decisions, etag: reply.headers.get("etag"), path });
    return etag !== state.etag;
  }

  // ── decisions ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What became of this page's events so far; undefined while the server may know one that is not settled. */
  function settled(): string | undefined {
    const mayCount = settings.events().some(({ state: how, firstMs }) => how === "sending" || firstMs);
    return mayCount ? undefined : JSON.stringify({ ...settings.stats(), queued: 0 });
  }

  /** Has what is known brought up to date. Those who wait for this know of every event that is settled now. */
  function renew(): void {
    settledThen = settled();
    caughtUp = catchUp().then((answered) => {
      if (answered === undefined) settledThen = undefined;
      return answered;
    });
  }

  async function kept(timeoutMs: number): Promise<Decision[] | undefined> {
    if (!isTheirs() || state.stream === "away") return undefined;
    const askedFor = ids;
    const settledNow = settled();
    const isOpening = state.stream === "opening" && state.decisions;
    if (isOpening || settledNow === undefined || settledNow !== settledThen) renew();
    const answered = await inTime(caughtUp, timeoutMs * STREAMS_PART);
    return answered !== undefined && askedFor === ids ? state.decisions : undefined;
  }

  // ── begin and end ──────────────────────────────────────────────────────────────────────────────────────────────────

  function follow(): void {
    if (!isBegun) {
      isBegun = true;
      const { signal } = over;
      addEventListener("pagehide", () => leave(), { signal });
      addEventListener("pageshow", (event) => event.persisted && join(), { signal });
      addEventListener("visibilitychange", join, { signal });
    }
    join();
  }

  function end(): void {
    leave();
    over.abort();
  }

  return { follow, kept, end };
}

/** One of these at a time. Calls while one is under way share the next, which begins after all of them. */
function oneAtATime<T>(act: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () =>
    (next ??= last.then(() => {
      next = undefined;
      const now = act();
      last = now;
      return now;
    }));
}

/** What a promise comes to within so long; undefined afterwards. */
const inTime = <T>(promise: Promise<T>, ms: number): Promise<T | undefined> =>
  new Promise((resolve) => {
    const timer = later(() => resolve(undefined), ms);
    void promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
