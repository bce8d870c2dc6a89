/** One exchange with the server, within its time. */

import type { Verdict } from "./answers";
import { unanswered, verdictOf } from "./answers";
import { causeOf, mayHaveCome, ownHeaders } from "./node";
import { later } from "./timer";

/** Characters of an answer that are read: no answer of the API has as many. */
const ANSWER_MAX = 16e6;

/** An answer. Where none came, the status is 0, `body` says why, and `wasSent` whether the server may have seen it. */
export interface Reply {
  status: number;
  body: string;
  wasSent?: boolean;
  headers: Pick<Headers, "get">;
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
export async function exchange(fetcher: typeof fetch, asked: Asked, timeoutMs: number): Promise<Reply> {
  const stop = new AbortController();
  const timer = later(() => stop.abort(), timeoutMs);
  try {
    const { url, key, etag, ...request } = asked;
    const answer = await fetcher(url, {
      method: request.body ? "POST" : "GET",
      headers: {
        Authorization: `Bearer ${key}`,
        "Content-Type": "application/json",
        ...(etag && { "If-None-Match": etag }),
        ...ownHeaders,
      },
      ...(request as RequestInit),
      cache: "no-store",
      credentials: "omit",
      redirect: "manual",
      signal: stop.signal,
    });
    return {
      status: answer.type === "opaqueredirect" ? 302 : answer.status,
      body: await textOf(answer),
      headers: answer.headers,
    };
  } catch (error) {
    const cause = causeOf(error);
    return {
      status: 0,
      body: stop.signal.aborted ? `Request timeout after ${timeoutMs | 0}ms` : `no answer (${cause})`,
      wasSent: mayHaveCome(cause),
      headers: new Headers(),
    };
  } finally {
    clearTimeout(timer);
    stop.abort(); // what is not read of an answer is not sent either
  }
}

/** The text of an answer; empty where it is too long to be the API's. */
async function textOf(answer: Response): Promise<string> {
  const reader = answer.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let part; (part = await reader?.read()) && !part.done; ) {
    text += decoder.decode(part.value, { stream: true });
    if (text.length > ANSWER_MAX) return "";
  }
  return text;
}

/** What an answer means for a batch. */
export const verdictIn = ({ status, body, wasSent, headers }: Reply): Verdict =>
  status ? verdictOf(status, headers.get("retry-after"), body) : unanswered(body, wasSent!);
