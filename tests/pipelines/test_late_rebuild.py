"""Rebuilds that come too late, or find an older lake than Redis knows: they replace nothing, and do not go round."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from lake.errors import LakeBehind
from lake.lake import Lake
from lake.schemas import EVENTS, MEMBERSHIPS, TRAITS
from pipelines import rebuild as rebuilding
from pipelines.worker import Worker
from tests.pipelines.world import World, purchase


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """Two buyers, drained and rebuilt."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.define("segment", {"buyers": "orders > 0"})
    world.ingest(purchase(user, 1) for user in ("ann", "bob"))
    world.drain().step()
    world.rebuild()
    return world


def totals(world: World) -> Any:
    """What Redis has of the last rebuild's counts."""
    text, _ = world.store.totals()
    return msgspec.json.decode(text or b"{}")


@pytest.mark.parametrize("step", ["reading", "publishing", "sweeping", "writing"])
def test_a_rebuild_that_wakes_late_replaces_nothing_of_a_later_one(world: World, step: str) -> None:
    """A rebuild is paused at any step, and another one sees a new buyer meanwhile. Traits, memberships with their
    `since`, and totals stay those of the other, and the next rebuild keeps each `since`."""
    others: list[rebuilding.Run] = []

    def paused(reached: str, done: int) -> None:
        if reached == step and not others:
            world.ingest([purchase("cy", 1), purchase("ann", 2)])
            world.drain().step()
            others.append(rebuilding.rebuild(world.store, Lake(world.lake.root), world.settings))

    late = rebuilding.rebuild(world.store, world.lake, world.settings, progress=paused)

    (later,) = others
    # A pause before a build has its number gives that one the greater number, over the older version of the lake.
    assert late.version < later.version
    traits = world.lake.latest(TRAITS).collect()
    assert set(traits["build"]) == {later.build}
    assert dict(traits.select("id", "number").iter_rows()) == {"user:ann": 2, "user:bob": 1, "user:cy": 1}
    since = dict(world.lake.latest(MEMBERSHIPS).select("id", "since").collect().iter_rows())
    assert since["user:cy"] == later.as_of_ms and since["user:ann"] < late.as_of_ms
    assert (totals(world)["build"], totals(world)["users"]) == (later.build, 3)
    world.rebuild()
    assert dict(world.lake.latest(MEMBERSHIPS).select("id", "since").collect().iter_rows()) == since


def test_a_rebuild_of_ids_answers_the_requests_for_these_alone(world: World) -> None:
    """Another id is asked for before it begins, and others after it has published: all of them still wait."""

    def asked(reached: str, done: int) -> None:
        if reached == "publishing" and done:
            world.store.want_rebuild_of(["user:ann", "user:cy"])

    world.store.want_rebuild_of(["user:ann", "user:bob", "user:dan"])
    world.store.want_rebuild()
    rebuilding.rebuild(world.store, world.lake, world.settings, ids=["user:ann", "user:bob"], progress=asked)
    requests = world.store.rebuild_requests()
    waiting = {id: count for of_shard in requests.ids.values() for id, count in of_shard.items()}
    assert (waiting, requests.is_full) == ({"user:ann": 2, "user:cy": 1, "user:dan": 1}, True)
    world.rebuild()
    requests = world.store.rebuild_requests()
    assert (requests.ids, requests.is_full) == ({}, False)


def test_of_two_builds_of_one_version_the_greater_stays(world: World) -> None:
    """Builds of one version of the lake are told apart by their numbers."""
    version = world.lake.events_version()
    rows = world.lake.latest(TRAITS).collect()
    build = int(rows["build"][0])

    def numbered(number: int) -> pl.DataFrame | None:
        return world.lake.replace_latest(
            TRAITS, version, number, lambda: rows.with_columns(pl.lit(number).alias("build")), None
        )

    assert numbered(build + 2) is not None
    assert numbered(build + 1) is None
    assert set(world.lake.latest(TRAITS).collect()["build"]) == {build + 2}


@pytest.mark.parametrize("is_drained", [True, False], ids=["with events less", "with a version less"])
def test_over_an_older_lake_the_worker_pauses_and_says_so(world: World, tmp_path: Path, is_drained: bool) -> None:
    """An old copy of the lake is put in the place of the newer one, and a definition waits for a rebuild. The worker
    tries again after growing pauses, names what the lake lacks and the remedy, and does its other chores."""
    copy = tmp_path / "copy"
    shutil.copytree(world.lake.root, copy)
    if is_drained:
        world.ingest(purchase("ann", number) for number in range(2, 5))
        world.drain().step()
    else:
        world.lake.append(EVENTS, EVENTS.columns.empty_table())
    world.rebuild()
    shutil.rmtree(world.lake.root)
    shutil.copytree(copy, world.lake.root)
    world.define("trait", {"spent": "events.purchase.amount.sum"})
    tried: list[Collection[str] | None] = []

    def rebuild(ids: Collection[str] | None) -> rebuilding.Run:
        tried.append(ids)
        return rebuilding.rebuild(world.store, lake, world.settings, ids=ids)

    lake = Lake(world.lake.root)
    worker = Worker(world.store, lake, world.settings, rebuild, lambda: {}, lambda: {})
    worker.full.clock = lambda: 0.0  # the pause does not end
    for _ in range(5):
        worker.look()
    worker.tell()

    assert tried == [None]
    assert "the lake is older than Redis" in worker.report["error"] and "empty Redis" in worker.report["error"]
    assert worker.report["chores"]["pack"]["failures"] == 0 and worker.report["chores"]["pack"]["succeeded_at"]
    with pytest.raises(LakeBehind):
        rebuild(["user:ann"])


def test_a_rebuild_for_which_memory_is_too_small_publishes_smaller_parts(world: World) -> None:
    """Where memory fails bases are published anew, by another build: none of them is refused, and traits, memberships
    and totals are of that build. When memory fails to the end the rebuild fails, and the next one does it all."""
    world.ingest([purchase("cy", 1)])
    world.drain().step()
    before = world.rebuild().build
    tries, passing = 0, 3

    def full(step: str, done: int) -> None:
        nonlocal tries
        if step == "publishing" and done:
            tries += 1
            if tries < passing:
                raise MemoryError

    run = rebuilding.rebuild(world.store, world.lake, world.settings, progress=full)
    assert tries == passing and run.build > before
    assert (run.refused_older, run.published, run.users) == (0, 3, 3)
    assert set(world.lake.latest(TRAITS).collect()["build"]) == {run.build}
    assert totals(world)["build"] == run.build
    assert world.values("cy") == {"orders": 1, "buyers": True}

    tries, passing = 0, 1_000
    with pytest.raises(MemoryError):
        rebuilding.rebuild(world.store, world.lake, world.settings, progress=full)
    assert tries == 7, "from a part as usual down to its 64th"
    assert totals(world)["build"] == run.build
    assert world.rebuild().refused_older == 0
