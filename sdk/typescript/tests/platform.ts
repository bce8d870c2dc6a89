/** What browsers have and happy-dom lacks, as far as the client uses it: Web Locks, and event streams that a test speaks by. */

/** A lock manager: one holder of a name at a time, the others in their order. `held` are the names that somebody holds. */
export function locksOf() {
  const held = new Set<string>();
  const waiting: { name: string; begin: () => void }[] = [];

  function request(name: string, ...rest: any[]): Promise<unknown> {
    const act: (lock: object | null) => unknown = rest.pop();
    const { ifAvailable = false, signal }: { ifAvailable?: boolean; signal?: AbortSignal } = rest[0] ?? {};
    return new Promise((resolve, reject) => {
      const one = {
        name,
        begin: () => {
          held.add(name);
          const end = (): void => {
            held.delete(name);
            const next = waiting.findIndex((other) => other.name === name);
            if (next >= 0) waiting.splice(next, 1)[0]!.begin();
          };
          void (async () => act({ name }))().then(resolve, reject).finally(end);
        },
      };
      signal?.addEventListener("abort", () => {
        if (waiting.includes(one)) waiting.splice(waiting.indexOf(one), 1);
        reject(new DOMException("aborted", "AbortError"));
      });
      queueMicrotask(() => { // as in browsers no lock is given within the call
        if (!held.has(name)) one.begin();
        else if (ifAvailable) void (async () => act(null))().then(resolve, reject);
        else waiting.push(one);
      });
    });
  }
  return { request, held };
}

/** A stream that a page opened. A test opens it, ends it, and speaks. */
export class Source {
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  static opened: Source[] = [];
  readyState = 0;
  onopen = (): void => {};
  onerror = (): void => {};
  onmessage = (_: { data: string }): void => {};

  constructor(readonly url: string) {
    Source.opened.push(this);
  }

  /** It is open, again perhaps. */
  open(): void {
    this.readyState = Source.OPEN;
    this.onopen();
  }

  /** The connection was lost. A browser opens it again, unless the server refused it. */
  lose(isRefused = false): void {
    this.readyState = isRefused ? Source.CLOSED : 0;
    this.onerror();
  }

  close(): void {
    this.readyState = Source.CLOSED;
  }
}

/** A channel of a page that is alone in its browser. */
export class Channel {
  onmessage = (): void => {};
  postMessage(): void {}
  close(): void {}
}
