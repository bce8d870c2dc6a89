/** One exchange with the server, within its time. */

import type { Verdict } from "./answers";
import { unanswered, verdictOf } from "./answers";
import type { Reply } from "./decisions";

/** The connection itself was refused: the server cannot have seen the request. Node names the cause, browsers do not. */
const NOT_SENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"];

/** A request that got no answer. */
export interface NoAnswer {
  reason: string;
  wasSent: boolean;
}

/** What a request has. A key goes in its header, and nowhere else. */
export interface Asked {
  url: string;
  key: string | undefined;
  /** What is posted; without one it is a GET. */
  body?: string | undefined;
  etag?: string | null | undefined;
  keepalive?: boolean | undefined;
}

/**
 * The answer, or why there is none. Never throws. Redirects are not followed: a key goes nowhere but to the address that
 * was given.
 */
export async function exchange(fetcher: typeof fetch, asked: Asked, timeoutMs: number): Promise<Reply | NoAnswer> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), Math.max(timeoutMs, 1));
  try {
    const { url, key, body, etag, keepalive = false } = asked;
    const answer = await fetcher(url, {
      method: body ? "POST" : "GET",
      headers: {
        Authorization: `Bearer ${key}`,
        ...(body && { "Content-Type": "application/json" }),
        ...(etag && { "If-None-Match": etag }),
      },
      body: body ?? null,
      keepalive,
      cache: "no-store",
      credentials: "omit",
      redirect: "manual",
      signal: stop.signal,
    });
    const header = (name: string): string | null => answer.headers.get(name);
    return {
      status: answer.type === "opaqueredirect" ? 302 : answer.status,
      body: await answer.text(),
      retryAfter: header("retry-after"),
      etag: header("etag"),
      cacheControl: header("cache-control"),
    };
  } catch (error) {
    const code: unknown = (error as any)?.cause?.code;
    return {
      reason: stop.signal.aborted ? `Request timeout after ${timeoutMs}ms` : `no answer (${code ?? (error as any)?.name})`,
      wasSent: !NOT_SENT.includes(code as string),
    };
  } finally {
    clearTimeout(timer);
  }
}

/** What an answer means for a batch. */
export const verdictIn = (answer: Reply | NoAnswer): Verdict =>
  "status" in answer ? verdictOf(answer.status, answer.retryAfter, answer.body) : unanswered(answer.reason, answer.wasSent);
