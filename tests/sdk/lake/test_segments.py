"""Segments in a notebook: their trend and overlap are those that the console shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tinycdp._lake.client import LakeClient

from expressions.batch.counting import counted
from expressions.batch.frames import person_answers, users_where
from expressions.definitions import Key
from expressions.rules.windows import DAY_MS, HOUR_MS
from lake.lake import Lake
from tests.executions import bound
from tests.history import Event
from tests.sdk.lake.rows import define, write

START = 1_761_350_400_000  # 25 October 2025, 00:00 UTC; clocks go back in Berlin on the 26th
RULES = {"active": "events.x.count_7d >= 2", "new": "first_seen_days_ago < 5", "all": "true"}


def history() -> list[tuple[str, Event]]:
    """Visits of some people and their devices over some days."""
    rows = []
    for number in range(60):
        now = START - number * 9 * HOUR_MS
        rows.append((f"user:u{number % 7}", Event("track", "x", now, {}, f"e{number}", now)))
        rows.append((f"anon:d{number % 5}", Event("track", "x", now - 1, {}, f"f{number}", now)))
    return [*rows, *((f"anon:d{n}", Event("link", f"user:u{n}", START, {}, f"l{n}", START)) for n in range(3))]


@pytest.fixture
def cdp(tmp_path: Path, request: pytest.FixtureRequest) -> LakeClient:
    """A client of a lake in Berlin, at noon of the day after clocks went back; a few rows in memory at a time."""
    lake = Lake(str(tmp_path / "lake"))
    write(lake, history())
    define(lake, "segment", RULES)
    lake.fix({"time_zone": "Europe/Berlin"})
    return LakeClient(lake.root, received_until=START + 60 * HOUR_MS, rows_at_once=getattr(request, "param", 10**9))


def members(cdp: LakeClient, rule: str, at_ms: int) -> set[str]:
    """Who is in it, by everybody's answers at one instant."""
    key: Key = ("segment", "asked")
    bounds = bound((*key, RULES.get(rule, rule)))
    answers = person_answers(counted(Lake(cdp.uri).events()), [bounds[key]], at_ms, cdp._zone)
    return set(users_where(answers, key)["id"])


@pytest.mark.parametrize("cdp", [10**9, 20], indirect=True)
@pytest.mark.parametrize("rule", ["active", "events.x.count_3d > 1"])
def test_a_trend_has_a_row_a_day_up_to_now(cdp: LakeClient, rule: str) -> None:
    """Each is what a question about that instant answers. Days end at the workspace's midnight, the last one is now."""
    trend = cdp.segment(rule).trend(days=5)

    at = [int(moment.timestamp() * 1_000) for moment in trend["at"]]
    assert trend["members"].to_list() == [len(members(cdp, rule, now)) for now in at]
    assert [str(day) for day in trend["date"]] == [f"2025-10-{day}" for day in range(23, 28)]
    assert at[3] - at[2] == 25 * HOUR_MS and at[-1] == START + 60 * HOUR_MS
    assert trend["people"].to_list() == [9] * 5
    assert trend.card["definitions"][rule]["expression"] == RULES.get(rule, rule)


@pytest.mark.parametrize("cdp", [10**9, 20], indirect=True)
def test_an_overlap_counts_who_is_in_both(cdp: LakeClient) -> None:
    """All other saved segments by default, or any rules; the most in common first."""
    own = members(cdp, "active", START + 60 * HOUR_MS)

    saved = cdp.segment("active").overlap()
    rules = cdp.segment("active").overlap(["new", "events.x.count_30d > 9", "active"])

    for found in (saved, rules):
        for key, count, both in found.frame.iter_rows():
            other = members(cdp, key, START + 60 * HOUR_MS)
            assert (count, both) == (len(other), len(own & other)), key
        assert (found.card["members"], found.card["people"]) == (len(own), 9)
    assert saved["segment"].to_list() == ["all", "new"]
    assert set(rules["segment"]) == {"new", "events.x.count_30d > 9", "active"}


def test_members_are_those_of_an_instant(cdp: LakeClient) -> None:
    """Sorted, by default of now; a saved key and its rule have the same."""
    at = datetime.fromtimestamp(START / 1_000 - 86_400, UTC)

    found = cdp.segment("active").members(at=at)

    assert found["id"].to_list() == sorted(members(cdp, "active", START - DAY_MS))
    assert found.frame.equals(cdp.segment(RULES["active"]).members(at=at).frame)
    assert set(cdp.segment("active").members()["id"]) == members(cdp, "active", START + 60 * HOUR_MS)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda cdp: cdp.segment("events.x.count"), "rule"),
        (lambda cdp: cdp.segment("actve"), "no trait actve.*did you mean active"),
        (lambda cdp: cdp.segment("active").overlap(["nw"]), "no trait nw.*did you mean new"),
        (lambda cdp: cdp.segment("active").trend(days=0), "days 0"),
        (lambda cdp: cdp.segment("active").trend(days=10**7), "days 10000000: give a whole number from 1 to"),
        (lambda cdp: cdp.segment("active").overlap("new"), "others 'new': give a list"),
    ],
)
def test_what_is_no_segment_is_refused(cdp: LakeClient, call: Any, text: str) -> None:
    """A number is no rule, a key that nobody saved is named."""
    with pytest.raises(ValueError, match=f"(?s){text}"):
        call(cdp)
