"""The lake's history of definitions has what was in force and nothing else, though savers meet or are killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from expressions.definitions import Definition
from lake.errors import LakeUnreachable
from serving import history
from serving.definitions import saving
from serving.definitions.catalogue import StoredDefinition
from serving.refusals import Conflict, Invalid
from tests.pipelines.world import History, World


class Killed(Exception):
    """The saver was killed here."""


class Interrupted(History):
    """A history at which something happens before the first row is added."""

    def __init__(self, world: World, first: Callable[[], None]) -> None:
        super().__init__(world.lake)
        self.first: Callable[[], None] | None = first

    def append_definition(self, stored: Any) -> None:
        """Lets it happen, and adds the row."""
        if self.first is not None:
            first, self.first = self.first, None
            first()
        super().append_definition(stored)

    def holds_events(self) -> bool:
        """Lets it happen: this is a saver's first question to the lake."""
        if self.first is not None:
            first, self.first = self.first, None
            first()
        return super().holds_events()


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


def test_a_save_that_is_refused_in_the_end_leaves_nothing(world: World) -> None:
    """A definition whose trait was deleted just before it came in force is refused. It leaves no row, and a wiped Redis
    recovers."""
    first = Interrupted(world, lambda: saving.delete(world.store, History(world.lake), "trait", "spent", 1))
    with pytest.raises(Invalid, match="spent"):
        saving.save(world.store, first, Definition("segment", "big", "spent > 10"), 2)

    assert rows(world) == [
        ("spent", "events.purchase.amount.sum", False),
        ("spent", "events.purchase.amount.sum", True),
    ]
    assert wiped(world) == set()


def test_of_two_who_create_the_same_only_one_is_in_the_history(world: World) -> None:
    """The second is told that it exists, and a wiped Redis comes back with the one that was acknowledged."""
    mine = Definition("flag", "beta", "spent > 10")
    first = Interrupted(world, lambda: saving.save(world.store, History(world.lake), mine, 1, must_be="new"))  # type: ignore[arg-type, func-returns-value]
    with pytest.raises(Conflict, match="beta"):
        saving.save(world.store, first, Definition("flag", "beta", "true"), 2, must_be="new")

    assert rows(world)[1:] == [("beta", "spent > 10", False)]
    assert wiped(world) == {"spent", "beta"}
    assert world.catalogue.definitions["flag", "beta"].expression == "spent > 10"


def killed_before_the_lake(world: World, save: Callable[[History], object]) -> None:
    """Saves, and dies between Redis and the lake."""

    class Deadly(History):
        def append_definition(self, stored: Any) -> None:
            raise Killed

    with pytest.raises(Killed):
        save(Deadly(world.lake))


@pytest.mark.parametrize("then", ["save", "rebuild", "restart"])
def test_what_a_killed_saver_left_is_written_by_who_comes_next(world: World, then: str) -> None:
    """The next save, rebuild or recovery writes what a killed saver left. It was in force before and is in the history
    afterwards, and a delete stays a delete."""
    killed_before_the_lake(
        world, lambda lake: saving.save(world.store, lake, Definition("segment", "big", "spent > 10"), 1)
    )
    killed_before_the_lake(world, lambda lake: saving.delete(world.store, lake, "segment", "big", 2))
    assert rows(world) == [("spent", "events.purchase.amount.sum", False)]

    match then:
        case "save":
            world.define("trait", {"orders": "events.purchase.count"})
        case "rebuild":
            world.rebuild()
        case "restart":
            redis.Redis.from_url(world.settings.redis_url or "").delete("ready:{0}", "ready:{1}")
            world.recover()

    assert rows(world)[1:3] == [("big", "spent > 10", False), ("big", "spent > 10", True)]
    assert world.catalogue.unwritten == ()
    assert ("segment", "big") not in world.catalogue.definitions
    assert wiped(world) == ({"spent", "orders"} if then == "save" else {"spent"})


def test_a_version_that_was_written_twice_is_shown_once(world: World) -> None:
    """Two may write what a third left. They write the same version, so the history shows it once."""
    (row,) = world.lake.definitions()
    world.lake.append_definition(row)

    assert [stored.version for stored in history.History(world.lake.root).definition_versions("trait", "spent")] == [
        row["version"]
    ]
    assert wiped(world) == {"spent"}


def test_a_lake_that_is_away_refuses_before_anything_is_done(world: World) -> None:
    """A definition that is refused since the lake is away is not in force, so trying again later is right."""

    class Away(History):
        def holds_events(self) -> bool:
            raise LakeUnreachable("no answer")

    with pytest.raises(LakeUnreachable):
        saving.save(world.store, Away(world.lake), Definition("segment", "big", "spent > 10"), 1)

    assert set(world.catalogue.definitions) == {("trait", "spent")}
    assert world.catalogue.unwritten == ()


def test_what_no_longer_binds_does_not_keep_a_system_down(world: World) -> None:
    """When a row of the history names what is gone, the rest of it comes back, and shards take events again."""
    lost = StoredDefinition(kind="segment", key="big", expression="no_such_trait > 10", version=7)
    on_it = StoredDefinition(kind="flag", key="beta", expression='segment("big")', version=8)
    for row in (lost, on_it):
        world.lake.append_definition(msgspec.to_builtins(row))

    assert wiped(world) == {"spent"}
    run_id = world.store.server().run_id
    assert all(state.ready_run_id == run_id for state in world.store.shard_states())
