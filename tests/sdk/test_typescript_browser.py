"""The TypeScript SDK in a real Chromium, on a page of another origin than the stack's: what a person's browser does.

The bugs of other clients that these tests name are bugs that this one must not have.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from tests.chromium import chromium_path
from tests.running import RunningStack
from tests.sdk.typescript_package import TypeScriptPackage, package_in
from tests.served_folder import served
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


HTML = """<!doctype html><title>Shop</title>
<script type="module">
  import { initTinyCDP } from "/dist/browser.js";
  import { changeStream } from "/dist/stream.js";
  window.asked = 0;
  const counting = (url, request) => ((window.asked += url.includes("/v1/decide")), fetch(url, request));
  window.sources = [];
  window.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      window.sources.push(this);
    }
  };
  window.init = ({ streams, ...options }) =>
    initTinyCDP({ ...options, fetch: counting, stream: streams ? changeStream : undefined });
  window.shown = [];
  addEventListener("pageshow", (event) => window.shown.push(event.persisted));
</script>"""

#: Opens a page of the site, with a client of these options, for an event of this name.
Open: TypeAlias = Callable[..., Page]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> TypeScriptPackage:
    """The package, built."""
    package = package_in(tmp_path_factory.mktemp("typescript") / "sdk")
    package.build()
    return package


@pytest.fixture(scope="module")
def folder(package: TypeScriptPackage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site serves: its pages, and the package as it is built."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(package.folder / "dist", folder / "dist")
    for name in ("index.html", "other.html"):
        (folder / name).write_text(HTML)
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """The address of the site."""
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window, and with the back/forward cache that people have."""
    found = chromium_path("the TypeScript SDK")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-background-networking"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser's profile of its own."""
    with chromium.new_context() as context:
        yield context


@pytest.fixture(scope="module")
def counted(stack: RunningStack) -> Callable[[str, str], Callable[[], Any]]:
    """Counts the events of a name for an id, once the trait is settled: `counted("ts_x", "ada")()`."""

    def counted(event: str, user: str) -> Callable[[], Any]:
        return lambda: stack.traits(user)["traits"][f"{event}_count"]

    names = ("ts_unload", "ts_offline", "ts_tab", "ts_blocked", "ts_cached", "ts_out")
    for name in names:
        stack.define("trait", f"{name}_count", f"events.{name}.count")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return counted


@pytest.fixture
def open_page(context: BrowserContext, site: str, stack: RunningStack) -> Open:
    """Opens a page with a client in `window.cdp`; `user` signs in."""

    def open_page(user: str | None = None, path: str = "index.html", **options: Any) -> Page:
        page = context.new_page()
        page.goto(f"{site}/{path}")
        begin(page, user, options)
        return page

    def begin(page: Page, user: str | None, options: dict[str, Any]) -> None:
        page.wait_for_function("!!window.init")
        keys = {"endpoint": stack.stack.api_url, "writeKey": stack.keys["write"], "readKey": stack.keys["read"]}
        page.evaluate("(options) => { window.cdp = init(options) }", {**keys, **options})
        if user is not None:
            page.evaluate("(userId) => cdp.identify({ userId })", user)

    return open_page


def track(page: Page, event: str, times: int = 1) -> None:
    """Tracks an event so many times."""
    page.evaluate("([event, times]) => { while (times--) cdp.track({ event }) }", [event, times])


def queued(page: Page) -> int:
    """How many events wait in a page."""
    found: int = page.evaluate("cdp.getQueueSize()")
    return found


@pytest.mark.deep
def test_a_page_that_is_left_sends_what_is_queued(counted: Any, open_page: Open) -> None:
    """By a beacon, as text: one with JSON would ask first, and be lost (posthog-js#4139). Its answer is read by nobody,
    so the next page sends it again, and it counts once."""
    page = open_page("ts-unload", flushIntervalMs=60_000)
    track(page, "ts_unload", 3)
    page.goto("about:blank")
    wait_until(lambda: counted("ts_unload", "ts-unload")() == 3, "the beacon arrives")

    again = open_page()
    again.wait_for_function("cdp.stats().sent === 3")

    assert counted("ts_unload", "ts-unload")() == 3
    assert stored_events(again) == []


@pytest.mark.deep
def test_a_page_that_is_closed_while_offline_loses_nothing(
    context: BrowserContext, counted: Any, open_page: Open
) -> None:
    """What was tracked offline is in the storage, and the next page takes it over."""
    page = open_page("ts-offline")
    context.set_offline(True)
    track(page, "ts_offline", 25)
    page.close()
    context.set_offline(False)

    open_page().wait_for_function("cdp.stats().sent === 25")

    assert counted("ts_offline", "ts-offline")() == 25


def test_a_page_that_goes_online_again_sends_at_once(context: BrowserContext, counted: Any, open_page: Open) -> None:
    """Also what would wait for its turn for a minute."""
    page = open_page("ts-online", retry={"initialDelay": 60_000})
    context.set_offline(True)
    track(page, "ts_offline", 20)
    assert queued(page) == 20
    context.set_offline(False)

    page.wait_for_function("cdp.stats().sent === 21")

    assert counted("ts_offline", "ts-online")() == 20


@pytest.mark.deep
def test_tabs_have_queues_of_their_own_and_take_over_those_of_closed_ones(counted: Any, open_page: Open) -> None:
    """An open tab's queue is its own (localstorage-retry#27), a closed tab's is sent by one that opens."""
    first = open_page("ts-tabs", flushIntervalMs=60_000)
    second = open_page("ts-tabs", flushIntervalMs=60_000, autoFlushOnUnload=False)
    track(first, "ts_tab", 2)
    track(second, "ts_tab", 3)
    assert (queued(first), queued(second)) == (2, 3)
    second.close()

    third = open_page()
    third.wait_for_function("cdp.stats().sent === 3")
    assert queued(first) == 2
    first.evaluate("cdp.flush()")

    assert counted("ts_tab", "ts-tabs")() == 5
    assert stored_events(third) == []


#: How many of a browser's tabs send, and how many wait for their turn to.
SENDERS = """async () => {
  const { held, pending } = await navigator.locks.query();
  return [held, pending].map((locks) => locks.filter(({ name }) => name.endsWith(" send")).length);
}"""


@pytest.mark.deep
def test_one_tab_sends_at_a_time(context: BrowserContext, counted: Any, open_page: Open) -> None:
    """While a tab waits for its answer the other waits for its turn, and has it then."""
    pages = [open_page("ts-turns", flushIntervalMs=60_000) for _ in range(2)]
    asked: list[Route] = []
    context.route("**/v1/batch", lambda route: asked.append(route))
    for page in pages:
        track(page, "ts_tab")
        page.evaluate("() => { window.flushed = cdp.flush(60_000) }")

    wait_until(lambda: pages[0].evaluate(SENDERS) == [1, 1] and asked, "one sends, one waits")
    assert len(asked) == 1
    asked.pop().continue_()
    wait_until(lambda: pages[0].evaluate(SENDERS) == [1, 0] and asked, "the other has its turn")
    asked.pop().continue_()
    for page in pages:
        page.evaluate("flushed")

    assert counted("ts_tab", "ts-turns")() == 2


def test_without_storage_nothing_throws_and_events_are_sent(
    context: BrowserContext, counted: Any, open_page: Open
) -> None:
    """Cookies blocked: to read the storage throws (analytics-next#318)."""
    context.add_init_script(
        "for (const kind of ['localStorage', 'sessionStorage']) Object.defineProperty(window, kind,"
        "{ get() { throw new DOMException('denied', 'SecurityError') } })"
    )
    page = open_page("ts-blocked")
    track(page, "ts_blocked", 2)
    page.evaluate("cdp.flush()")

    assert counted("ts_blocked", "ts-blocked")() == 2


def test_a_full_storage_keeps_events_in_memory(counted: Any, open_page: Open) -> None:
    """A quota error costs nothing but the event's life beyond the page (rudder-sdk-js#3211)."""
    page = open_page("ts-full")
    page.evaluate(
        "for (let size = 2 ** 22; size >= 1; size >>= 1) try { localStorage[size] = 'x'.repeat(size) } catch {}"
    )
    track(page, "ts_blocked", 2)
    page.evaluate("cdp.flush()")

    assert counted("ts_blocked", "ts-full")() == 2


def test_a_page_from_the_back_forward_cache_goes_on(site: str, counted: Any, open_page: Open) -> None:
    """Its lock keeps it out of no cache, and its listeners are there when it comes back (posthog-js#4842)."""
    page = open_page("ts-cached", flushIntervalMs=60_000)
    page.goto(f"{site}/other.html")
    page.go_back(wait_until="commit")  # a page that comes from the cache is loaded already
    page.wait_for_function("window.shown?.length === 2")
    assert page.evaluate("window.shown") == [False, True]

    track(page, "ts_cached", 2)
    page.goto("about:blank")

    wait_until(lambda: counted("ts_cached", "ts-cached")() == 2, "the second time it is left, it sends too")


def test_who_opts_out_is_not_counted_in_any_tab(context: BrowserContext, counted: Any, open_page: Open) -> None:
    """The queue is dropped in both tabs, no id stays in the storage, and opting in begins anew."""
    first, second = (open_page("ts-out", flushIntervalMs=60_000) for _ in range(2))
    track(first, "ts_out")
    track(second, "ts_out")
    first.evaluate("cdp.optOut()")

    second.wait_for_function("cdp.getQueueSize() === 0")
    track(second, "ts_out")
    assert (queued(first), queued(second)) == (0, 0)
    assert first.evaluate("Object.keys(localStorage).sort()") == ["tinycdp.consent"]
    second.evaluate("cdp.optIn()")
    track(second, "ts_out")
    second.evaluate("cdp.flush()")

    assert counted("ts_out", "ts-out")() == 1


# ── the change stream ────────────────────────────────────────────────────────────────────────────────────────────────

#: Keeps what a flag gave whenever the client said that something changed.
WATCH = """(flag) => {
  window.seen = [];
  cdp.subscribe(async () => window.seen.push((await cdp.decide({ flag, default: null })).allow));
}"""
#: Asks for a flag so many times, one after the other.
ASK = "async ([flag, times]) => { while (times--) await cdp.decide({ flag }) }"


#: Whether a decision is given without a request.
IS_KEPT = "async (flag) => { const before = asked; await cdp.decide({ flag }); return asked === before }"


def open_streams(*pages: Page) -> int:
    """How many streams these pages have open."""
    return sum(
        page.evaluate("sources.filter(({ readyState }) => readyState < EventSource.CLOSED).length") for page in pages
    )


@pytest.fixture(scope="module")
def live(stack: RunningStack) -> str:
    """A flag that allows whoever has the event `ts_live`."""
    stack.define("trait", "ts_live_count", "events.ts_live.count")
    stack.define("flag", "ts_live", "ts_live_count % 2 == 1")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return "ts_live"


def watched(page: Page, flag: str) -> Page:
    """The page, once it knows the flag by its stream, or by that of another tab."""
    page.evaluate(WATCH, flag)
    wait_until(lambda: page.evaluate(IS_KEPT, flag), "the stream is up")
    return page


def test_a_flag_that_changes_is_told_and_what_stands_is_kept(stack: RunningStack, open_page: Open, live: str) -> None:
    """While the stream is up the server is asked for what changed alone, and an event of the page is never missed."""
    page = watched(open_page("ts-live", streams=True), live)
    asked = page.evaluate("asked")
    page.evaluate(ASK, [live, 50])
    assert page.evaluate("asked") <= asked + 1  # another test may define something meanwhile

    stack.track("ts-live", "ts_live")
    page.wait_for_function("window.seen.at(-1) === true")

    own = "async (flag) => { await cdp.track({ event: 'ts_live' }).wait(); return (await cdp.decide({ flag })).allow }"
    assert [page.evaluate(own, live) for _ in range(4)] == [False, True, False, True]
    assert open_streams(page) == 1


#: Asks for a flag eight times at once; how many requests that were, and the answers.
ASK_AT_ONCE = """async (flag) => {
  const before = asked;
  const said = await Promise.all(Array.from({ length: 8 }, () => cdp.decide({ flag })));
  return [asked - before, ...new Set(said.map(({ allow }) => allow))];
}"""


def test_a_page_that_loads_asks_once(stack: RunningStack, open_page: Open, live: str) -> None:
    """All calls before the stream is open are given its first answer about all flags; nothing waits for another tab."""
    page = open_page()
    keys = {"endpoint": stack.stack.api_url, "writeKey": stack.keys["write"], "readKey": stack.keys["read"]}
    page.evaluate("(options) => { window.options = options }", {**keys, "streams": True})

    asked = page.evaluate(f"(flag) => {{ window.cdp = init(options); return ({ASK_AT_ONCE})(flag) }}", live)

    assert asked == [1, False]
    wait_until(lambda: open_streams(page) == 1 and page.evaluate(IS_KEPT, live), "the stream is up")


def test_calls_that_come_together_are_given_one_answer_while_an_event_is_under_way(
    context: BrowserContext, open_page: Open, live: str
) -> None:
    """By one question about all flags. An event that only waits in the page costs none: the server does not know it.

    Once it is acknowledged, the next call sees it.
    """
    page = watched(open_page("ts-tick", streams=True, flushIntervalMs=3_600_000), live)
    held: list[Route] = []
    context.route("**/v1/batch", lambda route: held.append(route))
    page.evaluate("() => { window.event = cdp.track({ event: 'ts_live' }) }")
    assert page.evaluate(ASK_AT_ONCE, live) == [0, False]

    page.evaluate("() => { window.flushed = cdp.flush(60_000) }")
    wait_until(lambda: page.evaluate("event.state") == "sending" and held, "the event is under way")
    assert page.evaluate(ASK_AT_ONCE, live) == [1, False]
    held.pop().continue_()
    page.evaluate("flushed")

    assert page.evaluate("event.state") == "sent"
    questions, *said = page.evaluate(ASK_AT_ONCE, live)
    assert said == [True]
    assert questions in (1, 2)  # the stream may have told of the change at the same time


def test_a_call_takes_its_own_time_alone_whatever_it_waits_for(
    context: BrowserContext, open_page: Open, live: str
) -> None:
    """Nobody answers: neither the question for all flags nor that for the one may take longer than the call."""
    page = watched(open_page("ts-deadline", streams=True, decideTimeout=40_000), live)
    page.evaluate("cdp.track({ event: 'ts_live' }).wait()")
    unanswered: list[Route] = []
    context.route("**/v1/decide**", lambda route: unanswered.append(route))

    reason, took_ms = page.evaluate(
        "async (flag) => { const begun = performance.now();"
        "const { reason } = await cdp.decide({ flag, default: null, timeout: 500 });"
        "return [reason, performance.now() - begun] }",
        live,
    )

    assert reason == "ERROR"
    assert took_ms < 20_000
    assert len(unanswered) == 2


@pytest.mark.deep
def test_a_question_that_failed_once_ends_no_stream_for_long(
    context: BrowserContext, stack: RunningStack, open_page: Open, live: str
) -> None:
    """A message whose question is not answered costs the connection, and the next one is told of changes again."""
    page = watched(open_page("ts-once", streams=True), live)
    begun = page.evaluate("sources.length")
    failed: list[str] = []

    def fail_once(route: Route) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.abort()

    context.route("**/v1/decide", fail_once)
    stack.track("ts-once", "ts_live")
    wait_until(lambda: page.evaluate("sources.length") > begun and open_streams(page) == 1, "another stream is open")
    page.wait_for_function("window.seen.at(-1) === true")
    wait_until(lambda: page.evaluate(IS_KEPT, live), "what stands is kept")

    stack.track("ts-once", "ts_live")
    page.wait_for_function("window.seen.at(-1) === false")


def test_a_subscriber_that_throws_ends_no_stream(stack: RunningStack, open_page: Open, live: str) -> None:
    """Its mistake is in the log; the others hear of this change and of the next."""
    page = open_page("ts-throws", streams=True)
    mistakes: list[str] = []
    page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    page.evaluate("() => { cdp.subscribe(() => { throw new Error('the app is wrong') }) }")
    watched(page, live)
    for says in ("true", "false"):
        stack.track("ts-throws", "ts_live")
        page.wait_for_function(f"window.seen.at(-1) === {says}")

    assert set(mistakes) == {"[TinyCDP] a subscriber threw the app is wrong"}


@pytest.mark.deep
def test_the_tabs_of_a_browser_share_a_connection(stack: RunningStack, open_page: Open, live: str) -> None:
    """Eight tabs know of a change by one stream: six would take every connection that a browser opens to a server.

    When its tab is closed, another tab opens one.
    """
    pages = [watched(open_page("ts-tabs-live", streams=True), live) for _ in range(8)]
    assert open_streams(*pages) == 1

    stack.track("ts-tabs-live", "ts_live")
    for page in pages:
        page.wait_for_function("window.seen.at(-1) === true")

    pages.pop(0).close()
    wait_until(lambda: open_streams(*pages) == 1, "another tab opens a stream")
    stack.track("ts-tabs-live", "ts_live")
    for page in pages:
        page.wait_for_function("window.seen.at(-1) === false")
    assert open_streams(*pages) == 1


@pytest.mark.deep
def test_the_stream_ends_with_the_identity_and_with_the_page(
    site: str, stack: RunningStack, open_page: Open, live: str
) -> None:
    """Another user has another stream. A page that is left gives it up; back from the cache it takes it again."""
    page = watched(open_page("ts-first", streams=True), live)
    begun = page.evaluate("sources.length")
    page.evaluate("cdp.identify({ userId: 'ts-second' })")
    wait_until(lambda: page.evaluate("sources.length") > begun and open_streams(page) == 1, "one ends, one begins")
    urls = page.evaluate("sources.map(({ url }) => url)")
    assert urls[-1] not in urls[:begun]
    stack.track("ts-second", "ts_live")
    page.wait_for_function("window.seen.at(-1) === true")

    begun = page.evaluate("sources.length")
    page.goto(f"{site}/other.html")
    page.go_back(wait_until="commit")
    page.wait_for_function("window.shown?.length === 2")
    assert page.evaluate("window.shown") == [False, True]
    wait_until(lambda: page.evaluate("sources.length") > begun and open_streams(page) == 1, "the page takes part again")
    stack.track("ts-second", "ts_live")
    page.wait_for_function("window.seen.at(-1) === false")

    page.evaluate("cdp.destroy()")
    assert open_streams(page) == 0


@pytest.mark.deep
def test_without_a_stream_answers_are_asked_for_as_ever(
    context: BrowserContext, stack: RunningStack, open_page: Open, live: str
) -> None:
    """Where its address cannot be reached each call asks, and learns what changed; once it can, what stands is kept."""
    context.route("**/v1/stream/**", lambda route: route.abort())
    page = open_page("ts-away", streams=True)
    page.evaluate(ASK, [live, 3])
    asked = page.evaluate("asked")
    page.evaluate(ASK, [live, 10])
    assert page.evaluate("asked") >= asked + 10
    stack.track("ts-away", "ts_live")
    assert page.evaluate("(flag) => cdp.decide({ flag })", live)["allow"] is True

    context.unroute("**/v1/stream/**")
    watched(page, live)
    assert page.evaluate("(flag) => cdp.decide({ flag })", live)["allow"] is True


# ── pages that a server renders ──────────────────────────────────────────────────────────────────────────────────────

#: What server and browser render: a banner and a variant that flags decide.
SHOP = """
import { createElement as h, StrictMode } from "react";
import { FeatureGate, TinyCDPProvider, useExperiment } from "@tinycdp/sdk/react";

const Price = () => h("b", null, useExperiment("ts_price").variant);
export const Shop = (props) => h(StrictMode, null, h(TinyCDPProvider, props,
  h(FeatureGate, { flag: "ts_banner", loading: "loading", fallback: "no banner" }, "banner"), " ", h(Price)));
"""
#: Renders the page of a user on the server, with the decisions that it was rendered with.
RENDERS = """
import { createElement as h } from "react";
import { renderToString } from "react-dom/server";
import { initTinyCDP } from "@tinycdp/sdk";
import { Shop } from "./shop.mjs";

const { TINYCDP_URL: endpoint, TINYCDP_READ_KEY: readKey, USER: userId } = process.env;
const client = initTinyCDP({ endpoint, readKey });
const initialDecisions = await client.decideAll({ userId, timeout: 20_000 });
const html = renderToString(h(Shop, { client, userId, initialDecisions }));
const flags = JSON.stringify(initialDecisions).replaceAll("<", "\\u003c");
console.log(JSON.stringify(`<!doctype html><title>Shop</title><link rel="icon" href="data:,">
  <div id="root">${html}</div>
  <script type="application/json" id="flags">${flags}</script><script type="module" src="/hydrates.js"></script>`));
"""
#: Takes the page over in the browser, and keeps what was painted and what React complained of.
HYDRATES = """
import { createElement as h } from "react";
import { hydrateRoot } from "react-dom/client";
import { changeStream } from "@tinycdp/sdk/stream";
import { Shop } from "./shop.mjs";

const root = document.getElementById("root");
window.paints = [root.textContent];
window.errors = [];
const look = { childList: true, subtree: true, characterData: true };
new MutationObserver(() => window.paints.push(root.textContent)).observe(root, look);
const { endpoint, writeKey, readKey, userId } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const initialDecisions = JSON.parse(document.getElementById("flags").textContent);
window.answered = 0;
const counting = async (url, request) => {
  const answer = await fetch(url, request);
  window.answered += url.includes("/v1/decide");
  return answer;
};
const options = { endpoint, writeKey, readKey, stream: changeStream, fetch: counting };
hydrateRoot(root, h(Shop, { ...options, userId, initialDecisions }), {
  onRecoverableError: (error) => window.errors.push(String(error)),
});
"""


@pytest.mark.deep
def test_a_page_that_a_server_rendered_is_taken_over_without_a_flicker(
    package: TypeScriptPackage, folder: Path, site: str, stack: RunningStack, context: BrowserContext
) -> None:
    """React finds what the server rendered, and the browser's own answers, which come later, change nothing of it
    (posthog-js#1720, OpenFeature js-sdk#920). A flag that changes afterwards is rendered, by the change stream."""
    stack.define("trait", "ts_exposed", "events.experiment_exposure.count")
    stack.define("trait", "ts_fans", "events.ts_fan.count")
    stack.define("flag", "ts_banner", "ts_fans == 0")
    stack.define("flag", "ts_price", "true", variants=[{"name": "blue"}])
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    app = package.app(package.folder / "hydration")
    for name, text in {"shop.mjs": SHOP, "renders.mjs": RENDERS, "hydrates.mjs": HYDRATES}.items():
        (app / name).write_text(text)
    keys = {"TINYCDP_URL": stack.stack.api_url, "TINYCDP_READ_KEY": stack.keys["read"]}
    html = package.says(app / "renders.mjs", **keys, USER="ts-hydrated", NODE_ENV="production")
    bundled = package.run(
        *("rolldown/bin/cli.mjs", str(app / "hydrates.mjs"), "--platform", "browser"),
        *("--file", str(folder / "hydrates.js"), "--transform.define", "process.env.NODE_ENV:'development'"),
    )
    assert bundled.returncode == 0, bundled.stdout + bundled.stderr
    (folder / "hydrated.html").write_text(html)

    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    given = {"endpoint": keys["TINYCDP_URL"], "writeKey": stack.keys["write"], "readKey": keys["TINYCDP_READ_KEY"]}
    page.goto(f"{site}/hydrated.html#{urlencode({**given, 'userId': 'ts-hydrated'})}")
    page.wait_for_function("window.answered >= 1")
    wait_until(lambda: stack.traits("ts-hydrated")["traits"]["ts_exposed"] == 1, "the exposure is told")

    assert set(page.evaluate("window.paints")) == {"banner blue"}
    stack.track("ts-hydrated", "ts_fan")
    page.wait_for_function("window.paints.at(-1) === 'no banner blue'")
    assert (page.evaluate("window.errors"), complaints) == ([], [])


def stored_events(page: Page) -> list[str]:
    """The names under which the browser keeps events."""
    found: list[str] = page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('tinycdp.queue.'))")
    return found
