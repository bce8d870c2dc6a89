"""The console behind a proxy, below a path: pages, deep links and websockets pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from cli.ports import free_port
from tests.dashboard.proxy import proxy
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


@pytest.fixture
def below_a_path(console: RunningStack) -> Iterator[str]:
    """The address of a console that runs alone below /cdp, by way of a proxy."""
    port = free_port()
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(console.settings.home),
        "TINYCDP_URL": console.stack.api_url,
        "TINYCDP_CONSOLE_PORT": str(port),
        "TINYCDP_CONSOLE_PATH": "/cdp",
    }
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "console"], env=environment)
    try:
        wait_until(lambda: _is_well(f"http://127.0.0.1:{port}/cdp/_stcore/health"), "the console answers", 60)
        with proxy(port) as reached:
            yield f"http://127.0.0.1:{reached}/cdp"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.deep
def test_screens_work_below_a_path(console: RunningStack, below_a_path: str, page: Page) -> None:
    """A deep link leads through the sign-in to its screen, which asks the API over the websocket; links stay below."""
    console.define("trait", "below", "events.below.count_30d")
    page.goto(f"{below_a_path}/traits?key=below")
    page.get_by_label("Key").fill(console.keys["admin"])
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="below")).to_be_visible()
    assert page.url == f"{below_a_path}/traits?key=below"
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert page.url == f"{below_a_path}/settings"
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"].startswith("tinycdp_console")]
    assert cookie["path"] == "/cdp"
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()


def test_a_websocket_of_another_origin_is_refused(below_a_path: str) -> None:
    """As a page of others would open it."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Origin": "http://elsewhere.example",
    }
    answer = httpx.get(f"{below_a_path}/_stcore/stream", headers=headers)

    assert answer.status_code == 403


def _is_well(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
