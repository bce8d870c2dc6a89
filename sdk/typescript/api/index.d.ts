interface RetryConfig {
  initialDelay: number;
  maxDelay: number;
  backoffMultiplier: number;
  jitter: boolean;
}
type LogLevel = "debug" | "info" | "warn" | "error";
interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}
declare function createLogger(level?: LogLevel, prefix?: string): Logger;
type ErrorCode = "FLAG_NOT_FOUND" | "TYPE_MISMATCH" | "GENERAL";
type Reason = "STATIC" | "TARGETING_MATCH" | "SPLIT" | "DEFAULT" | "DISABLED" | "STALE" | "CACHED" | "ERROR";
interface Decision<T = unknown> {
  flag: string;
  userId: string;
  allow: boolean;
  value: T;
  variant?: string | undefined;
  reason: Reason;
  reasons: string[];
  error?: string | undefined;
  errorCode?: ErrorCode | undefined;
  afterMet: boolean;
}
type Kind = "identify" | "track" | "page" | "screen" | "group" | "alias";
interface TrackEvent {
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
interface EventParams {
  userId?: string | number | undefined;
  externalId?: string | number | undefined;
  anonymousId?: string | undefined;
  deviceId?: string | undefined;
  timestamp?: Date | string | undefined;
  messageId?: string | undefined;
  context?: Record<string, unknown> | undefined;
}
interface IdentifyParams extends EventParams {
  traits?: Record<string, unknown> | undefined;
}
interface TrackParams extends EventParams {
  event: string;
  properties?: Record<string, unknown> | undefined;
}
interface ViewParams extends EventParams {
  name?: string | undefined;
  category?: string | undefined;
  properties?: Record<string, unknown> | undefined;
}
interface GroupParams extends EventParams {
  groupId: string;
  traits?: Record<string, unknown> | undefined;
}
interface AliasParams extends EventParams {
  previousId: string;
}
interface Ids {
  userId?: string | undefined;
  anonymousId?: string | undefined;
}
type State = "queued" | "sending" | "sent" | "dropped" | "refused" | "unknown";
interface Stats {
  queued: number;
  sent: number;
  dropped: Record<string, number>;
  refused: Record<string, number>;
  unknown: Record<string, number>;
}
interface Handle {
  readonly messageId: string;
  readonly state: State;
  readonly reason: string;
  wait(timeoutMs?: number): Promise<State>;
}
interface DecideAllParams extends Pick<EventParams, "userId" | "externalId" | "anonymousId" | "deviceId"> {
  after?: Handle | undefined;
  timeout?: number | undefined;
}
interface DecideParams<T = unknown> extends DecideAllParams {
  flag: string;
  default?: T | undefined;
}
interface TinyCDPClient {
  identify(params: IdentifyParams): Promise<State>;
  track(params: TrackParams): Handle;
  page(params?: ViewParams): Handle;
  screen(params?: ViewParams): Handle;
  group(params: GroupParams): Handle;
  alias(params: AliasParams): Handle;
  reset(): void;
  decide<T = unknown>(params: DecideParams<T>): Promise<Decision<T>>;
  decideAll(params?: DecideAllParams): Promise<Record<string, Decision>>;
  flush(timeoutMs?: number): Promise<Stats>;
  getQueueSize(): number;
  clearQueue(): void;
  destroy(timeoutMs?: number): Promise<Stats>;
  stats(): Stats;
  optIn(): void;
  optOut(): void;
  isOptedOut(): boolean;
  getUserId(): string | undefined;
  getAnonymousId(): string | undefined;
  subscribe(listener: () => void): () => void;
  start(): void;
}
interface Failure {
  state: State;
  reason: string;
  messageId: string;
  event: string | undefined;
}
interface TinyCDPOptions {
  endpoint: string;
  writeKey?: string | undefined;
  readKey?: string | undefined;
  flushAt?: number | undefined;
  flushIntervalMs?: number | undefined;
  maxQueueSize?: number | undefined;
  timeout?: number | undefined;
  decideTimeout?: number | undefined;
  debug?: boolean | undefined;
  autoFlushOnUnload?: boolean | undefined;
  logger?: Logger | undefined;
  retry?: { [Name in keyof RetryConfig]?: RetryConfig[Name] | undefined } | undefined;
  persistence?: boolean | undefined;
  optOutByDefault?: boolean | undefined;
  autoStart?: boolean | undefined;
  context?: Record<string, unknown> | undefined;
  beforeSend?: ((event: TrackEvent) => TrackEvent | null | void) | undefined;
  onError?: ((failure: Failure) => void) | undefined;
  stream?: ((settings: StreamSettings) => FlagStream | undefined) | undefined;
  fetch?: typeof fetch | undefined;
}
interface StreamSettings {
  endpoint: string;
  readKey?: string | undefined;
  decideTimeout: number;
  fetch: typeof fetch;
  who(): Ids;
  events(): {
    state: State;
    firstMs?: number | undefined;
  }[];
  stats(): Stats;
  notify(): void;
}
interface FlagStream {
  follow(): void;
  kept(timeoutMs: number): Promise<Decision[] | undefined>;
  end(): void;
}
declare function initTinyCDP(options: TinyCDPOptions): TinyCDPClient;
export { type AliasParams, type DecideAllParams, type DecideParams, type Decision, type ErrorCode, type EventParams, type Failure, type FlagStream, type GroupParams, type Handle, type IdentifyParams, type Kind, type LogLevel, type Logger, type Reason, type RetryConfig, type State, type Stats, type StreamSettings, type TinyCDPClient, type TinyCDPOptions, type TrackEvent, type TrackParams, type ViewParams, createLogger, initTinyCDP };
