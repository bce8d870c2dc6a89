"""Exports of one process: how many wait, and how they end when the lake goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from anyio import to_thread

from pipelines.leases import NotHeld, leases
from serving.app import engine_of
from serving.lookups.export_job import ATTEMPTS
from serving.lookups.export_runs import RETRY_AFTER_S, WAITING_MAX, Export, ExportRuns
from serving.refusals import TooMany, Unavailable
from serving.store.scripts.lease import WRITERS
from tests.pipelines.test_deletes import delete
from tests.pipelines.world import World, purchase
from tests.small_s3 import SmallS3
from tests.waiting import wait_until

KEYS = [f"buyers_{number}" for number in range(WAITING_MAX + 2)]


@pytest.fixture
def world(redis_url: str, tmp_path: Path, object_store: SmallS3) -> Iterator[World]:
    """A system with members, whose lake is in an object store."""
    root = f"s3://{object_store.bucket}/lake"
    world = World(redis_url, tmp_path, lake_root=root, lake_uri=root, shards=4)
    world.recover()
    world.define("segment", {key: "events.purchase.count >= 1" for key in KEYS})
    world.ingest(purchase(f"u{number}", number) for number in range(50))
    world.drain().step()
    yield world
    object_store.heal()


def with_runs(world: World, work: Callable[[ExportRuns], Awaitable[None]]) -> None:
    """Runs some work with the exports of a process, and stops them."""

    async def main() -> None:
        engine = engine_of(world.settings)
        runs = ExportRuns(engine)
        try:
            await work(runs)
        finally:
            await runs.close()
            await engine.store.close()
            engine.admin_store.close()

    asyncio.run(main())


def test_so_many_exports_wait_and_the_next_is_asked_to_come_back(world: World, object_store: SmallS3) -> None:
    """While one export runs, a second call for a waiting one gets the same; beyond the bound a call is 429."""
    object_store.fall_silent()

    async def work(runs: ExportRuns) -> None:
        first, *others = [await runs.start(key) for key in KEYS[:-1]]
        assert (first.state, {export.state for export in others}, len(others)) == ("running", {"waiting"}, WAITING_MAX)
        with pytest.raises(TooMany) as refused:
            await runs.start(KEYS[-1])
        assert refused.value.retry_after_s == RETRY_AFTER_S
        assert (await runs.start(KEYS[1])).id == others[0].id

    with_runs(world, work)


@pytest.mark.deep
def test_an_export_and_a_purge_at_once_wait_for_each_other(redis_url: str, tmp_path: Path) -> None:
    """No file appears after the purge has searched the files for deleted people."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("segment", {KEYS[0]: "events.purchase.count >= 1"})
    world.ingest([purchase("ann", 1), purchase("bob", 1)])
    world.drain().step()

    async def work(runs: ExportRuns) -> None:
        with leases(world.store, [WRITERS], patience_s=0):
            export = await runs.start(KEYS[0])
            await to_thread.run_sync(wait_until, runs._turn.locked, "its turn")
            assert export.state == "waiting"
        await to_thread.run_sync(wait_until, lambda: export.state == "running", "the export")
        with pytest.raises(NotHeld, match="writers"), leases(world.store, [WRITERS], patience_s=0):
            pass
        assert (await runs.ended(export)).members == 2

    with_runs(world, work)


@pytest.mark.deep
@pytest.mark.parametrize("at", [".parquet", "exports/"])
def test_an_export_fails_cleanly_when_the_lake_goes_away(world: World, object_store: SmallS3, at: str) -> None:
    """An export fails while it reads and while it writes; the earlier file stays, and the next export is whole."""

    async def ended(runs: ExportRuns) -> Export:
        return await runs.ended(await runs.start(KEYS[0]))

    async def work(runs: ExportRuns) -> None:
        before = await ended(runs)
        name = f"lake/exports/{before.filename}"
        stored = object_store.objects[name]
        left = [2]

        def away(method: str, key: str) -> int | None:
            left[0] -= at in key
            return 403 if left[0] <= 0 else None

        object_store.before = away
        failing = await runs.start(KEYS[0])
        with pytest.raises(Unavailable, match="the lake is away"):
            await runs.ended(failing)
        assert (failing.state, failing.error) == ("failed", "the lake is away")
        assert left[0] <= 0
        assert (await runs.find(failing.id)).state == "failed"
        object_store.heal()
        assert object_store.objects[name] is stored
        assert object_store.keys(".csv") == [name]
        again = await ended(runs)
        assert (again.state, again.members) == ("done", 50)
        assert object_store.objects[name].body.count(b"\n") == 50

    with_runs(world, work)


@pytest.mark.deep
def test_a_delete_while_an_export_runs_withdraws_its_file(world: World, object_store: SmallS3) -> None:
    """The file is made again without the deleted, though the lake has heard of no delete: before it or meanwhile."""
    delete(world, "user:u1")
    deleted = []

    def meanwhile(method: str, key: str) -> None:
        if "exports/" in key and method == "PUT" and not deleted:
            deleted.append(delete(world, "user:u2"))

    async def work(runs: ExportRuns) -> None:
        object_store.before = meanwhile
        export = await runs.ended(await runs.start(KEYS[0]))
        assert deleted and export.members == 48
        text = object_store.objects[f"lake/exports/{export.filename}"].body
        assert b'"u3"' in text and b'"u2"' not in text and b'"u1"' not in text
        assert len(object_store.keys(".csv")) == 1

    with_runs(world, work)


@pytest.mark.deep
def test_an_export_that_deletes_outrun_each_time_leaves_no_file(world: World, object_store: SmallS3) -> None:
    """Somebody is deleted during every attempt: the export fails, and each file that names one of them is withdrawn."""
    deleted: list[str] = []

    def meanwhile(method: str, key: str) -> None:
        if "exports/" in key and method == "PUT":
            deleted.append(f"user:u{len(deleted)}")
            delete(world, deleted[-1], f"gone-{len(deleted)}")

    async def work(runs: ExportRuns) -> None:
        object_store.before = meanwhile
        with pytest.raises(Unavailable, match="people were deleted while it ran"):
            await runs.ended(await runs.start(KEYS[0]))

    with_runs(world, work)
    assert len(deleted) >= ATTEMPTS
    assert object_store.keys(".csv") == []
