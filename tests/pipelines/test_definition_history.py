"""The lake's history of definitions has what was in force and nothing else, though savers meet or are killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import redis

from expressions.definitions import Definition, DefinitionKind
from lake.lake import Lake
from lake.schemas import AUDIT, DEFINITIONS
from serving.definitions import saving
from serving.definitions.catalogue import StoredDefinition, decode
from serving.refusals import Conflict, Invalid, Unavailable
from serving.store import keys
from serving.store.scripts.replace_catalogue import UNWRITTEN_BYTES_MAX, UNWRITTEN_MAX
from tests.pipelines.world import World


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with one trait."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"spent": "events.purchase.amount.sum"})
    return world


def rows(world: World) -> list[tuple[str, str, bool]]:
    """The history: key, expression, and whether the row is a delete."""
    return [(row["key"], row["expression"], row.get("deleted", False)) for row in world.lake.definitions()]


def wiped(world: World) -> set[str]:
    """Wipes and recovers Redis; returns the keys that are defined then."""
    redis.Redis.from_url(world.settings.redis_url or "").flushall()
    world.recover()
    return {key for _, key in world.catalogue.definitions}


def after(meanwhile: Callable[[], object]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Settings that are made while something else happens once: after the catalogue was read, before it is replaced."""
    left = [meanwhile]

    def settings(before: dict[str, Any]) -> dict[str, Any]:
        if left:
            left.pop()()
        return before

    return settings


def save(world: World, kind: DefinitionKind, key: str, expression: str, **more: Any) -> None:
    """Saves a definition and dies before its version is written into the lake."""
    saving.save(world.store, world.lake.holds_events, Definition(kind, key, expression), 1, **more)


def delete(world: World, kind: DefinitionKind, key: str) -> None:
    """Deletes one, and dies as early."""
    saving.delete(world.store, world.lake.holds_events, kind, key, 2)


def test_a_save_that_is_refused_in_the_end_leaves_nothing(world: World) -> None:
    """A definition whose trait was deleted just before it came in force is refused. It leaves no row, and a wiped Redis
    recovers."""
    meanwhile = after(lambda: delete(world, "trait", "spent"))
    with pytest.raises(Invalid, match="spent"):
        save(world, "segment", "big", "spent > 10", settings=meanwhile)
    world.write_down()

    assert rows(world) == [
        ("spent", "events.purchase.amount.sum", False),
        ("spent", "events.purchase.amount.sum", True),
    ]
    assert wiped(world) == set()


def test_of_two_who_create_the_same_only_one_is_in_the_history(world: World) -> None:
    """The second is told that it exists, and a wiped Redis comes back with the one that was acknowledged."""
    meanwhile = after(lambda: save(world, "flag", "beta", "spent > 10", must_be="new"))
    with pytest.raises(Conflict, match="beta"):
        save(world, "flag", "beta", "true", must_be="new", settings=meanwhile)
    world.write_down()

    assert rows(world)[1:] == [("beta", "spent > 10", False)]
    assert wiped(world) == {"spent", "beta"}
    assert world.catalogue.definitions["flag", "beta"].expression == "spent > 10"


@pytest.mark.parametrize("then", ["save", "drain", "restart"])
def test_what_a_killed_saver_left_is_written_by_who_comes_next(world: World, then: str) -> None:
    """The next save or the drain writes what a killed saver left, in one commit; a recovery knows it before. It was in
    force and is in the history afterwards, who did it is in the audit log, and a delete stays a delete."""
    save(world, "segment", "big", "spent > 10", action="create", author="ada")
    delete(world, "segment", "big")
    assert rows(world) == [("spent", "events.purchase.amount.sum", False)]

    match then:
        case "save":
            world.define("trait", {"orders": "events.purchase.count"})
        case "drain":
            stop = threading.Event()
            world.drain(lambda step: stop.set()).run(stop)
        case "restart":
            redis.Redis.from_url(world.settings.redis_url or "").delete("ready:{0}", "ready:{1}")
            world.recover()
            assert ("segment", "big") not in world.catalogue.definitions
            world.write_down()

    assert rows(world)[1:3] == [("big", "spent > 10", False), ("big", "spent > 10", True)]
    acts = world.lake.audit().filter(pl.col("key") == "big").select("action", "author", "details").collect().rows()
    assert [act[:2] for act in sorted(acts)] == [("create", "ada"), ("delete", "")]
    assert world.lake.open(DEFINITIONS).version() == world.lake.open(AUDIT).version() == 2
    assert world.store.unwritten() == []
    assert wiped(world) == ({"spent", "orders"} if then == "save" else {"spent"})


def test_a_version_counts_once_however_often_it_is_written(world: World) -> None:
    """Writers who meet, or die between their commit and the queue, write each version once. A number that Redis gave
    out again, after it came back from a backup, is a row of its own."""
    save(world, "segment", "big", "spent > 10")
    queued = [msgspec.to_builtins(saving.change_of(entry)) for entry in world.store.unwritten()]
    others = Lake(world.lake.root)
    others.append_definitions(queued)
    world.write_down()
    others.append_definitions(queued)
    again = {"definition": {**queued[0]["definition"], "key": "small"}, "action": "save"}
    world.lake.append_definitions([*queued, again])

    assert sorted(key for key, *_ in rows(world)) == ["big", "small", "spent"]
    assert sorted(world.lake.audit().collect()["key"]) == ["big", "small", "spent"]


def test_writers_who_take_turns_write_each_version_once(world: World) -> None:
    """Each knows how far the history was when it wrote last, and learns the rest from what the others wrote since: they
    write what was queued when they looked, and all that the one before them has written with it."""
    writers = [world.lake, Lake(world.lake.root), Lake(world.lake.root)]
    for turn in range(9):
        save(world, "segment", f"s{turn}", f"spent > {turn}")
        waiting = [msgspec.to_builtins(saving.change_of(entry)) for entry in world.store.unwritten()]
        assert len(waiting) == turn + 1
        writers[turn % 3].append_definitions(waiting)
        writers[(turn + 1) % 3].append_definitions(waiting[:-1])
    world.write_down()

    history = [(key, expression) for key, expression, _ in rows(world)]
    assert history == [("spent", "events.purchase.amount.sum"), *((f"s{n}", f"spent > {n}") for n in range(9))]
    assert world.lake.audit().collect()["key"].to_list().count("s4") == 1


def test_a_number_is_not_given_out_again_when_the_history_has_it(world: World) -> None:
    """Where Redis came back without its last saves, and they left nothing in force, versions go on above the lake's."""
    backup = world.store.catalogue()
    world.define("trait", {"orders": "events.purchase.count"})
    delete(world, "trait", "orders")
    world.write_down()
    latest = world.catalogue.version
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.mset({keys.catalogue(): backup, keys.catalogue_version(): decode(backup).version})
        client.delete("ready:{0}", "ready:{1}")

    world.recover()
    world.define("trait", {"orders": "events.purchase.count_7d"})

    assert world.catalogue.definitions["trait", "orders"].version > latest
    assert wiped(world) == {"spent", "orders"}


def test_a_lake_that_is_away_delays_the_history_alone(world: World) -> None:
    """While the lake is away a definition counts; that nobody can say whether the lake holds events makes it warm."""

    def away() -> bool:
        raise Unavailable("the lake is away")

    saving.save(world.store, away, Definition("trait", "orders", "events.purchase.count"), 1)
    catalogue = world.catalogue
    assert catalogue.projection_version in catalogue.activations
    assert not catalogue.is_ready(("trait", "orders"), 0, catalogue.covered[0])
    world.rebuild()
    catalogue = world.catalogue
    assert catalogue.is_ready(("trait", "orders"), 0, catalogue.covered[0])


def test_a_full_queue_refuses_a_save_before_it_counts(world: World) -> None:
    """When as much waits for the lake as may, by number or by bytes, a save is 503 and leaves nothing."""
    before = world.catalogue
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        for entries in (["x"] * UNWRITTEN_MAX, ["x" * UNWRITTEN_BYTES_MAX]):
            client.delete(keys.unwritten())
            pipeline = client.pipeline()
            for number, entry in enumerate(entries):
                pipeline.xadd(keys.unwritten(), {"e": entry}, f"0-{number + 1}")
            pipeline.execute()
            with pytest.raises(Unavailable, match="the lake cannot be written"):
                save(world, "segment", "big", "spent > 10")
        client.delete(keys.unwritten())
    assert world.catalogue == before
    save(world, "segment", "big", "spent > 10")
    assert ("segment", "big") in world.catalogue.definitions


def test_what_no_longer_binds_does_not_keep_a_system_down(world: World) -> None:
    """When a row of the history names what is gone, the rest of it comes back, and shards take events again."""
    lost = StoredDefinition(kind="segment", key="big", expression="no_such_trait > 10", version=7)
    on_it = StoredDefinition(kind="flag", key="beta", expression='segment("big")', version=8)
    changes = [msgspec.to_builtins(saving.Change(row, "save")) for row in (lost, on_it)]
    world.lake.append_definitions(changes)

    assert wiped(world) == {"spent"}
    run_id = world.store.server().run_id
    assert all(state.ready_run_id == run_id for state in world.store.shard_states())
