/**
 * How a decision is come by: a fresh answer, a request, the last answer, or none. No I/O and no clock.
 *
 *     begin → decisions (a fresh answer, or the last one since the server did not answer lately)
 *           → a request to be sent → answered → decisions
 *
 * Where there are none, an `Undecided` is thrown.
 *
 * An answer is given again for its `max-age` alone, then asked for again by its ETag. In an outage the last answer stands
 * for five minutes, with reason CACHED; then the caller's default does. Whatever this client sends of a user, and the
 * acknowledgement of it, drops that user's answers. `tests/conformance/clients/caching.json` holds the cases.
 */

import { NOT_OURS, objectIn, refusalIn } from "./answers";
import { namesOf } from "./events";
import type { Reply } from "./http";
import type { Logger } from "./logger";

/** What keeps a decision from being made, or from being given, in OpenFeature's words. */
export type ErrorCode = "FLAG_NOT_FOUND" | "TYPE_MISMATCH" | "GENERAL";

/** Why a decision is as it is, in OpenFeature's words. */
export type Reason = "STATIC" | "TARGETING_MATCH" | "SPLIT" | "DEFAULT" | "DISABLED" | "STALE" | "CACHED" | "ERROR";

/** What a flag says for a user. */
export interface Decision<T = unknown> {
  flag: string;
  userId: string;
  /** Whether the flag allows. */
  allow: boolean;
  /**
   * The variant's value; of a flag without variants it is `allow`. The caller's default where nothing can be said, and where
   * the value has another type than that.
   */
  value: T;
  variant?: string | undefined;
  reason: Reason;
  /** Why, step by step, as the server says it. */
  reasons: string[];
  /** Why there is no answer. */
  error?: string | undefined;
  errorCode?: ErrorCode | undefined;
  /** False if the event that the decision was to see was not acknowledged in time. */
  afterMet: boolean;
}

/** A question for decisions: of one flag, or of all where `flag` is undefined. */
export interface Question {
  userId?: string | undefined;
  anonymousId?: string | undefined;
  flag: string | undefined;
}

/** Why there is no decision. */
export interface Undecided extends Error {
  code: ErrorCode;
  afterMet: boolean | undefined;
}

interface Answer {
  decisions: Decision[];
  etag: string | undefined;
  atMs: number;
  freshUntilMs: number;
}

/** A question that must be asked, and the answer that is kept of it. */
export interface Request {
  question: Question;
  last: Answer | undefined;
  /** Whether an id of it was dropped since it was asked: its answer may be of before that. */
  isOld: boolean;
  /** When it is given up. */
  deadlineMs: number;
  /** What it comes to, for all who share it. */
  decided?: Promise<Decision[]>;
}

/** How long the last answer stands while the server is away. */
const LAST_ANSWER_MS = 300_000;
/** Answers that are kept; the longest unused go. */
const ANSWERS_MAX = 1_000;
/** After so many failures in a row nobody is asked for a while, which doubles from the first to the greatest. */
const FAILURES_MAX = 3;
const PAUSE_FIRST_MS = 1_000;
const PAUSE_MS_MAX = 30_000;
/** What is said in an outage, once in the log, and to who asks in a pause. */
const AWAY = "the server does not answer decisions";

export type Asking = ReturnType<typeof askingOf>;

/** The answers of one client, and whether it is worth asking. The log has one warning of each outage. */
export function askingOf(logger?: Logger) {
  const answers = new Map<string, Answer>();
  const underWay = new Set<Request>();
  let failures = 0;
  let closedUntilMs = 0;

  const keyOf = (question: Question): string => JSON.stringify([namesOf(question), question.flag]);

  /** Nobody is asked before the end of a pause, then one. */
  function pause(nowMs: number): void {
    if (failures >= FAILURES_MAX) {
      closedUntilMs = nowMs + Math.min(PAUSE_FIRST_MS * 2 ** (failures - FAILURES_MAX), PAUSE_MS_MAX);
    }
  }

  /**
   * What is known already, or the request to send. It is one that is under way where the same is asked, unless that lasts
   * longer than this one may, or less than half as long.
   */
  function begin(question: Question, nowMs: number, deadlineMs: number): Decision[] | Request {
    const kept = answers.get(keyOf(question));
    if (kept) {
      keep(question, kept); // the last one used goes last
      if (nowMs < kept.freshUntilMs) return kept.decisions;
    }
    if (nowMs < closedUntilMs) return inOutage(kept, nowMs, AWAY);
    for (const request of underWay) {
      const isInTime = request.deadlineMs <= deadlineMs && 2 * request.deadlineMs >= nowMs + deadlineMs;
      if (isInTime && !request.isOld && keyOf(request.question) === keyOf(question)) return request;
    }
    pause(nowMs);
    const request: Request = { question, last: kept, isOld: false, deadlineMs };
    underWay.add(request);
    return request;
  }

  /** What an answer says, or the last one where none came. */
  function answered(request: Request, { status, body, headers }: Reply, nowMs: number): Decision[] {
    const { question, last } = request;
    const said = objectIn(body);
    const decisions = status === 304 ? last?.decisions : status === 200 ? decisionsIn(said["decisions"] ?? [said]) : undefined;
    const isRefusal = status >= 400 && status < 500 && status !== 429;
    const refusal = refusalIn(status, said);
    underWay.delete(request);
    if (!decisions && !isRefusal) {
      if (++failures === FAILURES_MAX) logger?.warn(AWAY);
      pause(nowMs);
      return inOutage(last, nowMs, status ? (status < 400 ? NOT_OURS : refusal) : body);
    }
    failures = closedUntilMs = 0;
    if (!decisions) throw undecided(refusal, status === 404 && said["details"] ? "FLAG_NOT_FOUND" : "GENERAL"); // a proxy gives none
    const etag = headers.get("etag") ?? last?.etag;
    const answer = { decisions, etag, atMs: nowMs, freshUntilMs: nowMs + maxAgeMs(headers.get("cache-control")) };
    if (!request.isOld) keep(question, answer);
    return decisions;
  }

  function keep(question: Question, answer: Answer): void {
    const key = keyOf(question);
    answers.delete(key);
    answers.set(key, answer);
    if (answers.size > ANSWERS_MAX) answers.delete(answers.keys().next().value!);
  }

  /** Drops every answer to a question that named one of these ids; without any, all answers. */
  function drop(names?: string[]): void {
    const isOf = (asked: string[]): boolean => !names || asked.some((name) => names.includes(name));
    for (const key of answers.keys()) if (isOf(JSON.parse(key)[0])) answers.delete(key);
    for (const request of underWay) request.isOld ||= isOf(namesOf(request.question));
  }

  return { begin, answered, drop };
}

/** The error that there is no decision. */
export function undecided(message: string, code: ErrorCode = "GENERAL", afterMet?: boolean): Undecided {
  return Object.assign(new Error(message), { code, afterMet });
}

/** Decisions as the API words them; undefined for what is none. */
export function decisionsIn(bodies: any): Decision[] | undefined {
  if (!Array.isArray(bodies) || !bodies.every((body) => body?.flag && body.reason && "value" in body)) return undefined;
  return bodies.map((body) => ({
    reasons: [],
    ...body,
    variant: body.variant ?? undefined,
    ...(body.reason === "ERROR" && { error: body.reasons?.at(-1), errorCode: "GENERAL" }),
    afterMet: true,
  }));
}

/** The last answer, marked CACHED, while it stands. */
function inOutage(answer: Answer | undefined, nowMs: number, error: string): Decision[] {
  if (!answer || nowMs - answer.atMs > LAST_ANSWER_MS) throw undecided(error);
  return answer.decisions.map((decision) => ({ ...decision, reason: "CACHED" }));
}

/** For how long an answer with this header may be given again without asking. */
function maxAgeMs(cacheControl: string | null): number {
  return +(/^(?!.*no-store).*\bmax-age=(\d{1,9})\b/.exec(cacheControl ?? "")?.[1] ?? 0) * 1000;
}
