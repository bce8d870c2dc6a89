"""Which names the lake has: from a bounded number of its rows, the newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from expressions.definitions import Definition
from expressions.text.bind import bind_one
from serving.lookups import vocabulary as questions
from serving.lookups.vocabulary import property_values, vocabulary
from serving.lookups.warnings import are_seen
from tests.pipelines.world import World
from tests.serving.lookups.test_people import source

NOW_MS = 1_772_366_400_000


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A lake of three drains: an old event, a newer one, the newest."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    for number, (event, properties) in enumerate(
        [("old", {"a": 1}), ("newer", {"b": "x"}), ("newest", {"c": True}), ("newest", {"c": None, "d": [1]})]
    ):
        world.ingest(
            [{"type": "track", "event": event, "messageId": f"{number}", "userId": "ada", "properties": properties}]
        )
        world.drain().step()
    return world


def properties(world: World) -> dict[str, dict[str, list[str]]]:
    """Event -> property -> kinds."""
    answer = vocabulary(source(world), NOW_MS)
    return {event["name"]: {one["name"]: one["kinds"] for one in event["properties"]} for event in answer["events"]}


def test_every_event_has_its_properties(world: World) -> None:
    """All rows are read while there are few."""
    assert properties(world) == {
        "newest": {"c": ["boolean"], "d": ["list"]},
        "newer": {"b": ["string"]},
        "old": {"a": ["number"]},
    }


def test_of_many_rows_the_newest_are_read_and_some_of_each_other_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that no new row has is looked for by its name; so are so many events, and no more."""
    monkeypatch.setattr(questions, "ROWS_MAX", 2)
    monkeypatch.setattr(questions, "OLD_EVENTS_MAX", 1)

    answer = vocabulary(source(world), NOW_MS)

    assert answer["rows"] == 2
    assert properties(world) == {"newest": {"c": ["boolean"], "d": ["list"]}, "newer": {"b": ["string"]}, "old": {}}


def test_names_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent events are named, and the others counted; so many properties of all."""
    monkeypatch.setattr(questions, "EVENTS_MAX", 2)
    monkeypatch.setattr(questions, "ALL_PROPERTIES_MAX", 1)

    answer: dict[str, Any] = vocabulary(source(world), NOW_MS)

    assert [event["name"] for event in answer["events"]] == ["newest", "newer"]
    assert answer["eventsLeftOut"] == 1
    assert sum(len(event["properties"]) for event in answer["events"]) == 1


def test_names_in_the_vocabulary_are_known_to_be_seen(world: World) -> None:
    """What it has need not be looked for; what it lacks may have been seen all the same."""
    seen = vocabulary(source(world), NOW_MS)

    def are_all_seen(expression: str) -> bool:
        return are_seen(bind_one(Definition("segment", "asked", expression), {}), seen)

    assert are_all_seen("events.newer.b.first == 'x' && events.old.count > 1")
    assert not are_all_seen("events.newer.a.first == 'x'")
    assert not are_all_seen("events.never.count > 1")
    assert not are_all_seen("profile.plan == 'pro'")


def test_an_empty_lake_has_no_names(redis_url: str, tmp_path: Path) -> None:
    """Nor examples."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()

    answer = vocabulary(source(world), NOW_MS)

    assert (answer["events"], answer["attributes"], answer["rows"]) == ([], [], 0)
    assert property_values(source(world), "a", "b") == {"rows": 0, "values": []}
