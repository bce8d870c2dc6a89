/** The client without a browser, as a Node service has it. The tests of the first TinyCDP's client are among these. */

import { describe, expect, test, vi } from "vitest";
import type { Failure, TinyCDPOptions } from "../src/index";
import { createLogger, initTinyCDP } from "../src/index";
import { version } from "../package.json";
import { askingOf } from "../src/decisions";
import { changeStream } from "../src/stream";
import { scripted, stored } from "./scripted";
import { clientOf, SILENT } from "./silent";

describe("making a client", () => {
  test("only the endpoint is needed, and nothing is queued at first", () => {
    expect(initTinyCDP({ endpoint: "http://cdp.test" }).getQueueSize()).toBe(0);
  });

  test("without an endpoint it throws", () => {
    expect(() => initTinyCDP({} as TinyCDPOptions)).toThrow("TinyCDP: endpoint is required");
    expect(() => initTinyCDP({ endpoint: "ftp://cdp.test" })).toThrow("endpoint is not accepted; give https://...");
  });

  test("an option that is undefined has its default, and one that cannot work is named", async () => {
    const server = scripted(stored);
    const client = clientOf({ flushAt: undefined, fetch: server.fetch });
    for (let number = 0; number < 20; number++) client.track({ userId: "ada", event: "viewed" });
    await vi.waitUntil(() => client.stats().sent === 20);
    expect(server.batches().map((batch) => batch.length)).toEqual([20]);
    expect(() => clientOf({ flushAt: 0 })).toThrow("flushAt: 0 is not accepted");
  });

  const counts = ["flushAt", "flushIntervalMs", "maxQueueSize", "timeout", "decideTimeout"];
  const retries = ["initialDelay", "maxDelay", "backoffMultiplier"];

  test.each([...counts, ...retries])("a number that cannot work is refused by its name: %s", (name) => {
    for (const wrong of [NaN, Infinity, -1, "5", null]) {
      const options = counts.includes(name) ? { [name]: wrong } : { retry: { [name]: wrong } };
      expect(() => clientOf(options as Partial<TinyCDPOptions>)).toThrow(`TinyCDP: ${name}: ${wrong} is not accepted; give a number, at least`);
    }
  });

  test("a slash at the end of the endpoint makes no difference", async () => {
    const server = scripted(stored);
    const client = clientOf({ endpoint: "http://cdp.test/base//", fetch: server.fetch });
    client.track({ userId: "ada", event: "viewed" });
    await client.flush();
    expect(server.asked.map((asked) => asked.url)).toEqual(["http://cdp.test/base/v1/batch"]);
  });
});

describe("events", () => {
  test("identify sends at once, with the write key in the header alone, and resolves when it is acknowledged", async () => {
    const server = scripted(stored);
    await clientOf({ fetch: server.fetch }).identify({ userId: "ada", traits: { plan: "pro" } });

    const [asked] = server.asked;
    expect(asked?.headers).toMatchObject({ Authorization: "Bearer wk", "Content-Type": "application/json" });
    expect(server.batches()[0]).toMatchObject([{ type: "identify", userId: "ada", traits: { plan: "pro" } }]);
    expect(JSON.stringify([asked?.url, asked?.body])).not.toContain("wk");
  });

  test("identify without a write key rejects", async () => {
    await expect(clientOf({ writeKey: undefined }).identify({ userId: "ada" })).rejects.toThrow("Write key is required");
  });

  test("identify that the server refuses rejects with its status", async () => {
    const server = scripted(() => ({ status: 400, body: { message: "no such thing" } }));
    await expect(clientOf({ fetch: server.fetch }).identify({ userId: "ada" })).rejects.toThrow("HTTP 400");
  });

  test("one failure of the network and then success: two requests, the same event", async () => {
    const server = scripted((asked) => (server.asked.length === 1 ? null : stored(asked)));
    const client = clientOf({ fetch: server.fetch, retry: { initialDelay: 1 } });
    await client.identify({ userId: "ada" });
    expect(server.batches()[0]).toEqual(server.batches()[1]);
    expect(client.stats().sent).toBe(1);
  });

  test("track queues", () => {
    const client = clientOf();
    client.track({ userId: "ada", event: "viewed" });
    expect(client.getQueueSize()).toBe(1);
  });

  test("flushAt events go in one request, in their order", async () => {
    const server = scripted(stored);
    const client = clientOf({ flushAt: 2, fetch: server.fetch });
    client.track({ deviceId: "d", event: "first" });
    await client.track({ externalId: 7, event: "second" }).wait(1000);
    expect(server.batches()).toMatchObject([[{ event: "first", anonymousId: "d" }, { event: "second", userId: "7" }]]);
  });

  test("track without a name or somebody throws", () => {
    expect(() => clientOf().track({ userId: "ada", event: " " })).toThrow("Event name is required");
    expect(() => clientOf().track({ event: "viewed" })).toThrow("At least one identifier");
  });

  test("clearQueue empties the queue, counted and told", () => {
    const failures: Failure[] = [];
    const client = clientOf({ onError: (failure) => failures.push(failure) });
    const handle = client.track({ userId: "ada", event: "viewed" });
    client.clearQueue();
    expect([client.getQueueSize(), handle.state, client.stats().dropped]).toEqual([0, "dropped", { cleared: 1 }]);
    expect(failures).toMatchObject([{ state: "dropped", reason: "cleared" }]);
  });

  test("destroy resolves when what was queued is acknowledged (analytics-next#1092); then calls throw, and it does nothing more", async () => {
    let answer = (): void => {};
    const server = scripted((asked) => new Promise((resolve) => (answer = () => resolve(stored(asked)))));
    const client = clientOf({ fetch: server.fetch });
    client.track({ userId: "ada", event: "viewed" });
    let isOver = false;
    const over = client.destroy().then((stats) => ((isOver = true), stats));
    await vi.waitUntil(() => server.asked.length === 1);
    expect(isOver).toBe(false);
    answer();
    expect((await over).sent).toBe(1);
    expect(() => client.track({ userId: "ada", event: "viewed" })).toThrow("TinyCDP client has been destroyed");
    await expect(client.decide({ userId: "ada", flag: "f" })).rejects.toThrow("TinyCDP client has been destroyed");
    expect((await client.destroy()).sent).toBe(1);
  });

  test("a time that is no number is over at once: nothing waits for ever", async () => {
    const server = scripted(() => new Promise(() => {}));
    const client = clientOf({ fetch: server.fetch });
    const handle = client.track({ userId: "ada", event: "viewed" });
    expect([(await client.flush(NaN)).queued, await handle.wait(NaN)]).toEqual([1, "sending"]);
    const decision = await client.decide({ userId: "ada", flag: "f", default: "red", timeout: NaN });
    expect([decision.value, decision.reason]).toEqual(["red", "ERROR"]);
    expect((await client.destroy(NaN)).queued).toBe(0);
  });

  test("a time that no timer has is a long one, and not none", async () => {
    const soon = <T>(answer: T): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(answer), 20));
    const server = scripted((asked) => soon(asked.url.includes("decide") ? { body: { flag: "f", value: "blue", reason: "SPLIT" } } : stored(asked)));
    const client = clientOf({ fetch: server.fetch, flushIntervalMs: 2 ** 32, timeout: 2 ** 32, decideTimeout: 2 ** 32 });
    client.track({ userId: "ada", event: "viewed" });
    expect(server.asked).toEqual([]);
    expect(await client.flush(2 ** 32)).toMatchObject({ queued: 0, sent: 1 });
    expect((await client.decide({ userId: "ada", flag: "f", default: "red", timeout: 2 ** 31 })).value).toBe("blue");
    expect(server.asked.length).toBe(2);
  });

  test("a callback that throws breaks nothing, and is logged: onError and a subscriber", async () => {
    const server = scripted((asked) => ({ body: { success: true, rejected: asked.body.batch[0].event ? [{ index: 0 }] : [] } }));
    const errors: string[] = [];
    const fail = (): never => {
      throw new RangeError("the app is wrong");
    };
    const client = clientOf({ fetch: server.fetch, onError: fail, logger: { ...SILENT, error: (text) => void errors.push(text) } });
    let calls = 0;
    client.subscribe(fail);
    client.subscribe(() => calls++);
    await client.identify({ userId: "ada" });
    await client.track({ userId: "ada", event: "viewed" }).wait(1000);
    expect([calls, client.stats().sent]).toEqual([1, 1]);
    expect(errors).toEqual(["a subscriber threw the app is wrong", "onError threw the app is wrong"]);
  });

  test("a callback that rejects ends no process, and is logged", async () => {
    const errors: string[] = [];
    const thrown = [new RangeError("later"), Symbol("no error"), Object.create(null), undefined];
    const onError = async (): Promise<never> => Promise.reject(thrown[errors.length]);
    const client = clientOf({ onError, logger: { ...SILENT, error: (text) => void errors.push(text) } });
    for (const number of thrown.keys()) {
      client.track({ userId: "ada", event: "viewed" });
      client.clearQueue();
      await vi.waitUntil(() => errors.length === number + 1);
    }
    expect(errors).toEqual(["onError threw later", "onError threw Symbol(no error)", "onError threw ", "onError threw "]);
  });

  const loggers: [says: string, logger: any][] = [
    ["throws", new Proxy({}, { get: () => () => { throw new Error("disk full"); } })],
    ["rejects", new Proxy({}, { get: () => async () => Promise.reject(new Error("disk full")) })],
    ["has no methods", {}],
    ["is null", null],
  ];

  test.each(loggers)("a logger that %s stops nothing: events are sent, decisions are answered", async (_, logger) => {
    let isUp = false;
    const server = scripted((asked) => (!isUp ? null : asked.url.includes("decide") ? { body: { flag: "f", value: "blue", reason: "SPLIT" } } : stored(asked)));
    const client = clientOf({ fetch: server.fetch, logger, retry: { initialDelay: 1, maxDelay: 1 } });
    client.subscribe(() => { throw new Error("and so does this"); });
    const identified = client.identify({ userId: "ada" });
    const lost = [1, 2, 3].map(() => client.decide({ userId: "ada", flag: "f", default: "red" }));
    expect((await Promise.all(lost)).map(({ value }) => value)).toEqual(["red", "red", "red"]);
    await vi.waitUntil(() => server.batches().length > 3); // so the client has had a word to say
    isUp = true;
    expect([await identified, client.stats().sent]).toEqual(["sent", 1]);
    const refused = client.track({ userId: "ada", event: "viewed", properties: { value: NaN } });
    const decision = await client.decide({ userId: "eve", flag: "f", default: "red" });
    expect([refused.state, decision.value]).toEqual(["refused", "blue"]);
  });

  test("identify tells how far it is: what the app or the person wanted resolves, what is lost rejects", async () => {
    const server = scripted(() => new Promise(() => {}));
    const client = clientOf({ fetch: server.fetch, timeout: 5, beforeSend: ({ userId }) => (userId === "hidden" ? null : undefined) });
    expect([await client.identify({ userId: "hidden" }), await client.identify({ userId: "ada" })]).toEqual(["dropped", "sending"]);
    const own = clientOf({ fetch: server.fetch, maxQueueSize: 1, flushIntervalMs: 60_000 });
    const lost = [own.identify({ userId: "ada" }), own.identify({ userId: "eve" })]; // the first is under way, and the queue is full
    await expect(lost[1]).rejects.toThrow("queue full");
    expect(await clientOf({ fetch: server.fetch, optOutByDefault: true }).identify({ userId: "ada" })).toBe("dropped");
  });

  test("an event does not put off the batch that is due: events that come one close after the other are sent", () => {
    const client = clientOf({ flushAt: 2, fetch: scripted(stored).fetch });
    client.track({ userId: "ada", event: "viewed" });
    client.track({ userId: "ada", event: "viewed" }); // the batch is full: it goes as soon as this turn ends
    const cleared = vi.spyOn(globalThis, "clearTimeout");
    for (let number = 0; number < 100; number++) client.track({ userId: "ada", event: "viewed" });
    expect(cleared).not.toHaveBeenCalled();
    cleared.mockRestore();
  });

  test("more events in one go than may wait: the newest are sent, the oldest are counted and told one by one", async () => {
    const server = scripted(stored);
    const failures: Failure[] = [];
    const client = clientOf({ fetch: server.fetch, flushIntervalMs: 3_600_000, onError: (failure) => failures.push(failure) });
    const handles = Array.from({ length: 1_200 }, () => client.track({ userId: "ada", event: "viewed" }));
    expect([client.getQueueSize(), client.stats().dropped]).toEqual([1_000, { "queue full": 200 }]);
    expect(failures.map(({ messageId }) => messageId)).toEqual(handles.slice(0, 200).map(({ messageId }) => messageId));
    await vi.waitUntil(() => client.stats().sent === 1_000); // a full batch does not wait for the hour
    expect(server.batches().flat().map(({ messageId }) => messageId)).toEqual(handles.slice(200).map(({ messageId }) => messageId));
  });

  test("without onError the log counts all that are lost together, and ten seconds later those that it had not told", () => {
    const warnings: string[] = [];
    const client = clientOf({ logger: { ...SILENT, warn: (text) => void warnings.push(text) } });
    const lose = (count: number): void => {
      for (let number = 0; number < count; number++) client.track({ userId: "ada", event: "viewed" });
      client.clearQueue();
    };
    const now = vi.spyOn(performance, "now").mockReturnValue(50_000);
    try {
      lose(3);
      lose(2);
      now.mockReturnValue(60_000);
      client.track({ userId: "ada", event: "viewed" });
    } finally {
      now.mockRestore();
    }
    expect(warnings).toEqual([3, 2].map((count) => `${count} events do not arrive: cleared (see onError)`));
  });

  test("flush waits for what is under way (analytics-node#309)", async () => {
    let answer = (): void => {};
    const server = scripted((asked) => new Promise((resolve) => (answer = () => resolve(stored(asked)))));
    const client = clientOf({ flushAt: 1, fetch: server.fetch });
    client.track({ userId: "ada", event: "viewed" });
    await vi.waitUntil(() => server.asked.length === 1);
    const flushed = client.flush();
    answer();
    expect(await flushed).toMatchObject({ queued: 0, sent: 1 });
  });

  test("what is sent again is the same list of events, not a list within a list (rudder-sdk-js#1917)", async () => {
    const server = scripted((asked) => (server.asked.length < 4 ? { status: [503, 429, 500][server.asked.length - 1]! } : stored(asked)));
    const client = clientOf({ fetch: server.fetch, retry: { initialDelay: 1 } });
    const handles = [1, 2, 3].map((number) => client.track({ userId: "ada", event: `event ${number}` }));
    await client.flush();
    const ids = handles.map((handle) => handle.messageId);
    expect(server.batches().map((batch) => batch.map((event) => event.messageId))).toEqual([ids, ids, ids, ids]);
    expect(server.asked.map(({ body }) => Object.keys(body).sort())).toEqual(server.asked.map(() => ["batch", "sentAt"]));
  });

  test("an answer that does not end is given up after 16 MB, and is nobody's acknowledgement", async () => {
    let pieces = 0;
    const pull = (stream: ReadableStreamDefaultController): void => stream.enqueue(new Uint8Array(2 ** 20).fill(++pieces && 32));
    const signals: (AbortSignal | null | undefined)[] = [];
    const fetcher = async (_: unknown, { signal }: RequestInit = {}): Promise<Response> =>
      new Response(signals.push(signal) === 1 ? new ReadableStream({ pull }) : '{"success": true}');
    const client = clientOf({ fetch: fetcher as typeof fetch, retry: { initialDelay: 1 } });
    client.track({ userId: "ada", event: "viewed" });
    expect((await client.flush()).sent).toBe(1);
    expect([signals.length, signals[0]?.aborted]).toEqual([2, true]);
    expect(pieces).toBeLessThan(20);
  });

  test("Node says who asks, with the package's version", async () => {
    const server = scripted(stored);
    const client = clientOf({ fetch: server.fetch });
    client.track({ userId: "ada", event: "viewed" });
    await client.flush();
    expect(server.asked[0]?.headers["User-Agent"]).toBe(`tinycdp-typescript/${version}`);
  });

  test("what the server rejects is told by name, and costs no other", async () => {
    const rejected = [{ index: 1, code: "invalid_argument", message: "name it" }];
    const server = scripted(() => ({ body: { success: true, rejected } }));
    const failures: Failure[] = [];
    const client = clientOf({ fetch: server.fetch, onError: (failure) => failures.push(failure) });
    const [good, bad] = ["good", "bad"].map((event) => client.track({ userId: "ada", event }));
    await client.flush();
    expect([good?.state, bad?.state, client.stats().refused]).toEqual(["sent", "refused", { invalid_argument: 1 }]);
    expect(failures).toMatchObject([{ state: "refused", reason: "name it", messageId: bad?.messageId }]);
  });

  test("what is no JSON is refused at once, and told", () => {
    const failures: Failure[] = [];
    const client = clientOf({ onError: (failure) => failures.push(failure) });
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    for (const value of [NaN, Infinity, 1n, () => 1, Symbol("s"), circular, new Date(NaN), "\ud800"]) {
      const handle = client.track({ userId: "ada", event: "viewed", properties: { value } });
      expect([handle.state, client.getQueueSize()], String(failures.length)).toEqual(value instanceof Date ? ["queued", 1] : ["refused", 0]);
      client.clearQueue();
    }
    expect(client.track({ userId: "ada", event: "viewed", timestamp: new Date(NaN) }).state).toBe("refused");
    expect(failures.some((failure) => failure.reason.includes("NaN is no JSON value"))).toBe(true);
  });

  test("a text that only looks like half of a surrogate pair is sent", () => {
    const client = clientOf();
    expect(client.track({ userId: "ada", event: "viewed", properties: { path: "c:\\ud800", fox: "🦊" } }).state).toBe("queued");
  });

  test("sets, maps and dates are written as JSON, and later changes of the app's objects do not reach the queue", async () => {
    const server = scripted(stored);
    const client = clientOf({ fetch: server.fetch });
    const properties: Record<string, unknown> = { tags: new Set(["a"]), sizes: new Map([["s", 1]]), on: new Date(0) };
    client.track({ userId: "ada", event: "viewed", properties });
    properties["tags"] = "changed";
    await client.flush();
    expect(server.batches()[0]?.[0].properties).toEqual({ tags: ["a"], sizes: { s: 1 }, on: "1970-01-01T00:00:00.000Z" });
  });

  test("beforeSend changes a copy, drops by null, and what it throws costs its event alone", async () => {
    const server = scripted(stored);
    const properties = { card: "4111", amount: 1 };
    const client = clientOf({
      fetch: server.fetch,
      beforeSend: (event) => {
        if (event.event === "hidden") return null;
        if (event.event === "broken") throw new TypeError("mistake");
        delete event.properties?.["card"];
        return event;
      },
    });
    const states = ["paid", "hidden", "broken"].map((event) => client.track({ userId: "ada", event, properties }).state);
    await client.flush();
    expect(states).toEqual(["queued", "dropped", "refused"]);
    expect(server.batches()).toMatchObject([[{ properties: { amount: 1 } }]]);
    expect(properties).toEqual({ card: "4111", amount: 1 });
  });

  test("a full queue drops the oldest, counted and told", () => {
    const failures: Failure[] = [];
    const client = clientOf({ maxQueueSize: 2, flushAt: 10, onError: (failure) => failures.push(failure) });
    const handles = [1, 2, 3].map((number) => client.track({ userId: "ada", event: `event ${number}` }));
    expect(handles.map((handle) => handle.state)).toEqual(["dropped", "queued", "queued"]);
    expect([client.getQueueSize(), client.stats().dropped]).toEqual([2, { "queue full": 1 }]);
    expect(failures.map((failure) => failure.messageId)).toEqual([handles[0]?.messageId]);
  });

  test("a wrong key holds the events, and the log has one warning without it", async () => {
    const server = scripted(() => ({ status: server.asked.length < 3 ? 401 : 200, body: server.asked.length < 3 ? {} : { success: true } }));
    const warnings: string[] = [];
    const client = clientOf({ fetch: server.fetch, retry: { initialDelay: 1 }, logger: { ...SILENT, warn: (text) => warnings.push(text) } });
    client.track({ userId: "ada", event: "viewed" });
    expect((await client.flush()).sent).toBe(1);
    expect(warnings).toEqual(["events wait: HTTP 401"]);
  });

  test("no key stands in the log of a client that says all", async () => {
    const said: string[] = [];
    const spy = vi.spyOn(console, "debug").mockImplementation((text) => void said.push(text));
    const client = clientOf({ debug: true, logger: undefined, fetch: scripted(stored).fetch });
    client.track({ userId: "ada", event: "viewed" });
    await client.flush();
    spy.mockRestore();
    expect(said.length).toBeGreaterThan(0);
    expect(said.join()).not.toMatch(/wk|rk/);
  });

  test("a redirect is not followed, and holds the events", async () => {
    const server = scripted(() => ({ status: 302 }));
    const client = clientOf({ fetch: server.fetch });
    client.track({ userId: "ada", event: "viewed" });
    expect((await client.flush(50)).queued).toBe(1);
    expect(server.asked[0]?.redirect).toBe("manual");
  });
});

describe("decisions", () => {
  const yes = { flag: "f", userId: "ada", allow: true, value: "blue", variant: "blue", reason: "SPLIT", reasons: ["final_result = true"] };

  test("decide asks with the read key in the header and gives the answer", async () => {
    const server = scripted(() => ({ body: yes }));
    const decision = await clientOf({ fetch: server.fetch }).decide({ userId: "ada", flag: "f" });
    expect(decision).toMatchObject(yes);
    expect(server.asked).toMatchObject([{ method: "GET", url: "http://cdp.test/v1/decide?userId=ada&flag=f" }]);
    expect(server.asked[0]?.headers).toMatchObject({ Authorization: "Bearer rk" });
  });

  test("without key, user or flag decide rejects", async () => {
    await expect(clientOf({ readKey: undefined }).decide({ userId: "ada", flag: "f" })).rejects.toThrow("Read key is required");
    await expect(clientOf().decide({ userId: "", flag: "f" })).rejects.toThrow("User ID is required and cannot be empty");
    await expect(clientOf().decide({ userId: "ada", flag: "" })).rejects.toThrow("Flag key is required and cannot be empty");
  });

  test("with a default it never throws: no key, no user, no flag, no server", async () => {
    const server = scripted((asked) => (asked.url.includes("unknown") ? { status: 404, body: { message: "not found", details: { field: "flag" } } } : null));
    const client = clientOf({ fetch: server.fetch });
    const keyless = clientOf({ readKey: undefined });
    const answers = await Promise.all([
      keyless.decide({ userId: "ada", flag: "f", default: "red" }),
      client.decide({ flag: "f", default: "red" }),
      client.decide({ userId: "ada", flag: "", default: "red" }),
      client.decide({ userId: "ada", flag: "f", default: "red" }),
      client.decide({ userId: "ada", flag: "unknown", default: "red" }),
    ]);
    expect(answers.map((answer) => [answer.value, answer.reason])).toEqual(answers.map(() => ["red", "ERROR"]));
    expect(answers.map((answer) => answer.errorCode)).toEqual(["GENERAL", "GENERAL", "GENERAL", "GENERAL", "FLAG_NOT_FOUND"]);
    expect(await keyless.decideAll({ userId: "ada" })).toEqual({});
  });

  test("a refusal without a default rejects with the status", async () => {
    const server = scripted(() => ({ status: 404, body: { message: "Flag 'f' not found" } }));
    const client = clientOf({ endpoint: "http://cdp.test/v1/", fetch: server.fetch });
    await expect(client.decide({ userId: "ada", flag: "f" })).rejects.toThrow("HTTP 404 Flag 'f' not found");
    expect(server.asked[0]?.url).toMatch(/^http:..cdp.test.v1.decide/);
    expect((await client.decide({ userId: "ada", flag: "f", default: 1 })).errorCode).toBe("GENERAL"); // a proxy's, without details
  });

  test("no answer in time is the default", async () => {
    const server = scripted(() => new Promise(() => {}));
    const decision = await clientOf({ fetch: server.fetch }).decide({ userId: "ada", flag: "f", default: 1, timeout: 5 });
    expect([decision.value, decision.reason]).toEqual([1, "ERROR"]);
    expect(decision.error).toMatch(/^Request timeout after \d+ms$/);
  });

  test("decideAll has every flag by its key, with one request", async () => {
    const server = scripted(() => ({ body: { userId: "ada", decisions: [yes, { ...yes, flag: "g" }] } }));
    const all = await clientOf({ fetch: server.fetch }).decideAll({ userId: "ada" });
    expect(Object.keys(all)).toEqual(["f", "g"]);
    expect(server.asked).toMatchObject([{ method: "POST", url: "http://cdp.test/v1/decide", body: { userId: "ada" } }]);
  });

  test("after: the event is sent ahead of the others, and one that is not acknowledged gives the default", async () => {
    let isUp = true;
    const server = scripted((asked) => (asked.url.includes("decide") ? { body: yes } : isUp ? stored(asked) : { status: 503 }));
    const client = clientOf({ fetch: server.fetch, flushAt: 2, flushIntervalMs: 60_000 });
    client.track({ userId: "eve", event: "other" });
    const order = client.track({ userId: "ada", event: "ordered" });
    const seen = await client.decide({ userId: "ada", flag: "f", after: order });
    expect([order.state, seen.value, seen.afterMet]).toEqual(["sent", "blue", true]);

    isUp = false;
    const late = client.track({ userId: "ada", event: "ordered" });
    const unseen = await client.decide({ userId: "ada", flag: "f", default: "red", after: late, timeout: 20 });
    expect([unseen.value, unseen.afterMet]).toEqual(["red", false]);
  });

  test("after: what is queued of whom it is about goes ahead of all others", async () => {
    const server = scripted((asked) => (asked.url.includes("decide") ? { body: yes } : stored(asked)));
    const client = clientOf({ fetch: server.fetch, flushAt: 2, flushIntervalMs: 60_000 });
    for (let number = 0; number < 5; number++) client.track({ userId: "eve", event: "other" });
    await client.decide({ userId: "ada", flag: "f", after: client.track({ userId: "ada", event: "ordered" }) });
    expect(server.batches()[0]?.map(({ userId }) => userId)).toEqual(["ada", "eve"]);
  });

  test("after: an event of another id goes ahead too, and no answer from before it is given", async () => {
    let value = "before";
    const headers = { "Cache-Control": "max-age=60", ETag: '"1"' };
    const server = scripted((asked) => {
      if (asked.url.includes("decide")) return { body: { ...yes, value }, headers };
      value = "after";
      return stored(asked);
    });
    const client = clientOf({ fetch: server.fetch, flushAt: 2, flushIntervalMs: 60_000 });
    expect((await client.decide({ userId: "ada", flag: "f" })).value).toBe("before");
    for (let number = 0; number < 5; number++) client.track({ userId: "bob", event: "other" });
    const linked = client.track({ userId: "eve", event: "linked" });
    expect((await client.decide({ userId: "ada", flag: "f", after: linked })).value).toBe("after");
    expect(server.batches()[0]?.map(({ userId }) => userId)).toEqual(["eve", "bob"]);
  });

  test.each([201, 206, 400, 500])("a body that looks like a decision is none with status %s", async (status) => {
    const client = clientOf({ fetch: scripted(() => ({ status, body: yes })).fetch });
    expect(await client.decide({ userId: "ada", flag: "f", default: "red" })).toMatchObject({ value: "red", reason: "ERROR" });
  });

  test("what the server says of its own error is told, though the value has another type too", async () => {
    const said = { ...yes, value: false, reason: "ERROR", reasons: ["evaluation_error: too deep"] };
    const decision = await clientOf({ fetch: scripted(() => ({ body: said })).fetch }).decide({ userId: "ada", flag: "f", default: "red" });
    expect(decision).toMatchObject({ value: "red", reason: "ERROR", error: "evaluation_error: too deep", errorCode: "GENERAL" });
  });

  test("in Node a change stream is none: each call asks", async () => {
    const server = scripted(() => ({ body: yes }));
    const client = clientOf({ fetch: server.fetch, stream: changeStream });
    for (let number = 0; number < 2; number++) await client.decide({ userId: "ada", flag: "f" });
    await client.destroy();
    expect(server.asked.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("two calls that ask the same at once share a request; another flag, another time or an event between ask anew", async () => {
    let answer = (): void => {};
    const held = new Promise<void>((resolve) => (answer = resolve));
    const server = scripted((asked) => (asked.url.includes("decide") ? held.then(() => ({ body: yes })) : stored(asked)));
    const client = clientOf({ fetch: server.fetch });
    const asked = (): number => server.asked.filter(({ url }) => url.includes("decide")).length;
    const same = [1, 2, 3].map(() => client.decide({ userId: "ada", flag: "f" }));
    const others = [{ flag: "g" }, { flag: "f", timeout: 2_000 }, { flag: "f", userId: "eve" }].map((params) => client.decide({ userId: "ada", ...params }));
    await vi.waitUntil(() => asked() === 4);
    client.track({ userId: "ada", event: "viewed" });
    const later = client.decide({ userId: "ada", flag: "f" });
    await vi.waitUntil(() => asked() === 5);
    answer();
    const decisions = await Promise.all([...same, ...others, later]);
    expect(decisions.map(({ value }) => value)).toEqual(decisions.map(() => "blue"));
    expect(asked()).toBe(5);
  });

  test("a request that is under way is shared by who may wait as long, and it lasts for half of their time at least", () => {
    const asking = askingOf();
    const asked = (nowMs: number, deadlineMs: number) => asking.begin({ userId: "ada", flag: "f" }, nowMs, deadlineMs);
    const first = asked(0, 3_000);
    expect([asked(0, 3_000) === first, asked(1_000, 4_000) === first, asked(1_500, 4_500) === first]).toEqual([true, true, true]);
    expect([asked(1_501, 4_502) === first, asked(1_000, 2_000) === first, asked(0, 6_001) === first]).toEqual([false, false, false]);
  });

  test("a value of another type than the default is the default, and what the flag allows is told as it is", async () => {
    const server = scripted(() => ({ body: { ...yes, value: false, variant: null } }));
    const decision = await clientOf({ fetch: server.fetch }).decide({ userId: "ada", flag: "f", default: { cents: 900 } });
    expect(decision).toMatchObject({ value: { cents: 900 }, allow: true, reason: "ERROR", errorCode: "TYPE_MISMATCH" });
    expect(decision.error).toBe("the value is boolean, not object");
  });

  test("those who share a request that fails are all told, and it counts as one failure", async () => {
    const server = scripted(() => null);
    const client = clientOf({ fetch: server.fetch });
    for (let round = 1; round <= 3; round++) {
      const decisions = await Promise.all([1, 2, 3].map(() => client.decide({ userId: "ada", flag: "f", default: "red" })));
      expect(decisions.map(({ value, reason }) => [value, reason])).toEqual(decisions.map(() => ["red", "ERROR"]));
      expect(server.asked.length).toBe(round);
    }
  });

  test("an event of a user drops that user's kept answers", async () => {
    const cacheControl = "private, max-age=60";
    const server = scripted((asked) => (asked.url.includes("decide") ? { body: yes, headers: { "Cache-Control": cacheControl } } : stored(asked)));
    const client = clientOf({ fetch: server.fetch });
    const asked = (): number => server.asked.filter(({ url }) => url.includes("decide")).length;
    await client.decide({ userId: "ada", flag: "f" });
    await client.decide({ userId: "ada", flag: "f" });
    expect(asked()).toBe(1);
    client.track({ userId: "ada", event: "viewed" });
    await client.decide({ userId: "ada", flag: "f" });
    expect(asked()).toBe(2);
  });
});

test("no value of an app throws, but where nobody is named: events are queued or refused, decisions are the default", async () => {
  const fail = (): never => {
    throw new RangeError("hostile");
  };
  let deep: unknown[] = [];
  for (let depth = 0; depth < 20_000; depth++) deep = [deep];
  const hostile: any[] = [{ toString: fail, toJSON: fail }, Object.defineProperty({}, "a", { get: fail, enumerable: true }), deep, Symbol("s"), 1n, null, [1]];
  hostile.push(new Proxy({}, { ownKeys: fail }), new Date(NaN));
  const client: any = clientOf({ endpoint: "http://127.0.0.1:9", fetch: scripted(() => null).fetch, onError: fail });
  for (const value of hostile) {
    const own = { userId: "ada", event: "viewed" };
    const given = [{ properties: { value } }, { properties: value }, { messageId: value }, { timestamp: value }, { context: value }, { anonymousId: value }];
    for (const params of given) {
      const handle = client.track({ ...own, ...params });
      expect(["queued", "refused"]).toContain(handle.state);
      expect(handle.messageId).toBeTypeOf("string");
    }
    const asked = [{ userId: value }, { userId: "ada", flag: value }, { userId: "ada", timeout: value }];
    for (const params of asked) expect((await client.decide({ flag: "f", default: 1, ...params })).value).toBe(1);
    expect(await client.decideAll({ userId: value })).toEqual({});
  }
}, 60_000);

test("a logger says what is of its level or above, with its prefix", () => {
  const said: string[] = [];
  const spies = (["debug", "info", "warn", "error"] as const).map((level) => vi.spyOn(console, level).mockImplementation((text) => void said.push(text)));
  const logger = createLogger("warn", "[shop]");
  for (const level of ["debug", "info", "warn", "error"] as const) logger[level](level);
  spies.forEach((spy) => spy.mockRestore());
  expect(said).toEqual(["[shop] warn", "[shop] error"]);
});
