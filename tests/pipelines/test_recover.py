"""A Redis that was wiped, or that lost its end, answers as before once it is recovered."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from pipelines import recover as recovering
from pipelines.drain import Drain
from serving.definitions import saving
from serving.refusals import Unavailable
from serving.store import keys
from serving.store.errors import ShardNotReady
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get
from tests.waiting import wait_until


def some_orders(world: World, first: int, count: int) -> None:
    """Sends so many purchases of some users."""
    world.ingest(purchase(f"u{n % 7}", n, properties={"amount": n / 10}) for n in range(first, first + count))


@pytest.fixture
def definitions() -> dict[str, str]:
    """Two traits, of which one has a window."""
    return {"orders": "events.purchase.count_30d", "spent": "events.purchase.amount.sum"}


def test_a_wiped_redis_is_rebuilt_from_the_lake(redis_url: str, tmp_path: Path, definitions: dict[str, str]) -> None:
    """A wiped Redis refuses events until it is recovered. Then definitions, values and seqs go on, and repeats are
    still known."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", definitions)
    some_orders(world, 0, 50)
    world.drain().step()
    before = {f"u{n}": world.values(f"u{n}") for n in range(7)}
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()

    with pytest.raises((ShardNotReady, Unavailable)):
        some_orders(world, 50, 1)
    assert world.recover()
    assert {user: world.values(user) for user in before} == before
    some_orders(world, 0, 50)
    assert {user: world.values(user) for user in before} == before
    some_orders(world, 50, 7)
    world.drain().step()
    assert sum(len(world.seqs(shard)) for shard in range(4)) == 57


def test_a_rewound_redis_goes_on_above_the_lake(tmp_path: Path, definitions: dict[str, str]) -> None:
    """A Redis with an older copy of its files gets the missing rows back into records, and gives out no seq twice."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        world = World(server.url, tmp_path, shards=4)
        world.recover()
        world.define("trait", definitions)
        some_orders(world, 0, 20)
        world.drain().step()
        server.stop()
        shutil.copytree(tmp_path / "redis", tmp_path / "older")
        server.start()
        world.recover()
        some_orders(world, 20, 20)
        world.drain().step()
        before = {f"u{n}": world.values(f"u{n}") for n in range(7)}
        server.stop()
        shutil.rmtree(tmp_path / "redis")
        shutil.copytree(tmp_path / "older", tmp_path / "redis")
        server.start()

        with pytest.raises(ShardNotReady):
            some_orders(world, 40, 1)
        assert world.recover()
        assert {user: world.values(user) for user in before} == before
        some_orders(world, 20, 30)
        world.drain().step()
        assert all(world.seqs(state.shard) == list(range(1, state.seq + 1)) for state in world.store.shard_states())
        assert sum(len(world.seqs(shard)) for shard in range(4)) == 50


def test_a_killed_redis_has_all_that_was_acknowledged(tmp_path: Path, definitions: dict[str, str]) -> None:
    """After SIGKILL between two requests every acknowledged event is there, once."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        world = World(server.url, tmp_path, shards=4)
        world.recover()
        world.define("trait", definitions)
        for round_number in range(5):
            some_orders(world, 10 * round_number, 10)
            server.kill()
            server.start()
            assert world.recover()
        some_orders(world, 0, 50)

        assert sum(world.values(f"u{n}")["orders"] for n in range(7)) == 50


def test_a_catalogue_that_was_lost_comes_back_above_what_shards_keep(redis_url: str, tmp_path: Path) -> None:
    """The restored projection is above that of deleted definitions, so a shard that has seen theirs takes events."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "views": "events.view.count", "city": "profile.city"})
    for key in ("views", "city"):
        saving.delete(world.store, world.lake.holds_events, "trait", key, 0)
    projection = max(state.projection for state in world.store.shard_states())
    with redis.Redis.from_url(redis_url) as client:
        client.delete(keys.catalogue(), keys.catalogue_version(), *(keys.ready(shard) for shard in range(4)))

    assert world.recover()
    assert world.catalogue.projection_version > projection
    some_orders(world, 0, 7)
    assert world.values("u1") == {"orders": 1}


def test_versions_of_a_catalogue_that_were_lost_are_not_counted_again(redis_url: str, tmp_path: Path) -> None:
    """A wiped Redis goes on above the versions that it lost: an idle process may hold one of them, and must not take it
    for the newest."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    some_orders(world, 0, 7)
    world.drain().step()
    first = world.catalogue.version
    for _ in range(3):
        world.rebuild()
    lost = world.catalogue.version
    assert lost > first
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert world.recover()

    assert world.catalogue.version > lost + 1_000
    assert world.values("u1") == {"orders": 1}


def test_a_rewound_redis_counts_its_catalogue_on(tmp_path: Path) -> None:
    """A rewound Redis has all definitions, and lost the versions of later rebuilds: it goes on above them."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        world = World(server.url, tmp_path, shards=4)
        world.recover()
        world.define("trait", {"orders": "events.purchase.count"})
        server.stop()
        shutil.copytree(tmp_path / "redis", tmp_path / "older")
        server.start()
        world.recover()
        some_orders(world, 0, 7)
        world.drain().step()
        world.rebuild()
        lost = world.catalogue.version
        server.stop()
        shutil.rmtree(tmp_path / "redis")
        shutil.copytree(tmp_path / "older", tmp_path / "redis")
        server.start()
        assert world.recover()

        assert world.catalogue.version > lost + 1_000
        assert world.values("u1") == {"orders": 1}


@pytest.mark.deep
def test_a_recovery_that_takes_long_is_told(redis_url: str, tmp_path: Path) -> None:
    """The drain's heartbeat goes on while it recovers, and says what it does; `/health` names the shards that wait."""
    world = World(redis_url, tmp_path, shards=4)
    told, stop = threading.Event(), threading.Event()

    def recover() -> bool:
        told.wait(60)
        return world.recover()

    def beat() -> bytes:
        return world.store.heartbeat("drain") or b""

    drain = Drain(world.store, world.lake, world.settings, recover=recover)
    running = threading.Thread(target=drain.run, args=(stop,))
    running.start()
    try:
        wait_until(lambda: b"recovering" in beat(), "a beat beside the recovery")
        (health,) = answers(world.settings, [get("/health")])
        told.set()
        wait_until(
            lambda: b"recovering" not in (world.store.heartbeat("drain") or b"recovering"), "the recovery is over"
        )
    finally:
        told.set()
        stop.set()
        running.join()

    checks = health.json()["checks"]
    assert (checks["drain"]["status"], checks["drain"]["recovering"]) == ("ok", True)
    assert (checks["shards"]["status"], checks["shards"]["recovering"]) == ("error", [0, 1, 2, 3])
    assert all(state.ready_run_id for state in world.store.shard_states())


@pytest.mark.parametrize(("rows", "size", "parts"), [(30, 2**30, 4), (10_000, 500, 100)], ids=["rows", "bytes"])
def test_rows_are_put_back_a_part_at_a_time(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: int, parts: int
) -> None:
    """However many rows a shard lacks, and however large, a bounded part is in memory; each is put back once."""
    monkeypatch.setattr(recovering, "REPLAY_ROWS_AT_ONCE", rows)
    monkeypatch.setattr(recovering, "REPLAY_BYTES_AT_ONCE", size)
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest(purchase("ada", number) for number in range(10))
    with redis.Redis.from_url(redis_url) as client:
        backup = {key: client.dump(key) for key in client.scan_iter()}
        world.ingest(purchase("ada", number, properties={"note": "x" * 400}) for number in range(10, 110))
        world.drain().step()
        client.flushall()
        for key, value in backup.items():
            client.restore(key, 0, value)
        client.delete(keys.ready(0))

    steps: list[str] = []
    recovering.recover(world.store, world.lake, world.settings, steps.append)

    assert steps.count("replayed") == parts
    assert world.values("ada") == {"orders": 110}
