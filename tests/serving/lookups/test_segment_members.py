"""Members of a segment: of a small lake those of now, of a large one those of the last rebuild that knew the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from expressions.batch.counting import counted
from expressions.batch.frames import person_answers, users_where
from serving.definitions.catalogue import encode
from serving.history import Source
from serving.lookups.flag_people import flag_people
from serving.lookups.segment_members import segment_members
from serving.times import rfc3339
from tests.pipelines.test_deletes import delete
from tests.pipelines.world import World, purchase

#: Events above which a lake is a large one here: each is one, or none is.
LARGE, SMALL = 0, 10**9


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """Twelve people, of whom each second one bought twice."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.define("segment", {"twice": "orders >= 2", "nobody": "orders > 99"})
    world.ingest(purchase(f"u{user:02}", number) for user in range(12) for number in range(1 + user % 2))
    world.drain().step()
    return world


def members(world: World, key: str = "twice", fresh_rows_max: int = LARGE, **more: Any) -> dict[str, Any] | None:
    """The answer of the lake."""
    source, asked = Source(world.lake.root, world.store.undrained_deletes()), {"after": None, "limit": 100, **more}
    text, now_ms = encode(world.catalogue), world.store.now_ms()
    return segment_members(source, text, key, now_ms, asked["after"], asked["limit"], fresh_rows_max)


def ids(found: dict[str, Any] | None) -> list[str]:
    """Those on a page."""
    assert found is not None
    return [member["id"] for member in found["members"]]


def test_a_large_lake_answers_as_its_last_rebuild_did(world: World) -> None:
    """By id and page by page, with the age; whoever came since is a member from the next rebuild on."""
    run = world.rebuild()
    world.ingest([purchase("u00", 1)])
    world.drain().step()

    first = members(world, limit=4)
    second = members(world, limit=4, after=ids(first)[-1])

    bounds, events = [world.catalogue.bounds["segment", "twice"]], counted(world.lake.events())
    now = users_where(person_answers(events, bounds, world.store.now_ms()), ("segment", "twice"))["id"].to_list()
    assert ids(first) + ids(second) == [f"user:u{user:02}" for user in range(1, 12, 2)]
    assert first is not None and second is not None
    assert (first["count"], first["total"], first["asof"]) == (6, 12, rfc3339(run.as_of_ms))
    assert {one["since"] for one in first["members"]} == {rfc3339(run.as_of_ms)}
    assert (first["next"], second["next"]) == (ids(first)[-1], None)
    assert ids(members(world, fresh_rows_max=SMALL)) == now == ["user:u00", *ids(first), *ids(second)]
    world.rebuild()
    assert ids(members(world)) == now


def test_nobody_in_a_segment_is_an_answer_too(world: World) -> None:
    """Of a rule that holds for nobody, with the age of that."""
    run = world.rebuild()

    found = members(world, "nobody")

    assert found is not None
    assert (found["count"], found["total"], found["members"], found["asof"]) == (0, 12, [], rfc3339(run.as_of_ms))


def test_where_the_last_rebuild_knew_another_rule_there_is_no_answer(world: World) -> None:
    """Before the first one, and once the rule, or a trait that it refers to, was saved anew. Another trait is nothing
    to it.
    """
    assert members(world) is None
    world.rebuild()
    world.define("trait", {"other": "events.purchase.count_7d"})
    assert members(world) is not None
    world.define("trait", {"orders": "events.purchase.count_30d"})
    assert members(world) is None
    world.rebuild()
    assert members(world) is not None
    world.define("segment", {"twice": "orders >= 1"})
    assert members(world) is None
    world.rebuild()
    assert len(ids(members(world))) == 12


def test_whoever_was_deleted_since_is_no_member(world: World) -> None:
    """Drained or not."""
    world.rebuild()

    delete(world, "user:u01")

    assert ids(members(world)) == [f"user:u{user:02}" for user in range(3, 12, 2)]
    world.drain().step()
    assert ids(members(world)) == [f"user:u{user:02}" for user in range(3, 12, 2)]


def test_whom_a_flag_allows_is_not_said_at_once_of_a_large_lake(world: World) -> None:
    """It is an analysis there."""
    world.define("flag", {"offer": 'segment("twice")'})
    asked = (Source(world.lake.root), encode(world.catalogue), "offer", None, world.store.now_ms(), 10, 0)

    assert flag_people(*asked, LARGE) is None
    small = flag_people(*asked, SMALL)

    assert small is not None
    assert (small["count"], small["total"]) == (6, 12)
