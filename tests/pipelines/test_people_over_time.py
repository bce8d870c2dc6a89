"""What full rebuilds noted of the sizes of segments and traits, and what is left of it after a year."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.maintain import DAILY_RUN_DAYS, maintain
from serving.history import History
from tests.pipelines.world import World, purchase

DAY_MS = 86_400_000


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A recovered system with a trait, a segment that people are in, and one that nobody is in."""
    made = World(redis_url, tmp_path, shards=4)
    made.recover()
    made.define("trait", {"last_amount": "events.purchase.amount.last"})
    made.define("segment", {"buyers": "events.purchase.count >= 2", "nobody": "events.purchase.count > 99"})
    return made


def test_each_full_rebuild_notes_how_many_people_there_are(world: World) -> None:
    """By segment and trait, zeros too; a rebuild of one id or as of a time notes nothing. It outlives Redis."""
    world.rebuild()
    world.ingest([purchase(user, at, properties={"amount": at}) for user, at in (("ada", 1), ("ada", 2), ("bob", 3))])
    world.drain().step()
    world.rebuild(["user:ada"])
    world.rebuild()

    since_ms = world.store.now_ms() - DAY_MS
    history = History(world.lake.root)
    *_, before, after = [numbers for _, numbers in history.people_over_time(since_ms, since_ms + 2 * DAY_MS, 10**8)]
    assert before == {"users": 0, "segments": {"buyers": 0, "nobody": 0}, "traits": {"last_amount": 0}}
    assert after == {"users": 2, "segments": {"buyers": 1, "nobody": 0}, "traits": {"last_amount": 2}}
    ((_, last),) = history.people_over_time(since_ms, since_ms + 2 * DAY_MS, 1)
    assert last == after
    assert history.people_over_time(since_ms - DAY_MS, since_ms, 5) == []


def test_of_old_days_the_last_count_stays(world: World) -> None:
    """After a month one row of each day is left, after a year none but those that something needs."""
    row = {"version": 0, "seqs": [0], "kind": "full", "sizes": '{"users":1,"segments":{},"traits":{}}'}
    newest = world.rebuild()
    day_ms = newest.as_of_ms // DAY_MS * DAY_MS
    for days_ago, hour in ((100, 1), (100, 2), (99, 3), (DAILY_RUN_DAYS + 10, 4)):
        at_ms = day_ms - days_ago * DAY_MS + hour * 3_600_000
        world.lake.append_run({**row, "build": at_ms, "as_of": at_ms})

    maintain(world.lake, datetime.fromtimestamp(newest.as_of_ms / 1000, UTC))

    found = History(world.lake.root).people_over_time(day_ms - 500 * DAY_MS, day_ms, 10**6)
    assert [(at_ms - day_ms) / 3_600_000 for at_ms, _ in found] == [-100 * 24 + 2, -99 * 24 + 3]
