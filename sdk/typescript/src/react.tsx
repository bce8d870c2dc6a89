/** TinyCDP in React: a provider, hooks, and the components that most pages need. For React 18 and 19. */

import type { Decision, Reason, TinyCDPClient, TinyCDPOptions } from "@tinycdp/sdk";
import { initTinyCDP } from "@tinycdp/sdk";
import { isExposure } from "./exposure";
import { mismatch } from "./kinds";
import type { ButtonHTMLAttributes, MouseEvent, ReactElement, ReactNode } from "react";
import { createContext, createElement, Fragment, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

/** Decisions as a server rendered the page with them, by the flag's key. */
export type InitialDecisions = Record<string, Decision>;

export interface TinyCDPProviderProps extends Partial<TinyCDPOptions> {
  children?: ReactNode;
  /** A client of the app's own, which the provider neither begins nor ends. */
  client?: TinyCDPClient | undefined;
  /** The user, where the page knows it, and undefined after it is a sign-out. Where it is never given, the browser remembers. */
  userId?: string | undefined;
  /** What `decideAll` gave on the server: the first paint shows it, here and there. */
  initialDecisions?: InitialDecisions | undefined;
}

/** What the hooks of one provider share: the decisions of whoever uses this browser, each asked for once. */
interface Flags {
  get(flag: string): Decision | undefined;
  initial(flag: string): Decision | undefined;
  ask(flag: string): void;
  subscribe(listener: () => void): () => void;
  /** Whether an exposure was not told before by this page. */
  isNew(messageId: string): boolean;
}

interface Shared {
  client: TinyCDPClient;
  flags: Flags;
  userId: string | undefined;
}

/** Reasons of an answer that will be another one once the server is back, or a definition is ready: it is asked for again. */
const PASSING: Reason[] = ["ERROR", "STALE", "CACHED"];
/** The pause before that; it doubles from first to last. */
const AGAIN_FIRST_MS = 1_000;
const AGAIN_MS_MAX = 30_000;

/** Clients that ended with their provider. */
const ended = new WeakSet<TinyCDPClient>();

const Context = createContext<Shared | null>(null);

function flagsOf(client: TinyCDPClient, initialDecisions: InitialDecisions = {}, initialUser: string | undefined): Flags {
  let decisions = new Map(Object.entries(initialDecisions));
  let asked = new Set<string>();
  let who = initialUser;
  let stop = (): void => {};
  const told = new Set<string>();
  const listeners = new Set<() => void>();
  const tell = (): void => listeners.forEach((listener) => listener());

  /** Drops what is of another identity. */
  function look(): void {
    const now = client.getUserId() ?? client.getAnonymousId();
    if (who !== undefined && now !== who) decisions = new Map();
    who = now;
  }

  function identityChanged(): void {
    look();
    const again = asked;
    asked = new Set();
    tell();
    again.forEach((flag) => ask(flag));
  }

  function ask(flag: string, pauseMs = AGAIN_FIRST_MS): void {
    if (asked.has(flag)) return;
    const current = asked.add(flag);
    void client.decide({ flag, default: undefined }).then((decision) => {
      if (current !== asked) return; // the identity was left: its answers are nobody's now
      const isGone = decision.errorCode === "FLAG_NOT_FOUND";
      if (PASSING.includes(decision.reason) && !isGone) {
        setTimeout(() => {
          if (current !== asked || !listeners.size) return;
          asked.delete(flag);
          ask(flag, Math.min(2 * pauseMs, AGAIN_MS_MAX));
        }, pauseMs * (1 - Math.random() / 2));
      }
      // What was shown stays while the server is away; a flag that was deleted has no answer any more.
      if (decision.reason === "ERROR" && !isGone && decisions.has(flag)) return;
      decisions.set(flag, decision);
      tell();
    });
  }

  return {
    get: (flag) => decisions.get(flag),
    initial: (flag) => initialDecisions[flag],
    ask,
    subscribe: (listener) => {
      if (!listeners.size) {
        stop = client.subscribe(identityChanged);
        look();
        asked = new Set(); // nobody heard of what changed since the last one left
      }
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (!listeners.size) stop();
      };
    },
    isNew: (messageId) => !told.has(messageId) && !!told.add(messageId),
  };
}

/** Before the effects of what is below, which may ask and track. A server has no such effects, and React 18 warns there. */
const useEarlyEffect = typeof window === "undefined" ? useEffect : useLayoutEffect;

/** Gives one client to all that is below. Under StrictMode too it is made once, and it ends with the provider. */
export function TinyCDPProvider({ children, client: given, userId, initialDecisions, ...options }: TinyCDPProviderProps): ReactElement {
  const make = (): TinyCDPClient => given ?? initTinyCDP({ ...(options as TinyCDPOptions), autoStart: false });
  const [made, setMade] = useState(make);
  const client = given ?? made;
  const isMounted = useRef(false);

  useEarlyEffect(() => {
    isMounted.current = true;
    if (given) return undefined;
    if (ended.has(made)) setMade(make);
    else made.start();
    return () => {
      isMounted.current = false;
      // StrictMode takes a component away and puts it back at once: it goes on with the same client.
      queueMicrotask(() => {
        if (isMounted.current) return;
        ended.add(made);
        void made.destroy();
      });
    };
  }, [given, made]);

  const named = useRef<[client: TinyCDPClient, userId: string | undefined]>(undefined);
  useEarlyEffect(() => {
    const [before, left] = named.current ?? [];
    named.current = [client, userId];
    if (ended.has(client)) return;
    if (userId !== undefined) {
      if (userId !== client.getUserId()) void client.identify({ userId });
    } else if (before === client && left !== undefined) {
      try {
        client.reset();
      } catch {} // the app's own client has ended: it is nobody's
    }
  }, [client, userId]);

  const flags = useMemo(() => flagsOf(client, initialDecisions, userId), [client]);
  useEffect(() => flags.subscribe(() => {}), [flags]); // what changes while no component shows a flag counts too
  const known = useSyncExternalStore(client.subscribe, client.getUserId, () => userId);
  const isTold = named.current?.[0] === client && named.current[1] === userId; // from then on the client knows who it is
  const current = known ?? (isTold ? undefined : userId);
  const shared = useMemo(() => ({ client, flags, userId: current }), [client, flags, current]);
  return createElement(Context.Provider, { value: shared }, children);
}

function useShared(): Shared {
  const shared = useContext(Context);
  if (!shared) throw new Error("useTinyCDP must be used within a TinyCDPProvider");
  return shared;
}

/** The client, the user, and how the page says who that is; null is a sign-out. */
export function useTinyCDP() {
  const { client, userId } = useShared();
  return useMemo(
    () => ({
      client,
      userId: userId ?? null,
      setUserId: (id: string | null): void => {
        if (id === null) client.reset();
        else void client.identify({ userId: id });
      },
    }),
    [client, userId],
  );
}

/** The decision on a flag; undefined until there is one. */
function useDecision(flag: string): Decision | undefined {
  const { flags } = useShared();
  const decision = useSyncExternalStore(
    flags.subscribe,
    () => flags.get(flag),
    () => flags.initial(flag),
  );
  useEffect(() => flags.ask(flag), [flags, flag]);
  return decision;
}

export interface FeatureFlag<T> {
  value: T;
  loading: boolean;
  /** Why the value is the default; null where it is not. */
  error: string | null;
  decision: Decision | undefined;
}

/** What a flag says: whether it allows, where the default is a boolean, else its value, if that has the default's type. */
export function useFeatureFlag<T = boolean>(flag: string, defaultValue: T = false as T): FeatureFlag<T> {
  const decision = useDecision(flag);
  const said: unknown = typeof defaultValue === "boolean" ? decision?.allow : decision?.value;
  const error = decision && (decision.reason === "ERROR" ? (decision.error ?? "no answer") : mismatch(said, defaultValue));
  return {
    value: decision && error === undefined ? (said as T) : defaultValue,
    loading: decision === undefined,
    error: error ?? null,
    decision,
  };
}

/** `track` adds the page's path and the time; `identify` adds what is known of the user. */
export function useTracking() {
  const { client } = useShared();
  return useMemo(
    () => ({
      track: (event: string, properties: Record<string, unknown> = {}): void => {
        const page = typeof location === "undefined" ? undefined : location.pathname;
        client.track({ event, properties: { page, timestamp: new Date().toISOString(), ...properties } });
      },
      identify: async (traits: Record<string, unknown>): Promise<void> => {
        await client.identify({ traits }).catch(() => {}); // the client tells `onError`
      },
    }),
    [client],
  );
}

/**
 * The variant that a flag gives. Where it was shown, and the flag's own steps gave it, the event `experiment_exposure` is
 * sent: once a day for a user, a flag and a variant, in however many tabs.
 */
export function useExperiment(name: string, defaultVariant = "control"): { variant: string; loading: boolean } {
  const { client, flags, userId } = useShared();
  const decision = useDecision(name);
  const isAnswered = decision !== undefined && decision.reason !== "ERROR";
  const variant = isAnswered ? (decision.variant ?? (decision.allow ? "treatment" : "control")) : defaultVariant;
  const isShown = decision !== undefined && isExposure(decision);

  useEffect(() => {
    if (!isShown) return;
    const who = client.getUserId() ?? client.getAnonymousId();
    const day = new Date().toISOString().slice(0, 10);
    const messageId = `exposure-${digestOf(JSON.stringify([who, name, variant, day]))}`;
    if (who !== undefined && flags.isNew(messageId)) {
      client.track({ event: "experiment_exposure", properties: { experiment: name, variant }, messageId });
    }
  }, [client, flags, isShown, name, variant, userId]);
  return { variant, loading: decision === undefined };
}

/** 128 bits of a text as hexadecimal digits (MurmurHash3's mixing, as cyrb128 has it). */
function digestOf(text: string): string {
  const words = [1779033703, 3144134277, 1013904242, 2773480762];
  const factors = [597399067, 2869860233, 951274213, 2716044179];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    words.forEach((word, index) => (words[index] = words[(index + 1) % 4]! ^ Math.imul(word ^ code, factors[index]!)));
  }
  return words.map((word, index) => (Math.imul(word ^ (word >>> 15), factors[3 - index]!) >>> 0).toString(16).padStart(8, "0")).join("");
}

export interface FeatureGateProps {
  flag: string;
  children?: ReactNode;
  /** Shown where the flag does not allow. */
  fallback?: ReactNode;
  /** Shown until the flag is known. */
  loading?: ReactNode;
}

/** Shows its children where a flag allows. */
export function FeatureGate({ flag, children, fallback = null, loading = "Loading…" }: FeatureGateProps): ReactElement {
  const { value, loading: isLoading } = useFeatureFlag(flag);
  return createElement(Fragment, null, isLoading ? loading : value ? children : fallback);
}

export interface TrackedButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  trackingEvent?: string;
  trackingProperties?: Record<string, unknown>;
}

/** A button that tracks that it was pressed. */
export function TrackedButton({ trackingEvent = "button_clicked", trackingProperties, onClick, ...button }: TrackedButtonProps): ReactElement {
  const { track } = useTracking();
  return createElement("button", {
    ...button,
    onClick: (event: MouseEvent<HTMLButtonElement>) => {
      track(trackingEvent, { button_text: event.currentTarget.textContent, ...trackingProperties });
      onClick?.(event);
    },
  });
}

/** Tracks `page_view` once for each page; renders nothing. */
export function PageTracker({ page }: { page: string }): null {
  const { track } = useTracking();
  const { client } = useShared();
  const seen = useRef<[unknown, string]>(undefined);
  useEffect(() => {
    if (seen.current?.[0] === client && seen.current[1] === page) return;
    seen.current = [client, page];
    track("page_view", { page });
  }, [client, page, track]);
  return null;
}

export interface ExperimentVariantProps {
  experiment: string;
  variant: string;
  children?: ReactNode;
}

/** Shows its children where an experiment gives this variant. */
export function ExperimentVariant({ experiment, variant, children }: ExperimentVariantProps): ReactElement {
  const { variant: current, loading } = useExperiment(experiment);
  return createElement(Fragment, null, !loading && current === variant ? children : null);
}
