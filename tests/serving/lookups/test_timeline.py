"""A person's timeline: every event once, newest first, drained or not, in exact pages while new ones come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.history import Source
from serving.ids import shard_of
from serving.lookups import timeline
from serving.lookups.timeline import Place
from tests.pipelines.test_deletes import delete
from tests.pipelines.world import World

HOUR_MS = 3_600_000
#: The first events are of then.
BEGIN_MS = 1_767_225_600_000


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A recovered system of a few shards."""
    made = World(redis_url, tmp_path, shards=4)
    made.recover()
    return made


def event(number: int, user: str = "ada", name: str = "seen", **more: Any) -> dict[str, Any]:
    """An event of the hour of this number."""
    at_ms = BEGIN_MS + number * HOUR_MS
    return {
        "type": "track",
        "event": name,
        "messageId": f"{name}-{number}",
        "userId": user,
        "timestamp": timeline.rfc3339(at_ms),
        "properties": {"number": number},
        **more,
    }


def page(
    world: World,
    *ids: str,
    limit: int = 100,
    before: Place | None = None,
    name: str | None = None,
    period: tuple[int | None, int | None] = (None, None),
) -> dict[str, Any]:
    """A page of what these ids have, as the API asks for it."""
    more, is_complete = timeline.undrained(world.store, ids)
    assert is_complete
    source = Source(world.lake.root, world.store.undrained_deletes())
    shards = sorted({shard_of(id, world.store.shards) for id in ids})
    return timeline.timeline(source, list(ids), shards, more, period, name, before, limit)


def numbers(found: dict[str, Any]) -> list[int]:
    """The numbers of a page's events."""
    return [event["properties"]["number"] for event in found["events"]]


def test_drained_and_undrained_events_are_one_timeline(world: World) -> None:
    """All are there once, with properties, by time; also those that the drain commits between two looks."""
    world.ingest([event(1), event(4), event(2, "bob")])
    world.drain().step()
    world.ingest([event(3), event(5, name="bought", anonymousId="d-1"), event(6, "bob")])
    world.ingest([event(1)])  # a repeat of a drained one

    for _ in range(2):
        found = page(world, "user:ada", "anon:d-1")
        assert numbers(found) == [5, 4, 3, 1]
        assert found["next"] is None
        assert (found["events"][0]["name"], found["events"][0]["id"]) == ("bought", "user:ada")
        world.drain().step()


def test_a_log_that_the_lake_has_already_shows_nothing_twice(world: World) -> None:
    """Events that are read from the log, and then from a lake that got them meanwhile, are there once."""
    world.ingest([event(1), event(2)])
    more, _ = timeline.undrained(world.store, ["user:ada"])
    assert len(more) == 2
    world.drain().step()

    shards = [shard_of("user:ada", world.store.shards)]
    found = timeline.timeline(Source(world.lake.root), ["user:ada"], shards, more, (None, None), None, None, 10)
    assert numbers(found) == [2, 1]


def test_pages_are_exact_while_new_events_come(world: World) -> None:
    """New, late and drained events between two pages: each event that was there is on exactly one page."""
    world.ingest([event(number) for number in range(0, 20, 2)])
    world.ingest([event(20, name=name) for name in ("b", "a", "c")])  # of one time, and of one receipt
    seen: list[str] = []
    before: Place | None = None
    for turn in range(100):
        found = page(world, "user:ada", limit=2, before=before)
        seen += [event["eventId"] for event in found["events"]]
        before = found["next"]
        if before is None:
            break
        world.ingest([event(30 + turn)])
        if turn % 2:
            world.drain().step()

    assert seen == ["c-20", "b-20", "a-20", *(f"seen-{number}" for number in range(18, -1, -2))]


@pytest.mark.parametrize("is_drained", [False, True])
def test_a_period_and_a_name_choose(world: World, is_drained: bool) -> None:
    """From its first instant up to before its last; of one name alone."""
    world.ingest([event(number) for number in range(5)] + [event(2, name="bought")])
    if is_drained:
        world.drain().step()

    inside = (BEGIN_MS + HOUR_MS, BEGIN_MS + 3 * HOUR_MS)
    assert numbers(page(world, "user:ada", period=inside)) == [2, 2, 1]
    assert numbers(page(world, "user:ada", period=inside, name="seen")) == [2, 1]
    assert numbers(page(world, "user:ada", period=(inside[1], None))) == [4, 3]
    nothing = page(world, "user:ada", name="never")
    assert (nothing["events"], nothing["any"]) == ([], True)


def test_what_was_deleted_is_gone_before_the_drain_knows(world: World) -> None:
    """Events before the delete are on no page, drained or not; what comes after it is."""
    world.ingest([event(1)])
    world.drain().step()
    world.ingest([event(2)])
    delete(world, "user:ada")
    assert page(world, "user:ada")["any"] is False
    world.ingest([event(3)])

    assert numbers(page(world, "user:ada")) == [3]
    world.drain().step()
    assert numbers(page(world, "user:ada")) == [3]


def test_a_drain_that_is_far_behind_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the newest entries are looked at, and the answer says that it is not complete."""
    monkeypatch.setattr(timeline, "LOOKED_AT_MAX", 3)
    world.ingest([event(number) for number in range(3)])
    assert timeline.undrained(world.store, ["user:ada"])[1]
    world.ingest([event(3)])

    rows, is_complete = timeline.undrained(world.store, ["user:ada"])
    assert ([row.event_id for row in rows], is_complete) == (["seen-1", "seen-2", "seen-3"], False)
