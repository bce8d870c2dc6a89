"""A stack with its console, and a browser that may reach nothing else, for all tests of the group "console"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.chromium import chromium_path
from tests.dashboard.screens import Screens
from tests.running import RunningStack, stack_on

#: A machine under load draws a screen within this.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory, shared: ExitStack) -> RunningStack:
    """The whole stack with a console."""
    home = tmp_path_factory.mktemp("console")
    return shared.enter_context(stack_on(home, with_console=True, console_port="0", drain_interval_s="0.2"))


@pytest.fixture
def screens(console: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screens]:
    """Screens without a browser."""
    found = Screens(console, monkeypatch)
    yield found
    found.console.keyring.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window.

    Playwright runs an event loop in this thread as long as it is open: no other test of the process may run one then.
    """
    found = chromium_path("the console")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab with cookies of its own. The test fails if it asks another machine for anything."""
    outside: list[str] = []

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            outside.append(request.url)

    with browser.new_context(viewport={"width": 1280, "height": 860}) as context:
        context.on("request", note)
        yield context.new_page()
    assert outside == []


@pytest.fixture
def signed_in(console: RunningStack, page: Page) -> Page:
    """A tab of an admin."""
    page.goto(console.json("sign-in")["url"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()
    return page
