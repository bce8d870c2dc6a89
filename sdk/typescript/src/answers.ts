/**
 * What the answer to a batch means for its events. Pure: `tests/conformance/clients/answers.json` holds the cases.
 *
 * An attempt is ambiguous unless the API answered it 200, or refused it before anything could count. 429 and 503 may
 * have stored a part, and so may a request whose answer was lost. The server knows a repeat by its `messageId` for 24
 * hours, so an ambiguous attempt is repeated, but not for longer than that.
 */

/** A server that asks for more is asked again after this long all the same. */
const RETRY_AFTER_MS_MAX = 300_000;
/** After so many failures in a row a server that asks for less than the first wait is given that all the same. */
const SHORT_WAITS_MAX = 3;
/** Characters that are kept of what an answer says, and warnings of one answer that are told. */
const SAID_MAX = 300;
const WARNINGS_MAX = 10;
/** What is said of the answer of a proxy, or of a login page. */
export const NOT_OURS = "the answer is not TinyCDP's";

/**
 * What becomes of the events of an attempt. `stored`: the good ones count. `split`: the request was refused as a whole;
 * halves may pass, a single event is refused. `held`: key or address are wrong; nothing passes until somebody mends
 * that. `again`: the same may pass later.
 */
export type Fate = "stored" | "split" | "held" | "again";

/** The fate of an attempt's events, whether a part of them may count already, and why. */
export interface Verdict {
  fate: Fate;
  isAmbiguous: boolean;
  reason: string;
  retryAfterMs?: number | undefined;
  /** Index of an event → code and message. */
  rejected: Record<number, [code: string, message: string]>;
  warnings: string[];
}

/** How long a client waits before it sends again. Times are in milliseconds. */
export interface RetryConfig {
  initialDelay: number;
  maxDelay: number;
  backoffMultiplier: number;
  /** Whether chance takes up to half of a wait away. */
  jitter: boolean;
}

/** What an answer says of the batch that it answers. `retryAfter` is the header's text. */
export function verdictOf(status: number, retryAfter: string | null, body: string): Verdict {
  const said = objectIn(body);
  if (status === 200) {
    if (said["success"] !== true) return verdict("again", true, NOT_OURS);
    const found = verdict("stored", false, "stored");
    const { rejected, warnings } = said;
    for (const refusal of listIn(rejected)) {
      if (Number.isInteger(refusal?.index)) {
        found.rejected[refusal.index] = [cut(refusal.code ?? "unknown"), cut(refusal.message)];
      }
    }
    found.warnings = listIn(warnings).slice(0, WARNINGS_MAX).map(cut);
    return found;
  }
  const reason = refusalIn(status, said);
  if (status === 400 || status === 413) return verdict("split", false, reason);
  if (status >= 300 && status < 400) {
    return verdict("held", false, `${reason}, a redirect; set its target as endpoint`);
  }
  if ([401, 403, 404, 405].includes(status)) return verdict("held", false, reason);
  return { ...verdict("again", true, reason), retryAfterMs: millisecondsIn(retryAfter) };
}

/** The status of an answer that refuses, and what it says. */
export const refusalIn = (status: number, said: Record<string, any>): string =>
  `HTTP ${status} ${cut(said["message"])}`.trim();

/** The verdict where no answer came. `wasSent` is false if the connection itself was refused. */
export function unanswered(reason: string, wasSent: boolean): Verdict {
  return verdict("again", wasSent, reason);
}

/** How long to wait after the attempt of this number, from 1. */
export function waitMs(
  attempt: number,
  retryAfterMs: number | undefined,
  retry: RetryConfig,
): number {
  if (retryAfterMs !== undefined) {
    return Math.min(Math.max(retryAfterMs, attempt > SHORT_WAITS_MAX ? retry.initialDelay : 0), RETRY_AFTER_MS_MAX);
  }
  const full = Math.min(retry.initialDelay * retry.backoffMultiplier ** (attempt - 1), retry.maxDelay);
  return retry.jitter ? full * (1 - Math.random() / 2) : full;
}

/** A JSON object; where a text is none, one without any of the properties that answers have. */
export function objectIn(text: string): Record<string, any> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** A list, empty where what is said is none. */
export const listIn = (said: unknown): any[] => (Array.isArray(said) ? said : []);

function verdict(fate: Fate, isAmbiguous: boolean, reason: string): Verdict {
  return { fate, isAmbiguous, reason, rejected: {}, warnings: [] };
}

/** A text of an answer: what is printable, and not too much of it. */
export function cut(said: unknown): string {
  const text = typeof said === "object" ? "" : String(said ?? "");
  return text.slice(0, SAID_MAX).replace(/[\p{C}\p{Z}]/gu, " ");
}

/** Milliseconds that Retry-After names as seconds; the API sends no dates. */
function millisecondsIn(text: string | null): number | undefined {
  return /^\d+(\.\d*)?$/.test(text ?? "") ? +text! * 1000 : undefined;
}
