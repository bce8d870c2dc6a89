"""Redis belongs to one lake: nothing of its log goes into another one, and nothing of another one into its records."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import anyio
import httpx
import pytest
import redis

from cli.doctor import examine, report_text
from lake.errors import LakeBehind
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.lives import claim_lake
from pipelines.work import plain_work
from pipelines.worker import Worker
from serving.app import create_app, engine_of
from serving.lookups.warnings import warm
from serving.refusals import Unavailable
from serving.store import keys
from serving.store.errors import OtherLake
from tests.pipelines.world import World, purchase


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system that has drained three events; one more waits in its log."""
    world = World(redis_url, tmp_path / "own", shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest(purchase("ada", number) for number in range(3))
    world.drain().step()
    world.ingest([purchase("ada", 3)])
    return world


@pytest.fixture
def intruder(world: World, redis_url: str, tmp_path: Path) -> World:
    """The same Redis, and a lake of its own."""
    other = World(redis_url, tmp_path / "other", shards=2)
    other.lake.open(EVENTS)
    return other


def records_of(world: World) -> dict[bytes, bytes]:
    """All that Redis holds of the system, but for what parts say of themselves."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        names = [name for pattern in keys.patterns() for name in client.scan_iter(pattern)]
        return {name: client.dump(name) for name in names}


def test_a_drain_with_another_lake_ends_and_leaves_the_lease(world: World, intruder: World) -> None:
    """Both lakes are named, with the remedy. Nothing is drained, and the drain of the right lake has the lease."""
    before = records_of(world)
    drain = intruder.drain()
    drain.recover = intruder.recover
    with pytest.raises(OtherLake) as error:
        drain.run(threading.Event())
    for word in (world.lake.id(), intruder.lake.id(), "TINYCDP_LAKE_URI", "TINYCDP_REDIS_URL", "empty"):
        assert word in str(error.value)
    with pytest.raises(OtherLake):
        intruder.drain().step()

    assert records_of(world) == before
    assert intruder.lake.events().collect().is_empty()
    assert world.store.hold_lease("drain", "the right one", 1_000)
    assert world.drain().step().rows == 1
    assert len(world.lake.events().collect()) == 4


def test_a_worker_with_another_lake_ends_and_leaves_the_lease(world: World, intruder: World) -> None:
    """It does no work, though some is due, and publishes nothing of its lake."""
    world.store.want_rebuild()
    before = records_of(world)
    worker = Worker(
        intruder.store, intruder.lake, intruder.settings, *plain_work(intruder.store, intruder.lake, intruder.settings)
    )
    with pytest.raises(OtherLake):
        worker.run(threading.Event())

    assert records_of(world) == before
    assert world.store.hold_lease("rebuild", "the right one", 1_000)


def test_a_place_without_a_lake_is_another_lake(world: World, redis_url: str, tmp_path: Path) -> None:
    """A mistyped address is refused as well, and no lake is made there."""
    nowhere = World(redis_url, tmp_path / "typo", shards=2)
    with pytest.raises(OtherLake, match="holds no lake"):
        nowhere.recover()
    with pytest.raises(OtherLake, match="holds no lake"):
        examine(nowhere.store, nowhere.lake, nowhere.settings, 0)

    assert not Path(nowhere.lake.root).exists()


def test_doctor_names_both_lakes(world: World, intruder: World) -> None:
    """It says so first of the lake, compares no answers, and is not well. With the right lake it says nothing."""
    report = examine(intruder.store, intruder.lake, intruder.settings, 10)
    assert not report["well"] and report["parity"]["compared"] == 0
    told = next(line for line in report_text(report).splitlines() if line.startswith("lake "))
    assert world.lake.id() in told and intruder.lake.id() in told and "TINYCDP_LAKE_URI" in told

    world.drain().step()
    report = examine(world.store, world.lake, world.settings, 10)
    assert report["other_lake"] is None and report["parity"]["compared"] == 1


def test_the_api_reads_and_writes_no_other_lake(world: World, intruder: World) -> None:
    """Health is 503 without an id or an address, since strangers read it; what needs the lake is 503; a save waits for
    the drain of its own lake."""
    answers: dict[str, httpx.Response] = {}

    async def ask() -> None:
        app = create_app(intruder.settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                http.headers["Authorization"] = f"Bearer {raw_key(intruder)}"
                answers["health"] = await http.get("/health")
                answers["admin"] = await http.get("/admin/health")
                answers["audit"] = await http.get("/v1/admin/audit")
                answers["search"] = await http.get("/v1/admin/users/search", params={"query": "ada"})
                answers["key"] = await http.post("/v1/admin/keys", json={"kind": "read", "label": "shop"})
                answers["save"] = await http.post(
                    "/v1/admin/traits", json={"key": "first", "expression": "events.purchase.count_7d"}
                )

    anyio.run(ask)

    for name in ("health", "admin"):
        check = answers[name].json()["checks"]["lake"]
        assert answers[name].status_code == 503 and check["status"] == "error"
        assert "is told another lake" in check["error"]
        for secret in (world.lake.id(), intruder.lake.id(), str(intruder.settings.home)):
            assert secret not in answers[name].text
    for name in ("audit", "search", "key"):
        assert answers[name].status_code == 503, answers[name].text
        assert "is told another lake" in answers[name].json()["message"]
    assert answers["save"].status_code == 200 and answers["save"].json()["trait"]["history"] == "pending"
    assert intruder.lake.definitions() == [] and intruder.lake.api_keys() == []
    world.write_down()
    assert {row["key"] for row in world.lake.definitions()} == {"orders", "first"}


def test_an_api_that_starts_without_its_lake_makes_none(world: World, tmp_path: Path) -> None:
    """As it starts it asks for the names in the lake, once, so that nobody waits for that."""
    settings = world.settings.model_copy(update={"home": tmp_path / "elsewhere", "lake_uri": None})

    async def start() -> None:
        engine = engine_of(settings)
        await warm(engine)
        await engine.store.close()
        engine.admin_store.close()

    anyio.run(start)

    assert not Path(settings.lake_root, EVENTS.name).exists()


def raw_key(world: World) -> str:
    """The admin key of a world."""
    from serving.access.keys import raw_keys

    return raw_keys(world.settings)["admin"]


def test_a_lake_that_was_moved_or_restored_is_the_same_one(world: World, redis_url: str, tmp_path: Path) -> None:
    """A copy has the id of the lake, at any address and after a wipe of Redis."""
    world.drain().step()
    shutil.copytree(world.lake.root, tmp_path / "moved")
    moved = World(redis_url, tmp_path / "own", lake_root=str(tmp_path / "moved"), shards=2)
    assert not moved.recover()
    assert moved.lake.id() == world.lake.id()
    moved.ingest([purchase("ada", 4)])
    assert moved.drain().step().rows == 1

    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert moved.recover()
    assert moved.store.noted_lake() == world.lake.id()
    assert moved.values("ada") == {"orders": 5}


def test_the_first_who_recovers_an_empty_redis_has_it(world: World, intruder: World, redis_url: str) -> None:
    """Whoever is second is refused, even if its own lake was there before."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert intruder.recover()
    with pytest.raises(OtherLake):
        world.recover()
    with pytest.raises(OtherLake):
        world.drain().step()


def test_a_redis_of_an_older_release_is_taken_over_by_its_own_lake(world: World, intruder: World) -> None:
    """It has no note. A lake that lacks what Redis drained, or has other events under its seqs, is refused; its own
    notes itself in the next round."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.delete(keys.lake())
    with pytest.raises(LakeBehind, match="TINYCDP_LAKE_URI"):
        intruder.recover()
    assert world.store.noted_lake() is None

    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        saved = {name: client.dump(name) for name in client.scan_iter()}
        client.flushall()
        intruder.recover()
        intruder.ingest(purchase("ada", 100 + number) for number in range(9))
        intruder.drain().step()
        client.flushall()
        for name, value in saved.items():
            client.restore(name, 0, value)
    with pytest.raises(OtherLake, match="contradicts"):
        intruder.recover()
    assert world.store.noted_lake() is None

    assert not world.recover()
    assert world.store.noted_lake() == world.lake.id()
    with pytest.raises(OtherLake, match=world.lake.id()):
        intruder.recover()


def test_the_note_goes_with_a_redis_that_is_cleared(world: World) -> None:
    """What `Store.clear` leaves is taken for nobody's."""
    world.store.clear()

    assert world.store.noted_lake() is None
    claim_lake(world.store, world.lake)
    assert world.store.noted_lake() == Lake(world.lake.root).id()


def test_what_the_door_to_a_lake_says_is_no_secret(world: World, intruder: World) -> None:
    """Questions in processes beside the API are refused as those of the API are."""
    from serving.history import Source

    history = Source(intruder.lake.root, (), world.lake.id()).history()
    for question in (
        history.events,
        history.events_version,
        lambda: next(history.event_batches(0, 10)),
        lambda: next(history.newest_batches(10, 1)),
    ):
        with pytest.raises(Unavailable, match="is told another lake"):
            question()
