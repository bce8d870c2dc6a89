// @vitest-environment happy-dom
/** What a browser adds: who uses it, consent, and what outlives a page. Real tabs and real unloads: `tests/sdk`. */

import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Failure, TinyCDPClient, TinyCDPOptions } from "../src/index";
import { locksOf } from "./platform";
import { scripted, stored } from "./scripted";
import { clientOf as silent } from "./silent";

const clientOf = (options: Partial<TinyCDPOptions> = {}): TinyCDPClient =>
  silent({ fetch: scripted(stored).fetch, ...options });

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  vi.useRealTimers();
});

describe("who uses the browser", () => {
  test("an event that names nobody is of the browser's person, and the anonymous id stays", async () => {
    const server = scripted(stored);
    const client = clientOf({ fetch: server.fetch });
    client.track({ event: "viewed" });
    await client.identify({ userId: "ada" });
    client.track({ event: "bought" });
    await client.flush();

    const [viewed, identified, bought] = server.batches().flat();
    const { anonymousId } = viewed;
    expect(anonymousId).toMatch(/^[0-9a-f]{1,12}(-[0-9a-f]{1,12}){3,4}$/);
    expect(viewed.userId).toBe(undefined);
    expect([identified, bought]).toMatchObject([{ userId: "ada", anonymousId }, { userId: "ada", anonymousId }]);
    expect([clientOf().getUserId(), clientOf().getAnonymousId()]).toEqual(["ada", anonymousId]);
  });

  test("a page without TLS, for which the browser makes no UUIDs, has ids as well", () => {
    vi.stubGlobal("crypto", { getRandomValues: crypto.getRandomValues.bind(crypto) });
    const ids = new Set(Array.from({ length: 100 }, () => clientOf().track({ event: "viewed" }).messageId));
    expect(ids.size).toBe(100);
    expect([...ids].every((id) => id.length > 20 && id.length < 100)).toBe(true);
  });

  test("another user's identify, and reset, begin with another anonymous id: nobody gets the device of the one before", async () => {
    const client = clientOf();
    await client.identify({ userId: "ada" });
    const first = client.getAnonymousId();
    await client.identify({ userId: "eve" });
    const second = client.getAnonymousId();
    client.reset();
    expect(new Set([first, second, client.getAnonymousId()]).size).toBe(3);
    expect(client.getUserId()).toBe(undefined);
  });

  test("an answer for an identity that was left is dropped (react-client-sdk#220)", async () => {
    let answer = (): void => {};
    const yes = { flag: "f", userId: "ada", allow: true, value: true, reason: "STATIC", reasons: [] };
    const headers = { "Cache-Control": "max-age=60" };
    const server = scripted((asked) => {
      return asked.url.includes("decide") ? new Promise((resolve) => (answer = () => resolve({ body: yes, headers }))) : stored(asked);
    });
    const client = clientOf({ fetch: server.fetch });
    await client.identify({ userId: "ada" });
    const decided = client.decide({ flag: "f", default: false });
    await vi.waitUntil(() => server.asked.some(({ url }) => url.includes("decide")));
    await client.identify({ userId: "eve" });
    answer();
    expect(await decided).toMatchObject({ value: false, reason: "ERROR", error: "the identity was left meanwhile" });

    const before = server.asked.length;
    void client.decide({ userId: "ada", flag: "f", default: false }); // and it was not kept either
    await vi.waitUntil(() => server.asked.length > before);
  });

  test("without a write key identify rejects, and decisions are about that user all the same", async () => {
    const server = scripted(() => ({ body: { flag: "f", userId: "ada", allow: true, value: true, reason: "STATIC" } }));
    const client = clientOf({ fetch: server.fetch, writeKey: undefined });
    await expect(client.identify({ userId: "ada" })).rejects.toThrow("Write key is required for identify calls");
    await client.decide({ flag: "f" });
    expect([client.getUserId(), server.asked[0]?.url]).toEqual(["ada", expect.stringContaining("userId=ada&")]);
  });

  test("listeners are told when the identity changes", async () => {
    const client = clientOf();
    const told: (string | undefined)[] = [];
    const stop = client.subscribe(() => told.push(client.getUserId()));
    await client.identify({ userId: "ada" });
    client.reset();
    stop();
    await client.identify({ userId: "eve" });
    expect([...new Set(told)]).toEqual(["ada", undefined]);
  });
});

test("autoStart false touches nothing before the first call, or start", () => {
  let reads = 0;
  vi.stubGlobal("localStorage", { getItem: () => (reads++, null), setItem() {}, removeItem() {} });
  for (const begin of [(client: TinyCDPClient) => client.start(), (client: TinyCDPClient) => void client.track({ event: "viewed" })]) {
    reads = 0;
    const client = clientOf({ autoStart: false });
    expect([reads, client.getUserId(), client.getAnonymousId()]).toEqual([0, undefined, undefined]);
    begin(client);
    expect([reads > 0, client.getAnonymousId()]).toEqual([true, expect.any(String)]);
  }
});

describe("the context", () => {
  test("has page, campaign, language and a session that ends after half an hour without an event", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2026, 0, 1) });
    const server = scripted(stored);
    history.replaceState(null, "", "/cart?utm_source=news&utm_campaign=spring&x=1");
    document.title = "Cart";
    const client = clientOf({ fetch: server.fetch, context: { app: "shop" } });
    for (const minutes of [0, 29, 31]) {
      vi.setSystemTime(Date.now() + minutes * 60_000);
      client.track({ event: "viewed" });
    }
    client.track({ event: "viewed", context: { own: true } });
    await client.flush();

    const [first, second, third, own] = server.batches().flat().map(({ context }) => context);
    expect(first).toMatchObject({
      app: "shop",
      page: { path: "/cart", title: "Cart", search: "?utm_source=news&utm_campaign=spring&x=1" },
      campaign: { source: "news", name: "spring" },
      locale: navigator.language,
      timezone: expect.any(String),
    });
    expect([second.sessionId === first.sessionId, third.sessionId === first.sessionId, own]).toEqual([true, false, { own: true }]);
  });
});

describe("consent", () => {
  test("optOut drops the queue and the ids, and lets nothing in until optIn", async () => {
    const server = scripted(stored);
    const client = clientOf({ fetch: server.fetch });
    client.track({ event: "viewed" });
    client.optOut();
    expect(client.track({ event: "viewed" }).state).toBe("dropped");
    expect([client.getQueueSize(), client.stats().dropped, Object.keys(localStorage)]).toEqual([0, { "opted out": 2 }, ["tinycdp.consent"]]);
    expect(clientOf().isOptedOut()).toBe(true);

    client.optIn();
    client.track({ event: "viewed" });
    await client.flush();
    expect(server.batches().flat().length).toBe(1);
  });

  test("optOut holds in a storage that is full, also where the person had opted in", () => {
    const kept = new Map<string, string>();
    const lettersOf = (names: string[]): number => names.map((name) => name + kept.get(name)).join("").length;
    let lettersMax = Infinity;
    vi.stubGlobal("localStorage", {
      getItem: (name: string) => kept.get(name) ?? null,
      removeItem: (name: string) => void kept.delete(name),
      setItem: (name: string, value: string) => {
        const others = [...kept.keys()].filter((one) => one !== name);
        if (lettersOf(others) + name.length + value.length > lettersMax) throw new DOMException("full", "QuotaExceededError");
        kept.set(name, value);
      },
    });
    const client = clientOf();
    client.optIn();
    client.track({ event: "viewed" });
    lettersMax = lettersOf([...kept.keys()]);
    client.optOut();
    expect([client.isOptedOut(), client.track({ event: "viewed" }).state, [...kept]]).toEqual([true, "dropped", [["tinycdp.consent", "out"]]]);
  });

  test("optOut drops what closed tabs left, too", () => {
    const client = clientOf();
    sessionStorage.setItem("tinycdp.queue.http://cdp.test gone.1000000000", "[]");
    client.optOut();
    expect(Object.keys(sessionStorage)).toEqual([]);
  });

  test("with optOutByDefault nobody is counted before optIn", () => {
    const client = clientOf({ optOutByDefault: true });
    expect([client.track({ event: "viewed" }).state, Object.keys(localStorage)]).toEqual(["dropped", []]);
    client.optIn();
    expect(client.track({ event: "viewed" }).state).toBe("queued");
  });
});

describe("a page that is left", () => {
  test("is heard of at the window, where alone browsers tell it (analytics-next#714)", () => {
    const sendBeacon = vi.fn(() => true);
    navigator.sendBeacon = sendBeacon;
    clientOf().track({ event: "viewed" });
    window.dispatchEvent(new Event("pagehide")); // it neither bubbles nor passes the document
    expect(sendBeacon).toHaveBeenCalledTimes(1);
  });

  test("hands over beacons of at most 60 KiB with the key in the body, and no more after the browser refused one (posthog-js#4140)", () => {
    const beacons: string[] = [];
    const urls = new Set<string>();
    const taken = [true, false];
    navigator.sendBeacon = (url, body) => (urls.add(String(url)), beacons.push(String(body)), taken.shift() ?? false);
    const client = clientOf({ flushAt: 100 });
    for (let number = 0; number < 12; number++) client.track({ event: "viewed", properties: { text: "x".repeat(15_000) } });
    window.dispatchEvent(new Event("pagehide"));

    expect(beacons.map((body) => JSON.parse(body).batch.length)).toEqual([3, 3]);
    expect([...urls]).toEqual(["http://cdp.test/v1/batch"]);
    expect(beacons.every((body) => body.length <= 60 * 1024 && JSON.parse(body).writeKey === "wk")).toBe(true);
    expect(client.getQueueSize()).toBe(12);
  });

  test("hands over nothing while offline: nobody would send it, and it would count as sent perhaps", async () => {
    const sendBeacon = vi.fn(() => true);
    navigator.sendBeacon = sendBeacon;
    const online = vi.spyOn(navigator, "onLine", "get").mockReturnValue(false);
    const server = scripted(stored);
    const client = clientOf({ fetch: server.fetch, flushAt: 1 });
    client.track({ event: "viewed" });
    window.dispatchEvent(new Event("pagehide"));
    expect((await client.flush(20)).queued).toBe(1);
    expect([sendBeacon.mock.calls.length, server.asked.length]).toEqual([0, 0]);

    online.mockRestore();
    window.dispatchEvent(new Event("online"));
    await vi.waitUntil(() => client.stats().sent === 1);
  });

  test("what a hidden page sends outlives it, unless it is more than browsers take: 64 KiB, and not letters", async () => {
    const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(false);
    const server = scripted((asked) => {
      if (server.asked.length > 1) return stored(asked);
      hidden.mockReturnValue(true); // while the first attempt is under way
      return null;
    });
    const client = clientOf({ fetch: server.fetch, retry: { initialDelay: 1 } });
    for (let number = 0; number < 20; number++) client.track({ event: "viewed", properties: { text: "я".repeat(1_700) } });
    await vi.waitUntil(() => client.stats().sent === 20);
    client.track({ event: "left" });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true })); // so it does not wait for a batch
    await vi.waitUntil(() => client.stats().sent === 21);
    hidden.mockRestore();

    expect(server.asked.map(({ keepalive }) => keepalive)).toEqual([false, false, true]);
  });

  test("autoFlushOnUnload false hands over nothing", () => {
    const sendBeacon = vi.fn(() => true);
    navigator.sendBeacon = sendBeacon;
    const client = clientOf({ autoFlushOnUnload: false });
    client.track({ event: "viewed" });
    window.dispatchEvent(new Event("pagehide"));
    expect(sendBeacon).not.toHaveBeenCalled();
  });

  test("what waits to be sent again is taken over by the next page, once, with the same ids (posthog-js#1583)", async () => {
    const away = scripted(() => null);
    const first = clientOf({ fetch: away.fetch, flushAt: 1, autoFlushOnUnload: false });
    const { messageId } = first.track({ event: "viewed" });
    await vi.waitUntil(() => away.asked.length > 0);
    window.dispatchEvent(new Event("pagehide"));
    const server = scripted(stored);
    const second = clientOf({ fetch: server.fetch });
    await second.flush();

    expect(server.batches().flat().map((event) => event.messageId)).toEqual([messageId]);
    expect(Object.keys(sessionStorage)).toEqual([]);
  });

  test("what waits is not taken over by a page without a write key, which could not send it", async () => {
    const first = clientOf({ fetch: scripted(() => null).fetch, autoFlushOnUnload: false });
    const { messageId } = first.track({ event: "viewed" });
    window.dispatchEvent(new Event("pagehide"));
    const asked = scripted(stored);
    const keyless = clientOf({ fetch: asked.fetch, writeKey: undefined });
    expect([(await keyless.flush(20)).queued, asked.asked.length]).toEqual([0, 0]);

    const server = scripted(stored);
    await clientOf({ fetch: server.fetch }).flush();
    expect(server.batches().flat().map((event) => event.messageId)).toEqual([messageId]);
  });

  test("a page that is left while it looks for what closed tabs left takes nothing over: the next one does", async () => {
    const locks = locksOf();
    Object.defineProperty(navigator, "locks", { value: locks, configurable: true });
    try {
      const record = JSON.stringify([JSON.stringify({ type: "track", event: "viewed", messageId: "left-1", userId: "ada" }), {}]);
      localStorage.setItem("tinycdp.queue.http://cdp.test gone.1000000000", record);
      const { request } = locks;
      let isLookedFor = false;
      let give = (): void => {};
      locks.request = async (name, ...rest) => {
        if (name === "gone") await new Promise<void>((resolve) => ((isLookedFor = true), (give = resolve)));
        return request(name, ...rest);
      };
      const first = clientOf({ autoFlushOnUnload: false, fetch: scripted(() => null).fetch });
      await vi.waitUntil(() => isLookedFor);
      window.dispatchEvent(new Event("pagehide")); // the browser gives the lock after that
      give();
      await vi.waitUntil(() => !locks.held.has("gone"));
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      expect([first.getQueueSize(), localStorage.getItem("tinycdp.queue.http://cdp.test gone.1000000000")]).toEqual([0, record]);

      locks.request = request;
      const server = scripted(stored);
      const second = clientOf({ fetch: server.fetch });
      await vi.waitUntil(() => second.getQueueSize() === 1);
      await second.flush();
      expect(server.batches().flat().map(({ messageId }) => messageId)).toEqual(["left-1"]);
    } finally {
      Reflect.deleteProperty(navigator, "locks");
    }
  });

  test("an event that another page took over is unknown here, and lost nowhere", async () => {
    const failures: Failure[] = [];
    const away = scripted(() => null);
    const first = clientOf({ fetch: away.fetch, autoFlushOnUnload: false, onError: (failure) => failures.push(failure) });
    const handle = first.track({ event: "viewed" });
    window.dispatchEvent(new Event("pagehide"));
    const server = scripted(stored);
    await clientOf({ fetch: server.fetch }).flush();
    window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));

    expect([await handle.wait(), handle.reason, first.stats()]).toEqual(["unknown", "another page sends it", expect.objectContaining({ queued: 0, unknown: { "another page sends it": 1 } })]);
    expect(failures).toEqual([]);
    expect(server.batches().flat().map(({ messageId }) => messageId)).toEqual([handle.messageId]);
  });

  test("after destroy every handle and promise is settled: what the browser keeps is unknown here, and the next page sends it", async () => {
    const failures: Failure[] = [];
    const away = scripted(() => new Promise(() => {}));
    const first = clientOf({ fetch: away.fetch, onError: (failure) => failures.push(failure) });
    const identified = first.identify({ userId: "ada" });
    await vi.waitUntil(() => away.asked.length === 1); // it is under way
    const viewed = first.track({ event: "viewed" });
    const waits = viewed.wait();
    expect(await first.destroy(1)).toMatchObject({ queued: 0, dropped: {}, unknown: { "another page sends it": 2 } });
    expect([await waits, await viewed.wait(), viewed.reason, await identified]).toEqual(["unknown", "unknown", "another page sends it", "unknown"]);
    expect(failures).toEqual([]);

    const server = scripted(stored);
    await clientOf({ fetch: server.fetch }).flush();
    expect(server.batches().flat().map(({ type }) => type)).toEqual(["identify", "track"]);
  });

  test("what the browser does not keep is dropped with the client, and told", async () => {
    const full = (): never => {
      throw new DOMException("full", "QuotaExceededError");
    };
    for (const store of ["localStorage", "sessionStorage"]) vi.stubGlobal(store, { getItem: () => null, setItem: full, removeItem() {} });
    const failures: Failure[] = [];
    const client = clientOf({ fetch: scripted(() => null).fetch, onError: (failure) => failures.push(failure) });
    const handle = client.track({ event: "viewed" });
    expect((await client.destroy(1)).queued).toBe(0);
    expect([await handle.wait(), handle.reason, failures.length]).toEqual([expect.stringMatching("dropped|unknown"), "closed", 1]);
  });

  test("without persistence nothing is stored", async () => {
    const client = clientOf({ persistence: false });
    client.track({ event: "viewed" });
    expect([Object.keys(localStorage), Object.keys(sessionStorage)]).toEqual([[], []]);
  });
});
