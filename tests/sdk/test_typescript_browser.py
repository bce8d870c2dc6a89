"""The TypeScript SDK in a real Chromium, on a page of another origin than the stack's: what a person's browser does.

The bugs of other clients that these tests name are bugs that this one must not have.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.chromium import chromium_path
from tests.running import RunningStack
from tests.sdk.typescript_package import package_in
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


HTML = """<!doctype html><title>Shop</title>
<script type="module">
  import { initTinyCDP } from "/dist/index.js";
  window.init = initTinyCDP;
  window.shown = [];
  addEventListener("pageshow", (event) => window.shown.push(event.persisted));
</script>"""

#: Opens a page of the site, with a client of these options, for an event of this name.
Open: TypeAlias = Callable[..., Page]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site whose pages have the package as it is built."""
    package = package_in(tmp_path_factory.mktemp("typescript") / "sdk")
    package.build()
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(package.folder / "dist", folder / "dist")
    for name in ("index.html", "other.html"):
        (folder / name).write_text(HTML)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


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


def stored_events(page: Page) -> list[str]:
    """The names under which the browser keeps events."""
    found: list[str] = page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('tinycdp.queue.'))")
    return found
