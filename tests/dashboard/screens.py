"""Screens without a browser, as a person with a key sees them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from dashboard import access
from dashboard.console import Console, set_console
from dashboard.server import SCRIPT
from tests.running import RunningStack


class Screens:
    """Opens screens of the console of one API; `close` ends all sign-ins."""

    def __init__(self, stack: RunningStack, patch: pytest.MonkeyPatch) -> None:
        self.console, self._keys, self._patch = Console(stack.stack.api_url), stack.keys, patch
        set_console(self.console)

    def open(self, path: str = "", *, key: str | None = None, **query: str) -> AppTest:
        """A screen after its first run, as a person with a key (an admin's, if none is given) sees it.

        `query`: what stands in the address; `key_` is the `key` there.
        """
        self.cookie = self.console.keyring.sign_in(key or self._keys["admin"])
        app = self.as_person(self.cookie)
        app.query_params.update({name.rstrip("_"): value for name, value in query.items()})
        if path:
            app._page_hash = calc_hash(path)  # `switch_page` takes only screens that are files of their own
        app.run()
        assert not app.exception
        return app

    def as_person(self, cookie: str | None) -> AppTest:
        """A tab of a browser with a cookie, which opened nothing yet. It is the only one from now on."""
        self.become(cookie)
        return AppTest.from_file(str(SCRIPT), default_timeout=30)

    def become(self, cookie: str | None) -> None:
        """The browser of every tab has this cookie from now on."""
        self._patch.setattr(access, "cookie", lambda: cookie)


def texts(app: AppTest) -> str:
    """All that is written on a screen."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.error, app.warning, app.info, app.success)
    return "\n".join(str(element.value) for elements in kinds for element in elements)


#: Whether the script ran to its end, every part is loaded, no animation with an end goes on, and no button has moved
#: for ten frames. A press that begins on a button and ends beside it, since something above it came late, is none.
SETTLED = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  const places = [...document.querySelectorAll('button, summary, [role="dialog"]')].map((one) => {
    const box = one.getBoundingClientRect();
    return [box.x, box.y, box.width, box.height].map(Math.round).join(" ");
  }).join();
  const isAtRest = app?.dataset.testScriptState === "notRunning" && app.dataset.testConnectionState === "CONNECTED"
    && !document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]')
    && !document.getAnimations().some((one) =>
      one.playState === "running" && one.effect?.getComputedTiming().endTime !== Infinity);
  const last = window.consoleAtRest;
  const frames = isAtRest && last?.places === places ? last.frames + 1 : 0;
  window.consoleAtRest = { places, frames };
  return frames >= 10;
}"""


def settled(page: Page) -> Page:
    """The tab, once nothing on its screen is about to move."""
    page.wait_for_function(SETTLED, polling="raf", timeout=30_000)
    return page


def press(button: Locator) -> None:
    """Presses a button of a screen or a dialog that is settled."""
    expect(button).to_be_visible()
    settled(button.page)
    button.click()


def opened_dialog(button: Locator) -> Locator:
    """The dialog that a button opens, by one press."""
    press(button)
    dialog = button.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def opened(console: RunningStack, page: Page, path: str) -> Page:
    """The tab at a path, once it is drawn."""
    page.goto(f"{console.stack.console_url}{path}")
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    return page
