// @vitest-environment happy-dom
/** The change stream of one page, where the test is the server and the browser. Real streams and tabs: `tests/sdk`. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { changeStream } from "../src/stream";
import { Channel, locksOf, Source } from "./platform";
import type { Answer, Asked } from "./scripted";
import { scripted, stored } from "./scripted";
import { clientOf } from "./silent";

let value: string;
let asked: Asked[];
/** Answers that are held back until they are let go. */
let held: (() => void)[] | undefined;

const tag = (): string => `"${value}"`;
const isAll = ({ body }: Asked): boolean => body?.stream === true;

/** A server with one flag, whose value is `value`. It answers by the time at which it lets go. */
async function answer(request: Asked): Promise<Answer> {
  if (request.url.endsWith("/v1/batch")) return stored(request);
  asked.push(request);
  const decision = { flag: "f", value, allow: true, reason: "SPLIT" };
  if (!isAll(request)) return { body: decision };
  if (held) await new Promise<void>((resolve) => held!.push(resolve));
  if (request.headers["If-None-Match"] === tag()) return { status: 304 };
  return { body: { decisions: [{ ...decision, value }], stream: "/v1/stream/ticket" }, headers: { ETag: tag() } };
}

beforeEach(() => {
  localStorage.clear();
  [value, asked, held, Source.opened] = ["old", [], undefined, []];
  vi.stubGlobal("EventSource", Source);
  vi.stubGlobal("BroadcastChannel", Channel);
  Object.defineProperty(navigator, "locks", { value: locksOf(), configurable: true });
});
afterEach(() => {
  vi.restoreAllMocks();
  Reflect.deleteProperty(navigator, "locks");
});

function streaming() {
  const client = clientOf({ fetch: scripted(answer).fetch, stream: changeStream });
  return { client, decide: async (): Promise<unknown> => (await client.decide({ flag: "f", default: "none" })).value };
}

/** A client whose stream is up. */
async function up() {
  const page = streaming();
  await vi.waitUntil(() => Source.opened.length === 1);
  Source.opened[0]!.open();
  expect(await page.decide()).toBe("old");
  return { ...page, source: Source.opened[0]! };
}

describe("a stream that comes back", () => {
  test("asks anew before it counts as up: calls were given newer answers while it was away", async () => {
    const { decide, source } = await up();
    source.lose();
    value = "new";
    expect(await decide()).toBe("new"); // each call asks the server now

    held = [];
    source.open();
    expect(await decide()).toBe("new"); // nobody has answered what the stream asks: what is known from before is older
    await vi.waitUntil(() => held!.length === 1);
    held.splice(0).forEach((letGo) => letGo());
    held = undefined;
    await vi.waitUntil(async () => {
      const count = asked.length;
      return (await decide()) === "new" && asked.length === count; // it is up, and has the newer answer
    });
  });

  test("is no use while that question has no answer", async () => {
    const { decide, source } = await up();
    source.lose();
    held = [];
    source.open();
    await vi.waitUntil(() => held!.length === 1);
    source.lose(true); // it ends meanwhile
    value = "new";
    held.splice(0).forEach((letGo) => letGo());
    held = undefined;
    expect(await decide()).toBe("new");
  });
});

test("a message has the flags asked for again, and who subscribed is told", async () => {
  const { client, decide, source } = await up();
  let told = 0;
  client.subscribe(() => told++);
  value = "new";
  source.onmessage({ data: JSON.stringify({ type: "refetchEvaluation", etag: tag() }) });
  await vi.waitUntil(() => told === 1);
  const count = asked.length;
  expect([await decide(), asked.length]).toEqual(["new", count]);
  source.onmessage({ data: JSON.stringify({ type: "refetchEvaluation", etag: tag() }) }); // it is known
  source.onmessage({ data: "no JSON" });
  expect([await decide(), asked.length, told]).toEqual(["new", count, 1]);
});

test("a dead connection says nothing: every five minutes the flags are asked for, and a stream that missed a change is opened anew", async () => {
  const intervals = vi.spyOn(globalThis, "setInterval");
  const { decide, source } = await up();
  const [check, everyMs] = intervals.mock.calls.at(-1) as [() => Promise<void>, number];
  intervals.mockRestore();
  expect(everyMs).toBe(300_000);
  await check(); // nothing changed: the connection stands
  expect(source.readyState).toBe(Source.OPEN);
  value = "new";
  await check();
  expect([source.readyState, await decide()]).toEqual([Source.CLOSED, "new"]);
});

test("after a stream that ended the next one is tried after ever longer pauses, up to a minute; one that was open begins anew", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  const pauses: number[] = [];
  const real = globalThis.setTimeout;
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((act: () => void, ms = 0) => {
    if (ms >= 1_000 && ms <= 60_000 && ms !== 3_000 && ms !== 10_000) pauses.push(ms);
    return real(act, pauses.at(-1) === ms ? 0 : ms);
  }) as typeof setTimeout);
  streaming();
  for (let number = 1; number <= 8; number++) {
    await vi.waitUntil(() => Source.opened.length === number);
    Source.opened[number - 1]!.lose(true); // it was never open
  }
  await vi.waitUntil(() => Source.opened.length === 9);
  expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  Source.opened[8]!.open();
  Source.opened[8]!.lose(true);
  await vi.waitUntil(() => Source.opened.length === 10);
  expect(pauses.at(-1)).toBe(1_000);
});

test.each(["locks", "EventSource", "BroadcastChannel"])("a browser without %s has no stream: each call asks", async (missing) => {
  if (missing === "locks") Reflect.deleteProperty(navigator, "locks");
  else vi.stubGlobal(missing, undefined);
  const { decide } = streaming();
  for (const wanted of ["old", "new"]) {
    value = wanted;
    expect(await decide()).toBe(wanted);
  }
  expect([asked.length, asked.some(isAll), Source.opened.length]).toEqual([2, false, 0]);
});
