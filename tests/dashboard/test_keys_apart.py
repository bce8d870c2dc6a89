"""People with different keys in one process: nobody is shown what another may see."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from dashboard.screens import GROUPS, path_of
from tests.dashboard.screens import Screens, opened, texts
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

PATHS = [path_of(screen) for group in GROUPS.values() for screen in group]


@pytest.fixture(scope="module")
def viewer(console: RunningStack) -> str:
    """A key that sees and changes nothing."""
    made = console.call("POST", "/v1/admin/keys", json={"kind": "viewer", "label": "looks only"}).json()
    return str(made["key"])


def test_what_was_kept_for_one_is_not_shown_to_another(screens: Screens, viewer: str) -> None:
    """In one tab, whose cookie is another person's by now, each answer is asked for anew; and back again."""
    app = screens.open("settings", tab="Versions")
    admin_cookie, viewer_cookie = screens.cookie, screens.console.keyring.sign_in(viewer)
    assert "admin" in _who(app)

    screens.become(viewer_cookie)
    app.run()
    assert _who(app) == "viewer, looks only"

    screens.become(admin_cookie)
    assert "admin" in _who(app.run())


def test_what_one_may_not_see_is_refused_though_another_saw_it(
    console: RunningStack, screens: Screens, viewer: str
) -> None:
    """An admin saw the list of exports; a viewer in the same tab does not."""
    app = screens.open("exports")
    assert "No files" in texts(app) or app.dataframe

    screens.become(screens.console.keyring.sign_in(viewer))
    app.run()

    assert "Exports take an admin's key" in texts(app)
    assert not app.dataframe


@pytest.mark.deep(kept=4)
@pytest.mark.parametrize("path", PATHS)
def test_a_viewer_sees_each_screen_and_can_change_nothing(screens: Screens, viewer: str, path: str) -> None:
    """No error, and no button that would be refused."""
    app = screens.open(path, key=viewer)

    assert [error.value for error in app.error] == []
    assert not [button.label for button in app.button if button.label.startswith(("New", "Export", "Revoke", "Send"))]


@pytest.mark.deep
def test_no_table_gives_its_rows_away(console: RunningStack, signed_in: Page) -> None:
    """Its own download would take no admin's key, and would guard no cell against spreadsheets."""
    page = opened(console, signed_in, "/settings")
    page.get_by_test_id("stDataFrame").first.hover()

    expect(page.get_by_role("button", name="Search")).to_be_visible()
    expect(page.get_by_role("button", name="Download as CSV")).to_have_count(0)


def _who(app: object) -> str:
    """The key that the screen of versions says is in use."""
    (rows,) = app.dataframe  # type: ignore[attr-defined]
    frame = rows.value
    return str(frame[frame["what"] == "Your key"]["is"].iloc[0])
