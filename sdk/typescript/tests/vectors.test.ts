/** The client's core against the vectors that both SDKs share. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { unanswered, verdictOf, waitMs } from "../src/answers";
import type { Decision } from "../src/decisions";
import { askingOf } from "../src/decisions";
import type { Kind } from "../src/events";
import { EVENT_BYTES_MAX } from "../src/events";
import type { Reply } from "../src/http";
import { initTinyCDP } from "../src/index";
import { RETRY } from "../src/options";
import { outboxOf } from "../src/outbox";
import type { Entry } from "../src/outbox";
import { scripted } from "./scripted";
import { clientOf } from "./silent";

/** Where the checkout has them; the tests may run elsewhere, on a copy of this package. */
const FOLDER = process.env["TINYCDP_VECTORS"] ?? join(import.meta.dirname, "../../../tests/conformance/clients");
const read = (name: string): any => JSON.parse(readFileSync(join(FOLDER, name), "utf8"));

/** The vectors of a file, each with what it says. */
const casesOf = (file: any): [says: string, vector: any][] => file.vectors.map((vector: any) => [vector.says, vector]);

/** Numbers from 0 to 1 that are the same in each run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) / 0x7fffffff;
}

afterEach(() => vi.restoreAllMocks());

describe("events.json", () => {
  test.each(casesOf(read("events.json")))("%s", (_, vector) => {
    const client = initTinyCDP({ endpoint: "http://127.0.0.1:9", writeKey: "w", logger: silent, beforeSend: (event) => void sent.push(event) });
    const sent: unknown[] = [];
    const given = { ...vector.arguments };
    const { repeated } = vector;
    if (repeated) given.properties = { [repeated.property]: repeated.text.repeat(repeated.times) };

    const handle = client[vector.call as Exclude<Kind, "identify">](given) ?? {};

    if (vector.sent) expect(JSON.parse(JSON.stringify(sent[0]))).toEqual(vector.sent);
    else {
      expect(handle.state).toBe("refused");
      expect(handle.reason).toContain(vector.refused);
    }
    client.clearQueue();
    void client.destroy(0);
  });
});

const silent = { debug() {}, info() {}, warn() {}, error() {} };

describe("batches.json", () => {
  beforeEach(() => vi.spyOn(Math, "random").mockImplementation(seeded(11)));
  const file = read("batches.json");
  test.each(casesOf(file))("%s", (_, vector) => {
    const box = outboxOf({ maxQueueSize: 100, flushAt: vector.flushAt ?? file.flushAt, flushIntervalMs: 1000, retry: RETRY });
    const bytes = vector.bytes ?? 100;
    const entries = Array.from({ length: vector.events }, (__, index): Entry => {
      return { body: "x".repeat(bytes), bytes, messageId: String(index), names: [], queuedMs: 0, state: "queued", reason: "" };
    });
    entries.forEach(box.put);
    const requests: number[][] = [];
    const answers = [...vector.answers];
    const pauses = [...(vector.afterMs ?? [])];
    let nowMs = 0;
    let wallMs = 10 ** 12;

    for (let wakeMs = box.wakeMs(false); wakeMs < Infinity; wakeMs = box.wakeMs(false)) {
      nowMs = Math.max(nowMs, wakeMs);
      wallMs += pauses.shift() ?? 0;
      const [attempt] = box.next(nowMs, wallMs, false);
      if (!attempt) continue;
      requests.push(attempt.batch.map((entry) => entries.indexOf(entry)));
      const answer = answers.shift();
      expect(answer).not.toBe(undefined);
      box.settle(
        attempt,
        typeof answer === "number"
          ? verdictOf(answer, null, answer === 200 ? '{"success": true}' : "{}")
          : unanswered("no answer", answer !== "refused"),
        nowMs,
      );
    }

    expect(requests).toEqual(vector.requests);
    expect(entries.map((entry) => entry.state)).toEqual(vector.states);
    expect(answers).toEqual([]);
  });
});

describe("answers.json", () => {
  const file = read("answers.json");
  test.each(casesOf(file))("%s", (_, vector) => {
    const found = verdictOf(vector.status, vector.retryAfter ?? null, vector.body);

    expect([found.fate, found.isAmbiguous, found.rejected]).toEqual([vector.fate, vector.ambiguous, vector.rejected ?? {}]);
    if ("waitS" in vector) expect(waitMs(1, found.retryAfterMs, RETRY)).toBe(vector.waitS * 1000);
    else expect(found.retryAfterMs).toBe(undefined);
  });

  test.each(file.waits as { attempt: number; fromS: number; toS: number }[])("the wait after attempt $attempt", ({ attempt, fromS, toS }) => {
    vi.spyOn(Math, "random").mockImplementation(seeded(11));
    const waits = Array.from({ length: 200 }, () => waitMs(attempt, undefined, RETRY) / 1000);

    expect(Math.min(...waits)).toBeGreaterThanOrEqual(fromS);
    expect(Math.max(...waits)).toBeLessThanOrEqual(toS);
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(0.4 * toS);
  });

  test("without jitter no wait has anything of chance", () => {
    const random = vi.spyOn(Math, "random");
    const retry = { ...RETRY, jitter: false };
    expect([1, 2, 3, 8, 1_000].map((failures) => waitMs(failures, undefined, retry))).toEqual([500, 1_000, 2_000, 60_000, 60_000]);
    expect(random).not.toHaveBeenCalled();
  });

  test("from the fourth failure in a row on a client waits for half a second at least", () => {
    expect([3, 4].map((failures) => waitMs(failures, 0, RETRY))).toEqual([0, 500]);
  });
});

describe("caching.json", () => {
  test.each(casesOf(read("caching.json")))("%s", (_, vector) => {
    const asking = askingOf();
    for (const step of vector.steps) {
      if ("sent" in step) {
        asking.drop([`user:${step.sent}`]);
        continue;
      }
      const nowMs = step.at * 1000;
      let given: unknown[];
      let isAsked = false;
      try {
        const begun = asking.begin({ userId: step.user, flag: "f" }, nowMs, nowMs + 1000);
        isAsked = "question" in begun;
        let found = begun as Decision[];
        if ("question" in begun) {
          if (step.answer) expect(begun.last?.etag).toBe(step.tag);
          found = asking.answered(begun, replyOf(step.answer), nowMs);
        }
        given = [found[0]?.value, found[0]?.reason];
      } catch (error) {
        expect(error).toHaveProperty("code"); // it is undecided, and no mistake
        given = ["default", "ERROR"];
      }
      expect([isAsked, ...given], JSON.stringify(step)).toEqual([step.asked, ...step.gives]);
    }
  });
});

describe("types.json", () => {
  test.each(casesOf(read("types.json")))("%s", async (_, vector) => {
    const said = { flag: "f", value: vector.value, allow: true, variant: "v", reason: vector.reason ?? "SPLIT", reasons: ["evaluation_error: no"] };
    const client = clientOf({ fetch: scripted(() => ({ body: said })).fetch });

    const given = await client.decide({ userId: "ada", flag: "f", default: vector.default });

    expect([given.value, given.reason, given.errorCode ?? null]).toEqual(vector.gives);
    expect([given.allow, given.variant]).toEqual([true, "v"]);
  });
});

/** The reply that an answer of the vectors stands for; without one, what stands for a lost answer. */
function replyOf(answer?: any): Reply {
  if (!answer) return { status: 0, body: "no answer", headers: new Headers() };
  const { status = 200, value, etag, cacheControl } = answer;
  const body = status === 200 ? { flag: "f", value, allow: true, variant: null, reason: "STATIC" } : { message: "no" };
  const headers = new Headers({ ...(etag && { etag }), ...(cacheControl && { "cache-control": cacheControl }) });
  return { status, body: status === 304 ? "" : JSON.stringify(body), headers };
}

test("an event has as many bytes at most as the server takes", () => {
  expect(EVENT_BYTES_MAX).toBe(32_768);
});
