/** What an app calls: the client's methods, what they take and what they give. */

import type { Decision } from "./decisions";
import type { AliasParams, EventParams, GroupParams, IdentifyParams, TrackParams, ViewParams } from "./events";
import type { State, Stats } from "./outbox";

/** One event that was handed over: how far it is. */
export interface Handle {
  /** What a repeat of the event is known by. */
  readonly messageId: string;
  readonly state: State;
  /** Why it was dropped or refused, or is unknown; else empty. */
  readonly reason: string;
  /** The state once it is settled, or when the time is over. */
  wait(timeoutMs?: number): Promise<State>;
}

/** Whom a decision is about; without an id, whoever uses this browser. */
export interface DecideAllParams extends Pick<EventParams, "userId" | "externalId" | "anonymousId" | "deviceId"> {
  /** An event that the decision is to see: it is sent ahead of the others. */
  after?: Handle | undefined;
  /** In milliseconds; `decideTimeout` by default. */
  timeout?: number | undefined;
}

export interface DecideParams<T = unknown> extends DecideAllParams {
  flag: string;
  /** What the answer is where nothing can be said. With a default `decide` never throws. */
  default?: T | undefined;
}

export interface TinyCDPClient {
  /**
   * Says who the user is, and what is known of them. Resolves to how far it is when the server has acknowledged it, or after
   * `timeout`, when it stays queued. Rejects where it is refused or lost, and without a write key; what `beforeSend` drops, or
   * the person's opt-out, is "dropped".
   */
  identify(params: IdentifyParams): Promise<State>;
  /** Queues that something happened. */
  track(params: TrackParams): Handle;
  /** Queues the view of a page. */
  page(params?: ViewParams): Handle;
  /** Queues the view of a screen. */
  screen(params?: ViewParams): Handle;
  /** Queues that a user belongs to a group. */
  group(params: GroupParams): Handle;
  /** Queues that a previous id is the same person as a user. */
  alias(params: AliasParams): Handle;
  /** Forgets who uses this browser, with flags and answers. The next event has an anonymous id of its own. */
  reset(): void;
  /** What a flag says for a user. */
  decide<T = unknown>(params: DecideParams<T>): Promise<Decision<T>>;
  /** Every flag of a user, with one request; empty where nothing can be said. Never throws. */
  decideAll(params?: DecideAllParams): Promise<Record<string, Decision>>;
  /** Sends what is queued. Resolves when all is settled or the time is over; `queued` is the rest. */
  flush(timeoutMs?: number): Promise<Stats>;
  getQueueSize(): number;
  /** Drops what is queued, counted as dropped. */
  clearQueue(): void;
  /** Sends what is queued, for at most so long, and ends the client. Calls throw from now on. */
  destroy(timeoutMs?: number): Promise<Stats>;
  /** How many events are queued and sent, and how many were lost, by reason. */
  stats(): Stats;
  /** Lets this browser's person be counted. */
  optIn(): void;
  /** Ends that, drops what is queued, and forgets the ids that the browser keeps. */
  optOut(): void;
  isOptedOut(): boolean;
  /** The user who uses this browser. */
  getUserId(): string | undefined;
  /** The browser's own id; undefined where there is no browser. */
  getAnonymousId(): string | undefined;
  /**
   * Calls back whenever the identity changes, whenever the server knows more of it, and with a change stream whenever a
   * flag changes; the answer ends that.
   */
  subscribe(listener: () => void): () => void;
  /** Begins, where `autoStart` is false. */
  start(): void;
}
