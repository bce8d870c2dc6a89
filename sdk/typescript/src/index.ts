/** TinyCDP's client for browsers and Node: events out, decisions in. */

export type { RetryConfig } from "./answers";
export type { DecideAllParams, DecideParams, Handle, TinyCDPClient } from "./calls";
export { initTinyCDP } from "./client";
export type { Decision, ErrorCode, Reason } from "./decisions";
export type { AliasParams, EventParams, GroupParams, IdentifyParams, Kind, TrackEvent, TrackParams, ViewParams } from "./events";
export type { Logger, LogLevel } from "./logger";
export { createLogger } from "./logger";
export type { Failure, FlagStream, StreamSettings, TinyCDPOptions } from "./options";
export type { State, Stats } from "./outbox";
