/** A `fetch` that answers what a test says, and keeps what it was asked. */

export interface Asked {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: any;
  redirect: string | undefined;
  keepalive: boolean;
}

/** What a request is answered; null loses the answer. */
export type Answer = { status?: number; body?: unknown; headers?: Record<string, string> } | null;

export const stored = (_: Asked): Answer => ({ body: { success: true } });

export function scripted(answer: (asked: Asked) => Answer | Promise<Answer>) {
  const asked: Asked[] = [];
  const fetcher = async (url: unknown, request: RequestInit = {}): Promise<Response> => {
    const { method = "GET", body, redirect, keepalive = false, signal } = request;
    const one: Asked = {
      method,
      url: String(url),
      headers: request.headers as Record<string, string>,
      body: typeof body === "string" ? JSON.parse(body) : undefined,
      redirect,
      keepalive,
    };
    asked.push(one);
    const found = await Promise.race([
      answer(one),
      new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")))),
    ]);
    if (found === null) throw new TypeError("Failed to fetch");
    const { status = 200, headers = {} } = found;
    const init = { status, headers };
    return new Response([204, 304].includes(status) ? null : JSON.stringify(found.body ?? {}), init);
  };
  return {
    fetch: fetcher as typeof fetch,
    asked,
    /** The events of each batch that came. */
    batches: (): any[][] => asked.filter((one) => one.url.endsWith("/v1/batch")).map((one) => one.body.batch),
  };
}
