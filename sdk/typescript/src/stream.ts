/**
 * Flags that the server keeps up to date in browsers: `initTinyCDP({ ..., stream: changeStream })`.
 *
 *     lock of the person → answer about all flags ─→ EventSource ─ message → the answer again, by its ETag
 *                                └──────────── BroadcastChannel: the other tabs have both from this one
 *
 * One visible tab of a browser has the connection: over HTTP/1.1 six of them would exhaust an origin. While it is up, what
 * is kept is given without asking. Without it, and in browsers that lack locks or channels, the client asks as it always does.
 */

import type { DecideAllParams, TinyCDPClient } from "@tinycdp/sdk";
import { objectIn } from "./answers";
import type { Decision } from "./decisions";
import { decisionsIn } from "./decisions";
import { idsIn, randomId } from "./events";
import { exchange } from "./http";
import type { StreamSettings } from "./options";

/** What the tabs of one person know. `path` is the stream's address; without one none can be had now. */
interface State {
  isUp: boolean;
  decisions: Decision[];
  etag: string | null;
  path: string | undefined;
}

/** The answer is asked for again after so long all the same: a dead connection says nothing. */
const CHECK_MS = 300_000;
/** After a stream that ended, and while none can be had, so long passes before the next one; it doubles from first to last. */
const PAUSE_FIRST_MS = 1_000;
const PAUSE_MS_MAX = 60_000;

/** The client with its flags kept up to date. Give it to `initTinyCDP` as the option `stream`. */
export function changeStream(client: TinyCDPClient, settings: StreamSettings): TinyCDPClient {
  const { endpoint, readKey, decideTimeout } = settings;
  const isPage = typeof document === "object";
  if (!isPage || !readKey || typeof EventSource !== "function" || typeof BroadcastChannel !== "function" || !navigator.locks) return client;

  const listeners = new Set<() => void>();
  const over = new AbortController();
  let ids: object = {};
  let state: State | undefined;
  let shown: string | null | undefined; // the ETag that listeners were told of
  let leave = (): void => {};
  /** Has what is known brought up to date, by the tab that has the stream. */
  let catchUp = async (): Promise<unknown> => undefined;
  let tell = (_: State): void => {};
  let asking: Promise<unknown> = Promise.resolve();
  let askingNext: Promise<boolean> | undefined;
  let unsettled: { state: string }[] = []; // events of this page that the server may not know yet
  let isBehind = false; // an event was sent since the last answer
  let caughtUp: Promise<unknown> | undefined;
  let isBegun = false;

  const whoNow = (): object => ({ userId: client.getUserId(), anonymousId: client.getAnonymousId() });
  /** Whether what is known is of whoever uses the browser now. */
  const isTheirs = (): boolean => JSON.stringify(whoNow()) === JSON.stringify(ids);

  // ── the tabs of a person ───────────────────────────────────────────────────────────────────────────────────────────

  /** Takes part in the stream of whoever uses this browser, if the page is seen. */
  function join(): void {
    leave();
    if (over.signal.aborted || document.visibilityState === "hidden") return;
    ids = whoNow();
    const name = `tinycdp.stream ${endpoint} ${JSON.stringify(ids)}`;
    const tabs = new BroadcastChannel(name);
    const stay = new AbortController();
    const waiting = new Map<string, () => void>();
    let leads = false;
    const lead = (): Promise<void> => {
      leads = true;
      catchUp = refetch;
      void keepUp(stay.signal);
      return new Promise((resolve) => stay.signal.addEventListener("abort", () => resolve()));
    };
    tell = (told) => {
      tabs.postMessage({ told });
      take(told);
    };
    catchUp = () =>
      new Promise<void>((resolve) => {
        const id = randomId();
        const end = (): void => {
          waiting.delete(id);
          resolve();
        };
        waiting.set(id, end);
        setTimeout(end, decideTimeout);
        tabs.postMessage({ id });
      });
    tabs.onmessage = ({ data: { id, told } }) => {
      if (leads && id) void refetch().then(() => !stay.signal.aborted && tabs.postMessage({ id, told: state }));
      if (leads || !told) return;
      take(told);
      waiting.get(id)?.();
    };
    leave = () => {
      stay.abort();
      tabs.close();
      waiting.forEach((end) => end());
      state = shown = undefined;
      ids = {}; // an answer that comes now is nobody's
      leave = () => {};
    };
    void catchUp();
    navigator.locks.request(name, { signal: stay.signal }, lead).catch(() => {});
  }

  /** Takes what is known now. While the stream is up, listeners are told of what changed. */
  function take(told: State): void {
    state = told;
    if (!told.isUp || told.etag === shown) return;
    shown = told.etag;
    for (const listener of listeners) {
      try {
        listener();
      } catch (error) {
        reportError(error); // a mistake of the app's ends no stream
      }
    }
  }

  // ── the stream ─────────────────────────────────────────────────────────────────────────────────────────────────────

  const down = (): void => {
    if (state?.isUp) tell({ ...state, isUp: false });
  };

  /** Has the stream open until this page leaves. */
  async function keepUp(leaving: AbortSignal): Promise<void> {
    for (let pauseMs = PAUSE_FIRST_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
      down(); // another tab had it until now
      await refetch();
      if (state?.path && !leaving.aborted && (await listen(state.path, leaving))) pauseMs = PAUSE_FIRST_MS;
      if (leaving.aborted) return;
      down();
      await new Promise<unknown>((resolve) => {
        const timer = setTimeout(resolve, pauseMs * (1 - Math.random() / 2));
        leaving.addEventListener("abort", () => resolve(clearTimeout(timer)));
      });
      if (leaving.aborted) return;
    }
  }

  /** Listens until the stream ends; whether it was open at all. */
  const listen = (path: string, leaving: AbortSignal): Promise<boolean> =>
    new Promise((resolve) => {
      const source = new EventSource(endpoint + path);
      let wasOpen = false;
      const end = (): void => {
        clearInterval(check);
        source.close();
        resolve(wasOpen);
      };
      const check = setInterval(async () => (await refetch()) && end(), CHECK_MS); // it told nothing of a change: it is dead
      source.onopen = () => {
        wasOpen = true;
        if (state) tell({ ...state, isUp: true });
      };
      source.onmessage = ({ data }) => {
        const { type, etag } = objectIn(data);
        if (type === "refetchEvaluation" && etag !== state?.etag) void refetch();
      };
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) end();
        else down();
      };
      leaving.addEventListener("abort", end);
    });

  /** Asks, after whatever is asked already: so no answer comes after a newer one. Whether the flags changed. */
  const refetch = (): Promise<boolean> =>
    (askingNext ??= asking.then(() => {
      askingNext = undefined;
      const asked = ask();
      asking = asked;
      return asked;
    }));

  /** Asks for all flags by the ETag of what is known. Where nobody answers the stream is no use. */
  async function ask(): Promise<boolean> {
    const [askedFor, before] = [ids, state];
    const body = JSON.stringify({ ...ids, stream: true });
    const question = { url: `${endpoint}/v1/decide`, key: readKey, body, etag: before?.etag };
    const reply = await exchange(settings.fetch, question, decideTimeout);
    if (askedFor !== ids || reply.status === 304) return false;
    const said = objectIn(reply.body);
    const decisions = reply.status === 200 && decisionsIn(said["decisions"]);
    if (decisions) tell({ isUp: !!state?.isUp, decisions, etag: reply.header("etag"), path: said["stream"] });
    else down();
    return !!before && before.etag !== state?.etag;
  }

  // ── decisions ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What is kept for a call; undefined where the client is to ask. */
  async function kept(params: DecideAllParams): Promise<Decision[] | undefined> {
    begin();
    const { userId, anonymousId } = idsIn(params);
    if (params.after || (userId ?? anonymousId) !== undefined) return undefined;
    unsettled = unsettled.filter(isUnsettled);
    if (!state?.isUp || unsettled.length || !isTheirs()) return undefined;
    if (isBehind) caughtUp = catchUp();
    isBehind = false;
    await caughtUp;
    return state?.isUp ? state.decisions : undefined;
  }

  const isUnsettled = (event: { state: string }): boolean => event.state === "queued" || event.state === "sending";

  /** Notes an event: what is kept does not know it. */
  function sent<T extends { state: string }>(event: T): T {
    isBehind = true;
    unsettled = [...unsettled.filter(isUnsettled), event];
    return event;
  }

  // ── begin and end ──────────────────────────────────────────────────────────────────────────────────────────────────

  function begin(): void {
    if (isBegun || over.signal.aborted) return;
    isBegun = true;
    client.start();
    const { signal } = over;
    addEventListener("pagehide", () => leave(), { signal });
    addEventListener("pageshow", (event) => event.persisted && join(), { signal });
    addEventListener("visibilitychange", join, { signal });
    signal.onabort = client.subscribe(() => {
      if (!isTheirs()) join();
      isBehind = true;
    });
    join();
  }

  if (settings.autoStart) begin();
  return {
    ...client,
    identify: (params) => {
      const event = sent({ state: "sending" });
      const done = client.identify(params);
      done.then(
        () => (event.state = "sent"),
        () => (event.state = "refused"),
      );
      return done;
    },
    track: (params) => sent(client.track(params)),
    page: (params) => sent(client.page(params)),
    screen: (params) => sent(client.screen(params)),
    group: (params) => sent(client.group(params)),
    alias: (params) => sent(client.alias(params)),
    decide: async (params) => {
      const decisions = await kept(params);
      return (decisions?.find(({ flag }) => flag === params.flag) as any) ?? client.decide(params);
    },
    decideAll: async (params = {}) => {
      const decisions = await kept(params);
      return decisions ? Object.fromEntries(decisions.map((decision) => [decision.flag, decision])) : client.decideAll(params);
    },
    subscribe: (listener) => {
      listeners.add(listener);
      const stop = client.subscribe(listener);
      return () => {
        listeners.delete(listener);
        stop();
      };
    },
    start: () => {
      client.start();
      begin();
    },
    destroy: (timeoutMs) => {
      leave();
      over.abort();
      return client.destroy(timeoutMs);
    },
  };
}
