/** What the package gives to the tests of apps: a client that records. */

import { expect, test } from "vitest";
import { recordingClient } from "@tinycdp/sdk/testing";

test("events are recorded as the wire has them: sets, maps and dates as JSON, after beforeSend", () => {
  const fake = recordingClient({ beforeSend: (event) => void delete event.properties?.["card"] });
  const properties = { tags: new Set(["a"]), sizes: new Map([["s", 1]]), on: new Date(0), card: "4111" };
  fake.track({ userId: "ada", event: "viewed", properties });
  expect(fake.events.map((event) => event.properties)).toEqual([{ tags: ["a"], sizes: { s: 1 }, on: "1970-01-01T00:00:00.000Z" }]);
});

test("what would not be sent is not recorded, and is refused for the reason that the real client gives", () => {
  const fake = recordingClient({ beforeSend: (event) => (event.event === "hidden" ? null : event) });
  const tracked = (event: string, value: unknown) => fake.track({ userId: "ada", event, properties: { value } });
  expect(tracked("hidden", 1).state).toBe("dropped");
  const refused = [NaN, 1n, "\ud800", "x".repeat(32_768)].map((value) => tracked("viewed", value));
  expect(refused.map(({ state }) => state)).toEqual(refused.map(() => "refused"));
  expect(refused.every(({ reason }) => reason.startsWith("no JSON or too large: "))).toBe(true);
  expect(fake.events).toEqual([]);
});
