"""The small console under a base path, and a tab of it in which somebody is signed in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, expect

from cli.ports import free_port
from tests.running import RunningStack
from tests.waiting import wait_until

BASE_PATH = "/under/a/path"
#: The names in the lake are read again after 20 times what that takes, which is seconds on a busy machine.
NAMES_S = 200.0

#: Opens the page with an expression, as its query says, and waits until it has run.
Open = Callable[..., Page]


@pytest.fixture(scope="session")
def defined(console: RunningStack) -> RunningStack:
    """A stack with what the tests write about: two buyers, a trait and a segment."""
    for user, amount in (("editor-ada", 30), ("editor-bob", 5)):
        console.track(user, "editor_order", properties={"amount": amount, "currency": "EUR"})
    console.define("trait", "editor_orders", "events.editor_order.count_30d")
    console.define("segment", "editor_loyal", "editor_orders >= 2")
    wait_until(lambda: _total(console, "events.editor_order.count") == 2, "both orders are in the lake")
    # Other tests of this stack asked for the names before, and those are kept for 20 times as long as the answer took.
    wait_until(lambda: "editor_order" in _events(console), "the lake's names are read again", NAMES_S)
    return console


@pytest.fixture(scope="session")
def small_console(defined: RunningStack, shared: ExitStack) -> str:
    """The address of the small console."""
    return shared.enter_context(_small_console_beside(defined))


@contextmanager
def _small_console_beside(defined: RunningStack) -> Iterator[str]:
    port = free_port()
    arguments = [defined.stack.api_url, str(port), BASE_PATH]
    process = subprocess.Popen([sys.executable, "-m", "tests.dashboard.editor.small_console", *arguments])
    url = f"http://127.0.0.1:{port}{BASE_PATH}"
    try:
        wait_until(lambda: _answers(f"{url}/sign-in"), "the small console answers")
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def open_page(small_console: str, defined: RunningStack, page: Page) -> Open:
    """Opens the page with an expression, signed in: `open_page(kind=…, text=…)`."""

    def open_page(**query: str) -> Page:
        page.goto(f"{small_console}/?{urlencode(query)}")
        page.get_by_label("Key").fill(defined.keys["admin"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("runs 1", exact=True)).to_be_visible(timeout=30_000)
        return page

    return open_page


def _total(console: RunningStack, expression: str) -> int:
    body = {"type": "trait", "expression": f"{expression} >= 1"}
    count: int = console.call("POST", "/v1/admin/preview", json=body).json()["count"]
    return count


def _events(console: RunningStack) -> set[str]:
    return {event["name"] for event in console.call("GET", "/v1/admin/vocabulary").json()["events"]}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.TransportError:
        return False
