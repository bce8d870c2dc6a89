/** Every option of a client, with its default. An option that is undefined has its default. */

import type { RetryConfig } from "./answers";
import type { Decision } from "./decisions";
import type { Ids, TrackEvent } from "./events";
import type { Logger } from "./logger";
import { createLogger, guarded } from "./logger";
import type { State, Stats } from "./outbox";
import { requireNumber } from "./timer";

/** An event that does not arrive, or may not: what `onError` is told. */
export interface Failure {
  /** refused, dropped or unknown. */
  state: State;
  reason: string;
  messageId: string;
  /** The event's JSON as it would have been sent; undefined if it is no JSON. */
  event: string | undefined;
}

/** Times are in milliseconds. */
export interface TinyCDPOptions {
  /** The server's address, as https://cdp.example.com. */
  endpoint: string;
  /** Sends events. */
  writeKey?: string | undefined;
  /** Asks for decisions. */
  readKey?: string | undefined;
  /** Events that make a batch: 20. */
  flushAt?: number | undefined;
  /** How long an event waits for a batch: 10,000. */
  flushIntervalMs?: number | undefined;
  /** Events that may wait or be under way: 1,000. Then the oldest are dropped, counted and told. */
  maxQueueSize?: number | undefined;
  /** For a batch, and for `flush`: 15,000. */
  timeout?: number | undefined;
  /** For a decision: 3,000. */
  decideTimeout?: number | undefined;
  /** Whether the console is told what goes on: false. */
  debug?: boolean | undefined;
  /** Whether a page that is left sends what is queued: true. */
  autoFlushOnUnload?: boolean | undefined;
  /** Where warnings go: the console. */
  logger?: Logger | undefined;
  /** How long a client waits before it sends again. */
  retry?: { [Name in keyof RetryConfig]?: RetryConfig[Name] | undefined } | undefined;
  /** Whether the browser keeps ids and queue between pages: true. */
  persistence?: boolean | undefined;
  /** Whether nobody is counted before `optIn`: false. */
  optOutByDefault?: boolean | undefined;
  /** Whether the client begins by itself: true. Else it touches nothing until its first call, or `start`. */
  autoStart?: boolean | undefined;
  /** The context of each event that gives none; in browsers it is added to what the page says of itself. */
  context?: Record<string, unknown> | undefined;
  /** May change an event, or drop it by returning null. */
  beforeSend?: ((event: TrackEvent) => TrackEvent | null | void) | undefined;
  /** Told of each event that is refused, dropped or unknown. */
  onError?: ((failure: Failure) => void) | undefined;
  /** Has a browser's flags kept up to date by the server: `changeStream` of "@tinycdp/sdk/stream". */
  stream?: ((settings: StreamSettings) => FlagStream | undefined) | undefined;
  /** Stands for the platform's `fetch`. */
  fetch?: typeof fetch | undefined;
}

type Defined<Options> = { [Name in keyof Options]-?: Exclude<Options[Name], undefined> };

/** Options, each with a value; those without a default may be undefined. */
export type Settings = Defined<
  Omit<TinyCDPOptions, "writeKey" | "readKey" | "context" | "beforeSend" | "onError" | "stream" | "retry">
> &
  Pick<TinyCDPOptions, "writeKey" | "readKey" | "context" | "beforeSend" | "onError" | "stream"> & { retry: RetryConfig };

/** What a change stream has of its client. */
export interface StreamSettings {
  endpoint: string;
  readKey?: string | undefined;
  decideTimeout: number;
  fetch: typeof fetch;
  /** Whoever uses this browser. */
  who(): Ids;
  /** The events of this page that are not settled. The server may know one that is `sending`, or was since `firstMs`. */
  events(): { state: State; firstMs?: number | undefined }[];
  stats(): Stats;
  /** Tells those who subscribed that a flag changed. */
  notify(): void;
}

/** What a client has of its change stream. */
export interface FlagStream {
  /** Takes part in the stream of whoever uses this browser now. */
  follow(): void;
  /** Every flag of theirs, within so long; undefined where the client is to ask. */
  kept(timeoutMs: number): Promise<Decision[] | undefined>;
  end(): void;
}

export const DEFAULTS = {
  flushAt: 20,
  flushIntervalMs: 10_000,
  maxQueueSize: 1_000,
  timeout: 15_000,
  decideTimeout: 3_000,
  debug: false,
  autoFlushOnUnload: true,
  persistence: true,
  optOutByDefault: false,
  autoStart: true,
};

export const RETRY: RetryConfig = { initialDelay: 500, maxDelay: 60_000, backoffMultiplier: 2, jitter: true };

/** The settings that options stand for. Throws an error that names the first wrong one. */
export function settingsOf(options: TinyCDPOptions): Settings {
  if (!options?.endpoint) throw new Error("TinyCDP: endpoint is required");
  const settings: Settings = {
    fetch: (...request) => fetch(...request),
    ...DEFAULTS,
    ...defined(options),
    logger: guarded(options.logger ?? createLogger(options.debug ? "debug" : "warn")),
    retry: { ...RETRY, ...defined(options.retry ?? {}) },
    endpoint: options.endpoint.replace(/(\/v1)?\/*$/, ""), // the paths of calls begin with it
  };
  if (!/^https?:\/\/[^?#]+$/.test(settings.endpoint)) {
    throw new Error("TinyCDP: endpoint is not accepted; give https://...");
  }
  const given: Record<string, unknown> = { ...settings, ...settings.retry };
  for (const [name, standard] of Object.entries({ ...DEFAULTS, ...RETRY })) {
    if (typeof standard === "number") requireNumber(name, given[name], +!/Delay|Interval/.test(name));
  }
  return settings;
}

function defined<T extends object>(options: T): { [Name in keyof T]: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as any;
}
