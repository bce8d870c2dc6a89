"""The audit log on its screen: what is sought, and which entry is open."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def test_the_address_has_what_is_sought_and_the_entry_that_is_open(console: RunningStack, screens: Screens) -> None:
    """A link shows the same: the entries of a key, and one of them whole, also beside a filter that leaves it out."""
    console.define("segment", "au_sought", "events.au.count >= 1", note="for the link")
    console.define("segment", "au_other", "events.au.count >= 2")
    (entry,) = console.call("GET", "/v1/admin/audit", params={"key": "au_sought"}).json()["entries"]
    opened = f"{entry['at']} create segment au_sought"

    found = screens.open("audit", of="segment", about="au_sought", entry=opened)
    beside = screens.open("audit", about="au_other", entry=opened)
    nothing = screens.open("audit", who="nobody of this name", entry="yesterday create segment au_sought")

    assert keys(found) == ["au_sought"]
    assert keys(beside) == ["au_other"]
    assert "for the link" in texts(found)
    assert "for the link" in texts(beside)
    assert "Nothing matches" in texts(nothing)
    assert [error.value for error in nothing.error] == []


def keys(app: AppTest) -> list[str]:
    """The keys of the entries that are listed."""
    return list(app.dataframe[0].value["key"])
