"""Screens without a browser, as a person with a key sees them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
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


def opened(console: RunningStack, page: Page, path: str) -> Page:
    """The tab at a path, once it is drawn."""
    page.goto(f"{console.stack.console_url}{path}")
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    return page
