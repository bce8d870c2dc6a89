"""How much there is: the admin's metrics against counts by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from expressions.rules.identity import LINK_KINDS
from lake.lake import Lake
from serving.history import Source
from serving.lookups.totals import sizes
from tests.pipelines.world import World, purchase
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

FIELDS = {
    "users": {"total", "activeLastDay", "activeLastWeek", "activeLastMonth"},
    "events": {"total", "lastDay", "lastWeek", "lastMonth", "topEventTypes"},
    "traits": {"definitionCount", "computedCount", "topTraits"},
    "segments": {"definitionCount", "computedCount", "topSegments"},
    "flags": {"definitionCount"},
    "database": {"size", "tables"},
}
TABLES = [
    "api_keys",
    "events",
    "flags",
    "segment_defs",
    "trait_defs",
    "user_aliases",
    "user_segments",
    "user_traits",
    "users",
]


def metrics(stack: RunningStack) -> dict[str, Any]:
    """The numbers of the admin's metrics."""
    answer = stack.call("GET", "/v1/admin/metrics")
    assert answer.status_code == 200, answer.text
    numbers: dict[str, Any] = answer.json()["metrics"]
    return numbers


def test_every_number_of_the_original_is_there(stack: RunningStack) -> None:
    """The names of numbers and tables are the original's; a read key is refused."""
    numbers = metrics(stack)

    assert {name: set(numbers[name]) for name in FIELDS} == FIELDS
    assert [table["name"] for table in numbers["database"]["tables"]] == TABLES
    assert numbers["database"]["size"] > 0
    assert stack.call("GET", "/v1/admin/metrics", "read").status_code == 403


@pytest.mark.deep
def test_new_events_people_and_memberships_are_counted(stack: RunningStack) -> None:
    """Two events of a new person are in the totals soon, their trait and segment after the next rebuild."""
    stack.define("trait", "totalled", "events.totalled.count")
    stack.define("segment", "totalled_or_not", "totalled >= 0")  # of all, as only the largest are shown
    before = metrics(stack)
    for _ in range(2):
        stack.track("totalled", "totalled")
    after = wait_until(lambda: _grown(before, metrics(stack)), "the events are counted")
    assert after["users"]["activeLastDay"] > before["users"]["activeLastDay"]

    def is_counted() -> bool:
        stack.json("rebuild")  # again where somebody came meanwhile: pages of other tests may send late
        count = stack.json("users", "totalled_or_not", "--count")["count"]
        shown = {segment["key"]: segment["userCount"] for segment in metrics(stack)["segments"]["topSegments"]}
        return shown.get("totalled_or_not") == count > 0

    wait_until(is_counted, "the membership is counted")
    assert stack.call("DELETE", "/v1/admin/segments/totalled_or_not").status_code == 200  # we all are in it


def _grown(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
    return now if now["events"]["lastDay"] >= before["events"]["lastDay"] + 2 else None


def test_a_rebuild_leaves_what_a_small_lake_is_counted_to(tmp_path: Path, redis_url: str) -> None:
    """The numbers that a rebuild writes down are those of a count of the lake's rows by plain loops."""
    world = World(redis_url, tmp_path)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.define("segment", {"buyers": "orders >= 2"})
    old = {"timestamp": "2020-01-01T00:00:00Z"}
    world.ingest(
        [
            *(purchase("ada", n) for n in range(3)),
            purchase("bob", 1, anonymousId="device-1", **old),
            {"type": "page", "anonymousId": "device-1", "messageId": "p", "name": "Home"},
            {"type": "identify", "userId": "carol", "traits": {"plan": "free"}},
        ]
    )
    world.drain().step()
    run = world.rebuild()
    text, _ = world.store.totals()
    fresh = sizes(Source(str(tmp_path / "lake")), run.as_of_ms, fresh_rows_max=1_000)["fresh"]

    assert text is not None
    kept = msgspec.json.decode(text)
    assert kept["traits"] == {"orders": 3}
    assert kept["segments"] == {"buyers": 1}
    assert {name: kept[name] for name in fresh} == fresh
    assert (kept["users"], kept["ids"], kept["events"]) == (3, 4, 5)
    assert kept["active"] == {"day": 2, "week": 2, "month": 2}
    assert kept["recent"] == {"day": 4, "week": 4, "month": 4}
    assert kept["names"] == [["purchase", 3], ["Page Viewed", 1]]


def test_a_large_lake_is_not_scanned(tmp_path: Path, redis_url: str) -> None:
    """Beyond the bound only the tables' logs are read: row counts are right though no file can be read.

    D-32: each look took 17 exact counts.
    """
    world = World(redis_url, tmp_path)
    world.recover()
    world.ingest([purchase("ada", n) for n in range(3)])
    world.drain().step()
    lake = Lake(str(tmp_path / "lake"))
    rows = lake.events().filter(~pl.col("kind").is_in(LINK_KINDS)).collect().height
    for file in (tmp_path / "lake" / "events").rglob("*.parquet"):
        file.write_bytes(b"nothing")

    size = sizes(Source(str(tmp_path / "lake")), 0, fresh_rows_max=0)

    assert (size["rows"]["events"], size["fresh"]) == (rows, None)
