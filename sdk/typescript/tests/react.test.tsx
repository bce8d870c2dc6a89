// @vitest-environment happy-dom
/** Provider, hooks and components, with the real client beneath: its double answers what a test says. */

import * as React from "react";
import { act, StrictMode, version } from "react";
import type { ReactNode } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import type { TinyCDPClient } from "@tinycdp/sdk";
import * as sdk from "@tinycdp/sdk/react";
import { recordingClient } from "@tinycdp/sdk/testing";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

const { TinyCDPProvider, useTinyCDP, useFeatureFlag, useTracking, useExperiment } = sdk;
const { ExperimentVariant, FeatureGate, PageTracker, TrackedButton } = sdk;

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
let ends: (() => void)[] = [];

beforeEach(() => localStorage.clear());
afterEach(async () => {
  await act(async () => ends.forEach((end) => end()));
  ends = [];
  document.body.innerHTML = "";
});

async function shown(tree: ReactNode): Promise<{ box: HTMLElement; show: (tree: ReactNode) => Promise<void> }> {
  const box = document.body.appendChild(document.createElement("div"));
  const root = createRoot(box);
  ends.push(() => root.unmount());
  const show = async (next: ReactNode): Promise<void> => act(async () => root.render(next));
  await show(tree);
  return { box, show };
}

const named = (client: { events: { event?: string | undefined }[] }, name: string) => client.events.filter(({ event }) => event === name);

test("it is the React that was asked for", () => {
  expect(version.split(".")[0]).toBe(process.env["TINYCDP_REACT"] ? "18" : "19");
});

describe("useFeatureFlag", () => {
  function Banner() {
    const { value, loading, error } = useFeatureFlag("banner");
    return <p>{`${value} ${loading} ${error}`}</p>;
  }

  test("gives the default while loading, then whether the flag allows", async () => {
    let answer = (_: Response): void => {};
    const client = recordingClient({ flags: { banner: true } });
    const held = vi.spyOn(client, "decide").mockImplementation(() => new Promise((resolve) => (answer = resolve as any)));
    const { box } = await shown(<TinyCDPProvider client={client}><Banner /></TinyCDPProvider>);
    expect(box.textContent).toBe("false true null");

    await act(async () => answer({ flag: "banner", allow: true, value: true, reason: "STATIC" } as any));
    expect(box.textContent).toBe("true false null");
    held.mockRestore();
  });

  test("gives the default and why where nothing can be said", async () => {
    const { box } = await shown(<TinyCDPProvider client={recordingClient()}><Banner /></TinyCDPProvider>);
    expect(box.textContent).toBe("false false HTTP 404 Flag 'banner' not found");
  });

  test("gives a flag's value where the default is none of a boolean", async () => {
    function Price() {
      return <p>{JSON.stringify(useFeatureFlag("price", { cents: 900 }).value)}</p>;
    }
    const client = recordingClient({ flags: { price: { cents: 700 } } });
    const { box } = await shown(<TinyCDPProvider client={client}><Price /></TinyCDPProvider>);
    expect(box.textContent).toBe('{"cents":700}');
  });

  test("gives the default and why where the value has another type: a flag without a named default says false", async () => {
    function Price() {
      const { value, error } = useFeatureFlag("price", { cents: 900 });
      return <p>{`${value.cents} ${error}`}</p>;
    }
    const client = recordingClient({ flags: { price: false } });
    const { box } = await shown(<TinyCDPProvider client={client}><Price /></TinyCDPProvider>);
    expect(box.textContent).toBe("900 the value is boolean, not object");
  });

  test("asks again for another user, and shows nothing of the one before", async () => {
    const client = recordingClient({ flags: { banner: (user: string) => user === "ada" } });
    await client.identify({ userId: "ada" });
    const { box } = await shown(<TinyCDPProvider client={client}><Banner /></TinyCDPProvider>);
    expect(box.textContent).toBe("true false null");

    await act(async () => void client.identify({ userId: "eve" }));
    expect(box.textContent).toBe("false false null");
  });

  test("gives the default for a flag that was deleted since, and keeps what it has while the server is away", async () => {
    const client = recordingClient({ flags: { banner: true } });
    const asked = vi.spyOn(client, "decide");
    const { box } = await shown(<TinyCDPProvider client={client}><Banner /></TinyCDPProvider>);
    const says = [box.textContent];
    for (const errorCode of ["GENERAL", "FLAG_NOT_FOUND"]) {
      asked.mockResolvedValueOnce({ flag: "banner", allow: false, value: undefined, reason: "ERROR", errorCode, error: "none" } as any);
      await act(async () => void client.identify({ traits: { plan: errorCode } }));
      says.push(box.textContent);
    }
    expect(says).toEqual(["true false null", "true false null", "false false none"]);
  });

  test("asks again for what passes, after ever longer pauses, until the server has said it", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const client = recordingClient({ flags: { banner: true } });
      const asked = vi.spyOn(client, "decide");
      const passing = (reason: string): any => ({ flag: "banner", allow: false, value: undefined, reason, error: "no answer" });
      for (const reason of ["ERROR", "STALE", "CACHED"]) asked.mockResolvedValueOnce(passing(reason));
      const { box } = await shown(<TinyCDPProvider client={client}><Banner /></TinyCDPProvider>);
      const says: unknown[] = [[box.textContent, asked.mock.calls.length]];
      for (const ms of [1_000, 2_000, 4_000, 600_000]) {
        await act(async () => void (await vi.advanceTimersByTimeAsync(ms)));
        says.push([box.textContent, asked.mock.calls.length]);
      }
      expect(says).toEqual([
        ["false false no answer", 1], ["false false null", 2], ["false false null", 3], ["true false null", 4], ["true false null", 4],
      ]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("asks no more for a flag that there is not, for a user who left, and after the page has gone", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const client = recordingClient();
      const asked = vi.spyOn(client, "decide");
      const page = <TinyCDPProvider client={client}><Banner /></TinyCDPProvider>;
      const { show } = await shown(page);
      await act(async () => void (await vi.advanceTimersByTimeAsync(600_000)));
      expect(asked.mock.calls.length).toBe(1);

      asked.mockResolvedValueOnce({ flag: "banner", allow: false, value: undefined, reason: "ERROR" } as any);
      await act(async () => client.reset());
      await act(async () => client.reset());
      await show(null);
      await act(async () => void (await vi.advanceTimersByTimeAsync(600_000)));
      expect(asked.mock.calls.length).toBe(3);
    } finally {
      vi.useRealTimers();
    }
  });

  // React 18 has no such component.
  test.runIf("Activity" in React)("what was hidden asks again when it is shown: an error, or another user's, does not stay", async () => {
    const Activity = React.Activity;
    const client = recordingClient({ flags: { banner: (user: string) => user === "eve" } });
    await client.identify({ userId: "ada" });
    const asked = vi.spyOn(client, "decide");
    asked.mockResolvedValueOnce({ flag: "banner", allow: false, value: undefined, reason: "ERROR", error: "no answer" } as any);
    const page = (mode: "visible" | "hidden") => <Activity mode={mode}><TinyCDPProvider client={client}><Banner /></TinyCDPProvider></Activity>;
    const { box, show } = await shown(page("visible"));
    expect(box.textContent).toBe("false false no answer");

    await show(page("hidden"));
    await show(page("visible"));
    expect(box.textContent).toBe("false false null");

    await show(page("hidden"));
    await act(async () => void client.identify({ userId: "eve" }));
    await show(page("visible"));
    expect(box.textContent).toBe("true false null");
  });

  test("knows what changed while no component showed the flag", async () => {
    const client = recordingClient({ flags: { banner: false } });
    await client.identify({ userId: "ada" });
    const page = (children: ReactNode) => <TinyCDPProvider client={client}>{children}</TinyCDPProvider>;
    const { box, show } = await shown(page(<Banner />));
    expect(box.textContent).toBe("false false null");

    await show(page(null));
    client.flags["banner"] = true;
    await act(() => client.identify({ traits: { plan: "pro" } })); // the server knows more of the user
    await show(page(<Banner />));
    expect(box.textContent).toBe("true false null");
  });
});

describe("useTinyCDP", () => {
  test("throws outside of a provider", () => {
    function Lost() {
      useTinyCDP();
      return null;
    }
    expect(() => renderToString(<Lost />)).toThrow("useTinyCDP must be used within a TinyCDPProvider");
  });

  test("setUserId signs in and out, and the browser remembers who it was", async () => {
    let shared: ReturnType<typeof useTinyCDP> | undefined;
    function Who() {
      shared = useTinyCDP();
      return <p>{String(shared.userId)}</p>;
    }
    const client = recordingClient({ persistence: true });
    const { box } = await shown(<TinyCDPProvider client={client}><Who /></TinyCDPProvider>);
    expect(box.textContent).toBe("null");
    await act(async () => shared?.setUserId("ada"));
    expect([box.textContent, recordingClient({ persistence: true }).getUserId()]).toEqual(["ada", "ada"]);
    await act(async () => shared?.setUserId(null));
    expect(box.textContent).toBe("null");
  });

  test("a userId that becomes undefined is a sign-out; one that was never given leaves whom the browser remembers", async () => {
    function Who() {
      const { userId } = useTinyCDP();
      return <p>{`${userId} ${useFeatureFlag("banner").value}`}</p>;
    }
    const flags = { banner: (user: string) => user === "ada" };
    const client = recordingClient({ persistence: true, flags });
    const page = (userId: string | undefined, own = client) => (
      <StrictMode><TinyCDPProvider client={own} userId={userId}><Who /></TinyCDPProvider></StrictMode>
    );
    const { box, show } = await shown(page(undefined));
    await act(() => client.identify({ userId: "ada" }));
    await show(page(undefined));
    expect([box.textContent, client.getUserId()]).toEqual(["ada true", "ada"]);

    await show(page("ada"));
    const device = client.getAnonymousId();
    await show(page(undefined));
    expect([box.textContent, client.getUserId()]).toEqual(["null false", undefined]);
    expect(client.getAnonymousId()).not.toBe(device);
    expect(recordingClient({ persistence: true }).getUserId()).toBeUndefined();

    const other = recordingClient({ flags });
    await other.identify({ userId: "ada" });
    await show(page("eve"));
    await show(page(undefined, other)); // another client knows its user itself
    expect([box.textContent, client.getUserId()]).toEqual(["ada true", "eve"]);
  });

  test("setUserId holds from its call on, also where the page has named the user", async () => {
    let shared: ReturnType<typeof useTinyCDP> | undefined;
    function Who() {
      shared = useTinyCDP();
      return <p>{String(shared.userId)}</p>;
    }
    const { box } = await shown(<TinyCDPProvider client={recordingClient()} userId="ada"><Who /></TinyCDPProvider>);
    const seen = [box.textContent];
    for (const id of [null, "eve"]) {
      await act(async () => shared?.setUserId(id));
      seen.push(box.textContent);
    }
    expect(seen).toEqual(["ada", "null", "eve"]);
  });

  test("under StrictMode the client is one, it works, and it ends with the provider", async () => {
    const clients = new Set<TinyCDPClient>();
    function Probe() {
      clients.add(useTinyCDP().client);
      return null;
    }
    const options = { endpoint: "http://127.0.0.1:9", persistence: false };
    const { show } = await shown(<StrictMode><TinyCDPProvider {...options}><Probe /></TinyCDPProvider></StrictMode>);
    expect(clients.size).toBe(1);
    const [client] = clients;
    expect(client?.track({ event: "viewed" }).state).toBe("refused"); // it has no key, but it is alive
    await show(null);
    expect(() => client?.track({ event: "viewed" })).toThrow("has been destroyed");
  });
});

describe("server rendering", () => {
  function Page() {
    return <FeatureGate flag="banner" fallback="off">on</FeatureGate>;
  }
  const banner = { flag: "banner", userId: "ada", allow: true, value: true, reason: "STATIC" as const, reasons: [], afterMet: true };

  test("the server's decisions are the first paint on both sides: no flicker, no hydration error (posthog-js#1720, OpenFeature js-sdk#920)", async () => {
    const tree = (client: TinyCDPClient) => (
      <TinyCDPProvider client={client} userId="ada" initialDecisions={{ banner }}><Page /></TinyCDPProvider>
    );
    const html = renderToString(tree(recordingClient()));
    expect(html).toBe("on");

    const box = document.body.appendChild(document.createElement("div"));
    box.innerHTML = html;
    const paints: string[] = [];
    new MutationObserver(() => paints.push(box.textContent ?? "")).observe(box, { childList: true, subtree: true, characterData: true });
    const errors: unknown[] = [];
    const client = recordingClient({ flags: { banner: true } });
    const root = await act(async () => hydrateRoot(box, tree(client), { onRecoverableError: (error) => errors.push(error) }));
    ends.push(() => root.unmount());

    expect([box.textContent, errors, paints.filter((paint) => paint !== "on")]).toEqual(["on", [], []]);
    expect(client.getUserId()).toBe("ada");
  });

  test("without them the server renders what loading shows", () => {
    expect(renderToString(<TinyCDPProvider client={recordingClient()}><Page /></TinyCDPProvider>)).toBe("Loading…");
  });
});

describe("experiments", () => {
  function Experiment() {
    return <p>{useExperiment("checkout").variant}</p>;
  }

  test("an exposure is sent once for however many that show it, with an id that is the same in every tab", async () => {
    const flags = { checkout: "blue" };
    const first = recordingClient({ flags, persistence: true });
    await first.identify({ userId: "ada" });
    const tree = (client: TinyCDPClient) => (
      <StrictMode>
        <TinyCDPProvider client={client}>
          <Experiment /><Experiment /><ExperimentVariant experiment="checkout" variant="blue">!</ExperimentVariant>
        </TinyCDPProvider>
      </StrictMode>
    );
    const { box } = await shown(tree(first));
    const second = recordingClient({ flags, persistence: true });
    await shown(tree(second));

    expect(box.textContent).toBe("blueblue!");
    const [exposure, ...more] = named(first, "experiment_exposure");
    expect(more).toEqual([]);
    expect(exposure).toMatchObject({ userId: "ada", properties: { experiment: "checkout", variant: "blue" } });
    expect(named(second, "experiment_exposure").map(({ messageId }: any) => messageId)).toEqual([(exposure as any).messageId]);
  });

  test("a default is no exposure", async () => {
    const client = recordingClient();
    const { box } = await shown(<TinyCDPProvider client={client}><Experiment /></TinyCDPProvider>);
    expect([box.textContent, named(client, "experiment_exposure")]).toEqual(["control", []]);
  });

  test.each([
    ["STATIC", 1],
    ["TARGETING_MATCH", 1],
    ["SPLIT", 1],
    ["DEFAULT", 0],
    ["DISABLED", 0],
    ["STALE", 0],
    ["CACHED", 0],
    ["ERROR", 0],
  ])("what the flag's own steps gave is an exposure, and what stands for it is none: %s", async (reason, exposures) => {
    const client = recordingClient();
    vi.spyOn(client, "decide").mockResolvedValue({ flag: "checkout", allow: true, value: "blue", variant: "blue", reason } as any);
    const { box } = await shown(<TinyCDPProvider client={client}><Experiment /></TinyCDPProvider>);
    expect([box.textContent, named(client, "experiment_exposure").length]).toEqual([reason === "ERROR" ? "control" : "blue", exposures]);
  });

  test("without variants it is treatment or control", async () => {
    const client = recordingClient({ flags: { checkout: true } });
    const { box } = await shown(<TinyCDPProvider client={client}><Experiment /></TinyCDPProvider>);
    expect(box.textContent).toBe("treatment");
  });
});

describe("components", () => {
  test("FeatureGate shows its children, or the fallback", async () => {
    const client = recordingClient({ flags: { on: true, off: false } });
    const { box } = await shown(
      <TinyCDPProvider client={client}>
        <FeatureGate flag="on">A</FeatureGate><FeatureGate flag="off" fallback="B">C</FeatureGate>
      </TinyCDPProvider>,
    );
    expect(box.textContent).toBe("AB");
  });

  test("TrackedButton tracks its text, then calls what the page gave", async () => {
    const client = recordingClient();
    const calls: number[] = [];
    const { box } = await shown(
      <TinyCDPProvider client={client}>
        <TrackedButton trackingProperties={{ plan: "pro" }} onClick={() => calls.push(client.events.length)}>Buy</TrackedButton>
      </TinyCDPProvider>,
    );
    await act(async () => box.querySelector("button")?.click());
    expect(client.events).toMatchObject([{ event: "button_clicked", properties: { button_text: "Buy", plan: "pro" } }]);
    expect(calls).toEqual([1]);
  });

  test("PageTracker tracks each page once, under StrictMode too", async () => {
    const client = recordingClient();
    const tree = (page: string) => (
      <StrictMode><TinyCDPProvider client={client}><PageTracker page={page} /></TinyCDPProvider></StrictMode>
    );
    const { show } = await shown(tree("home"));
    await show(tree("cart"));
    expect(named(client, "page_view").map(({ properties }: any) => properties.page)).toEqual(["home", "cart"]);
  });

  test("useTracking adds the page's path and the time; identify swallows errors", async () => {
    let tracking: ReturnType<typeof useTracking> | undefined;
    function Probe() {
      tracking = useTracking();
      return null;
    }
    const client = recordingClient();
    await shown(<TinyCDPProvider client={client}><Probe /></TinyCDPProvider>);
    tracking?.track("viewed", { amount: 1 });
    await tracking?.identify({ plan: "pro" });
    expect(client.events[0]?.properties).toMatchObject({ page: location.pathname, amount: 1, timestamp: expect.any(String) });
    expect(client.events[1]).toMatchObject({ type: "identify", traits: { plan: "pro" } });
  });
});
