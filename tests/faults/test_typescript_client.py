"""The TypeScript client on a hostile way: in Node to a server that is killed, in a browser whose pages are killed.

Each event counts once or is told.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Route, sync_playwright

from lake.lake import Lake
from tests.chromium import chromium_path
from tests.faults.hostile_proxy import FAULTS, LATE_S, hostile_proxy
from tests.faults.parts import await_drained, await_well, kill
from tests.faults.truth import assert_lake_is_exact
from tests.running import RunningStack
from tests.sdk.typescript_package import package_in
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("victim"), pytest.mark.timeout(400), pytest.mark.deep]

EVENTS = 3_000

#: Tracks in bursts, so that there are many requests; ends when its input does.
PROGRAM = """
import { initTinyCDP } from "@tinycdp/sdk";

const [endpoint, events, timeout] = process.argv.slice(2);
const lost = [];
const client = initTinyCDP({
  endpoint, writeKey: process.env.WRITE_KEY, flushAt: 20, flushIntervalMs: 50, timeout: Number(timeout),
  maxQueueSize: 10000, retry: { initialDelay: 10, maxDelay: 100 }, onError: ({ messageId }) => lost.push(messageId),
});
for (let number = 0; number < events; number++) {
  const messageId = `node-${number}`;
  client.track({ userId: `node-${number % 40}`, event: "travelled", properties: { number }, messageId });
  if (number % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
}
for await (const _ of process.stdin);
const { queued } = await client.destroy(60000);
console.log(JSON.stringify({ queued, lost }));
"""


def test_each_event_counts_once_or_is_told(victim: RunningStack, tmp_path: Path) -> None:
    """The way drops, delays, cuts, repeats and invents answers, and the server is killed with -9.

    When it is calm again the lake has each event once that the client did not tell as refused, dropped or unknown.
    """
    package = package_in(tmp_path / "sdk")
    package.build()
    script = package.app(tmp_path / "app") / "travels.mjs"
    script.write_text(PROGRAM)
    with hostile_proxy(victim.stack.api_url, seed=11) as proxy:
        command = [package.node, str(script), proxy.url, str(EVENTS), str(int(LATE_S * 500))]
        environment = {**os.environ, "WRITE_KEY": victim.keys["write"]}
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            try:
                pid = kill(victim, "api")
                await_well(victim, "api", pid)
                wait_until(lambda: set(FAULTS) <= set(proxy.done), "each fault has happened")
                proxy.is_calm = True
                output, _ = client.communicate("", timeout=120)
            finally:
                client.kill()

    said = json.loads(output.splitlines()[-1])
    assert said["queued"] == 0
    assert_each_counts_once_or_is_told(victim, [f"node-{number}" for number in range(EVENTS)], said["lost"])


def assert_each_counts_once_or_is_told(victim: RunningStack, tracked: list[str], lost: list[str]) -> None:
    """The lake has each event once that was not told as lost, and those that were told at most once; they are few."""
    await_drained(victim)
    event_ids = Lake(victim.stack.lake_uri).events().select("event_id").collect().get_column("event_id").to_list()
    counted = Counter(event_ids)
    wrong = {one: counted[one] for one in tracked if counted[one] != 1 and not (one in lost and not counted[one])}
    assert wrong == {}
    assert len(lost) < len(tracked) // 10
    assert_lake_is_exact(victim.stack.lake_uri)


#: A page of the proxy's own origin, which keeps what it was told of lost events where the next page finds it.
HTML = """<!doctype html><title>Shop</title>
<script type="module">
  import { initTinyCDP } from "/dist/browser.js";
  window.begin = (writeKey, timeout) => {
    window.cdp = initTinyCDP({
      endpoint: location.origin, writeKey, timeout, flushAt: 5, flushIntervalMs: 50,
      retry: { initialDelay: 10, maxDelay: 100 },
      onError: ({ messageId }) => localStorage.setItem(`lost ${messageId}`, ""),
    });
  };
</script>"""
TRACK = "(ids) => ids.forEach((messageId) => cdp.track({ userId: 'page-1', event: 'travelled', messageId }))"
#: Pages that are opened one after the other, bursts of events in each, and events of a burst.
PAGES, BURSTS, BURST = 8, 8, 8


def test_pages_that_are_killed_lose_nothing(victim: RunningStack, tmp_path: Path) -> None:
    """Pages of a browser track on the same hostile way, while one stays open: some crash, others are closed.

    A crash lets no page say goodbye. What it left is in the browser's storage, and the page that is open takes it over.
    """
    package = package_in(tmp_path / "sdk")
    package.build()
    files = {"/": HTML, "/dist/browser.js": (package.folder / "dist" / "browser.js").read_text()}
    tracked: list[str] = []
    with hostile_proxy(victim.stack.api_url, seed=12) as proxy, chromium() as browser, browser.new_context() as context:
        for path, text in files.items():
            context.route(proxy.url + path, served(text, "text/html" if path == "/" else "text/javascript"))

        def opened() -> Page:
            page = context.new_page()
            page.goto(proxy.url + "/")
            page.wait_for_function("!!window.begin")
            page.evaluate("([key, timeout]) => begin(key, timeout)", [victim.keys["write"], int(LATE_S * 500)])
            return page

        stays = opened()
        for _ in range(PAGES):
            page = opened()
            for _ in range(BURSTS):
                ids = [f"page-{len(tracked) + number}" for number in range(BURST)]
                page.evaluate(TRACK, ids)
                tracked += ids
            end_page(context, page, crashes=len(tracked) % (2 * BURSTS * BURST) == 0)
        assert len(proxy.done) > len(FAULTS) // 2
        proxy.is_calm = True
        stays.close()
        last = opened()
        last.wait_for_function(
            "cdp.getQueueSize() === 0 && !Object.keys(localStorage).some((name) => name.startsWith('tinycdp.queue.'))"
        )
        lost = last.evaluate(
            "Object.keys(localStorage).filter((name) => name.startsWith('lost ')).map((name) => name.slice(5))"
        )

    assert_each_counts_once_or_is_told(victim, tracked, lost)


def served(text: str, content_type: str) -> Callable[[Route], None]:
    """Answers a request of a page with this text."""
    return lambda route: route.fulfill(body=text, content_type=content_type)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path("killed pages"), args=["--no-sandbox"])
        yield browser
        browser.close()


def end_page(context: BrowserContext, page: Page, *, crashes: bool) -> None:
    """Closes a page, or has its process crash first, which gives no answer any more."""
    if crashes:
        session = context.new_cdp_session(page)
        with page.expect_event("crash"), suppress(Error):
            session.send("Page.crash", timeout=1_000)
    page.close()
