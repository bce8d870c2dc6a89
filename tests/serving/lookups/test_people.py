"""The search of the lake: a person is found whole by any of their ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.users import users_having
from lake.schemas import EVENTS
from serving.definitions.catalogue import encode
from serving.history import Source
from serving.ids import ID_KINDS, shard_of
from serving.lookups import people
from serving.lookups.totals import sizes
from serving.lookups.unsaved_expressions import preview
from tests.pipelines.test_deletes import delete
from tests.pipelines.world import World


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """Two people: one with a device that is linked to them, and one without."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.ingest(
        [
            {"type": "track", "event": "seen", "messageId": "1", "deviceId": "Tablet-7"},
            {"type": "track", "event": "seen", "messageId": "2", "userId": "ada"},
            {"type": "identify", "messageId": "3", "userId": "ada", "deviceId": "Tablet-7"},
            {"type": "track", "event": "seen", "messageId": "4", "userId": "bob"},
        ]
    )
    world.drain().step()
    return world


def source(world: World) -> Source:
    """Where questions read now."""
    return Source(world.lake.root, world.store.undrained_deletes())


def search(world: World, text: str, limit: int = 50, offset: int = 0) -> dict[str, Any]:
    """A page of people."""
    return people.search(source(world), text, limit, offset)


@pytest.mark.parametrize("text", ["tablet", "anon:tab", "ad", "user:ad"])
def test_a_person_is_found_whole_by_any_of_their_ids(world: World, text: str) -> None:
    """A search for one id gives the person with all ids and the events of all."""
    (ada,) = search(world, text)["users"]

    assert ada["id"] == "user:ada"
    assert ada["aliases"] == [{"kind": "externalId", "value": "ada"}, {"kind": "deviceId", "value": "Tablet-7"}]
    assert ada["eventCount"] == 2
    assert ada["created_at"] == search(world, "", limit=1, offset=1)["users"][0]["created_at"]


def test_no_id_that_matches_is_passed_over() -> None:
    """What is looked at first is true of every id that matches, whatever letters are in it, large or small."""
    letters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000 and chr(code).lower() != chr(code)]
    ids = pl.DataFrame({"id": [f"{kind}:x{letter}Z" for kind in ID_KINDS for letter in [*letters, "1", ".", "ß"]]})

    for text in (*"abcdefghijklmnopqrstuvwxyz", "xk", "user:x", "user:", "er:", "1z", ".z", "ä", "ß", "ßz", "xäz"):
        looked_at = ids.filter(people._may_match(text))
        assert ids.filter(people._matches(text)).join(looked_at, on="id", how="anti").is_empty(), text


def test_a_search_that_finds_nobody_is_an_empty_page(world: World) -> None:
    """A search that matches nobody, and a page behind the last one, are empty."""
    assert search(world, "nobody") == {"users": [], "total": 0, "hasMore": False}
    assert search(world, "", offset=2) == {"users": [], "total": 2, "hasMore": False}
    assert search(world, "user:da") == {"users": [], "total": 0, "hasMore": False}


def test_repeats_are_no_events_of_a_person(world: World) -> None:
    """An event that the lake has twice, as after an import of the same history, counts once."""
    imported = world.lake.scan(EVENTS).filter(pl.col("event_id") == "2").with_columns(pl.lit(None).alias("seq"))
    world.lake.append(EVENTS, imported.select(EVENTS.columns.names).collect().to_arrow().cast(EVENTS.columns))

    assert len(world.lake.events().filter(pl.col("event_id") == "2").collect()) == 2
    assert search(world, "ada")["users"][0]["eventCount"] == 2


@pytest.mark.parametrize("drained", ["not at all", "in part"])
def test_nobody_who_was_deleted_is_in_an_answer_while_the_drain_is_behind(world: World, drained: str) -> None:
    """Search, detail, data, totals, previews and `tinycdp users` leave out what deletes cover that are in the
    log alone, of all ids or of some. Once they are drained they are kept nowhere else. Later events count."""
    world.define("segment", {"seen": "events.seen.count >= 1"})
    world.rebuild()
    now_ms = world.store.now_ms() + 1
    assert users_having(world.store, world.lake, "seen", now_ms) == ["ada", "bob"]
    ids = list(delete(world, "user:ada"))
    if drained == "in part":
        world.drain(rows_max=4).step()

    assert [user["id"] for user in search(world, "")["users"]] == ["user:bob"]
    assert search(world, "tablet")["total"] == search(world, "ada")["total"] == 0
    shards = sorted({shard_of(id, world.store.shards) for id in ids})
    assert people.detail(source(world), ids, shards, now_ms) is None
    nothing = {"attributes": {}, "events": b"[]", "total": 0, "hasMore": False}
    assert people.data(source(world), ids, shards, 10, 0) == nothing
    fresh = sizes(source(world), now_ms, fresh_rows_max=1_000)["fresh"]
    assert (fresh["users"], fresh["events"]) == (1, 1)
    page = preview(source(world), encode(world.catalogue), "segment", "events.seen.count >= 1", now_ms, 10)
    assert page["sample"] == [{"id": "user:bob", "value": True}]
    assert (page["count"], page["total"]) == (1, 1)
    assert users_having(world.store, world.lake, "seen", now_ms) == ["bob"]
    world.ingest([{"type": "track", "event": "seen", "messageId": "5", "userId": "ada"}])
    while world.drain().step().rows:
        pass
    assert world.store.undrained_deletes() == []
    assert search(world, "ada")["users"][0]["eventCount"] == 1
    assert search(world, "tablet")["total"] == 0
