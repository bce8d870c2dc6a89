// Questions to the console's own server, which asks the API with the key of the session.

/** The API or the console is away or busy: the same question may be answered later. */
export class Away extends Error {}

/**
 * The answer to a question, decoded. Throws `Away` where there is none now, `Error` with the reason for a refusal, and an
 * `AbortError` when the question was given up.
 */
export async function ask(address, question, signal) {
  let response;
  try {
    response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
      credentials: "same-origin",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Away("The console does not answer.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const reason = answer?.message ?? `The console answers with status ${response.status}.`;
  throw response.ok || response.status === 429 || response.status >= 500 ? new Away(reason) : new Error(reason);
}

/**
 * One kind of question, of which only the newest counts: a new one gives up the one that waits.
 */
export class Newest {
  #controller = null;

  /** What `work(signal)` gives; undefined when a newer question, or `drop`, came meanwhile. */
  async run(work) {
    this.drop();
    const controller = (this.#controller = new AbortController());
    try {
      const answer = await work(controller.signal);
      return controller.signal.aborted ? undefined : answer;
    } catch (error) {
      if (controller.signal.aborted) return undefined;
      throw error;
    }
  }

  drop() {
    this.#controller?.abort();
    this.#controller = null;
  }
}

/** Resolves after so many milliseconds; rejects when given up. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
