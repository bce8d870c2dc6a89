"""What the console says of how a flag is used."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.flags.activity import stale_text, variant_rows
from dashboard.screens.flags import in_list
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


@pytest.mark.parametrize(("in_bulk", "is_one_to_delete"), [(0, True), (7, False)])
def test_a_flag_that_pages_ask_for_in_bulk_is_not_told_to_be_useless(in_bulk: int, is_one_to_delete: bool) -> None:
    """They name none: whether one of them uses it nobody knows."""
    found: Any = {"inBulk": in_bulk}

    assert ("it may be one to delete" in stale_text(found, 30)) == is_one_to_delete
    assert ("before you delete it" in stale_text(found, 30)) != is_one_to_delete


@pytest.mark.deep
def test_the_share_of_each_variant_is_shown(console: RunningStack, screens: Screens) -> None:
    """Of what apps were answered: three of four got blue."""
    users = {"fa-bob": "blue", "fa-ada": "red"}
    console.define("flag", "fa_shared", "true", variants=[{"name": "red"}, {"name": "blue"}], users=users)
    for user in ("fa-bob", "fa-bob", "fa-bob", "fa-ada"):
        console.decide(user, "fa_shared")

    def noted() -> Any:
        flags = console.call("GET", "/v1/admin/activity/flags").json()["flags"]
        found = next(one for one in flags if one["key"] == "fa_shared")
        return found if found["byName"] == 4 else None

    found = wait_until(noted, "the answers are noted", 60)

    rows = sorted(variant_rows(found), key=lambda row: str(row["variant"]))
    assert rows == [{"variant": "blue · 75.0%", "answers": 3}, {"variant": "red · 25.0%", "answers": 1}]
    app = screens.open("flags", key_="fa_shared", tab="Activity")
    assert "Share per variant" in texts(app)
    assert [one.value for one in app.metric if one.label == "Asked by name"] == ["4"]
    flags = screens.open("flags").dataframe[0].value
    assert flags[flags["key"] == "fa_shared"]["asked"].item() == found["lastAsked"][:10]


def test_a_stale_flag_is_marked_in_the_list() -> None:
    """Beside whether it is on; no flag is that an app names, or of which nothing is known."""
    times = {"starts_at": None, "ends_at": None}
    flag = {"key": "old", "enabled": True, **times, "variants": [], "rollout": 100, "rule": ""}

    stale: Any = {"lastAsked": None, "stale": True}

    assert in_list(flag, stale)["state"] == "on, stale"
    assert in_list({**flag, "enabled": False}, stale)["state"] == "off, stale"
    assert in_list(flag, {**stale, "stale": False})["state"] == "on"
    assert in_list(flag, None)["state"] == "on"
