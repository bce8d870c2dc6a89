"""The lake's rows of a shard are exactly seq 1 to its transaction, whoever is killed and however many drain."""

from __future__ import annotations

import threading
from pathlib import Path

import polars as pl
import pytest
import redis

from lake.errors import LakeError
from lake.lake import Lake
from lake.schemas import EVENTS
from lake.stored_files import StoredFiles
from pipelines import leases
from serving.ids import shard_of
from serving.store import keys
from serving.store.errors import StoreFull
from serving.store.scripts.ingest import TailLimits
from tests.pipelines.world import World, purchase
from tests.small_s3 import SmallS3
from tests.waiting import wait_until

STEPS = ["checked", "read", "before_write", "after_write", "trimmed"]


class Killed(RuntimeError):
    """The process ends here."""


def exact(world: World) -> bool:
    """Whether each shard's rows have the seqs 1, 2, 3 … to the last that Redis has given out."""
    return all(world.seqs(state.shard) == list(range(1, state.seq + 1)) for state in world.store.shard_states())


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A recovered world with one trait."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    return world


@pytest.mark.parametrize("step", STEPS)
def test_a_drain_killed_at_any_step_is_made_good_by_the_next(world: World, step: str) -> None:
    """After a drain that died at any step the next one loses no event and leaves none twice."""

    def killed(at: str) -> None:
        if at == step:
            raise Killed(at)

    for round_number in range(3):
        world.ingest(purchase(f"u{n}", round_number) for n in range(20))
        with pytest.raises(Killed):
            world.drain(killed).step()
        world.ingest(purchase(f"u{n}", 100 + round_number) for n in range(5))
        world.drain().step()

    assert exact(world)
    assert world.store.shard_states()[0].drained == world.store.shard_states()[0].seq


def test_two_drains_of_one_version_commit_once(world: World) -> None:
    """A drain that was paused after its check finds the other's commit, and takes what is left."""
    world.ingest(purchase(f"u{n}", 1) for n in range(30))
    other = World(world.settings.redis_url or "", world.settings.home, shards=4)
    passed: list[int] = []

    def paused(at: str) -> None:
        if at == "before_write" and not passed:
            passed.append(other.drain().step().rows)
            world.ingest(purchase(f"u{n}", 2) for n in range(30))

    world.drain(paused).step()
    world.drain().step()

    assert passed == [30]
    assert exact(world)


def test_a_shard_with_a_gap_stands_still_and_says_so(world: World) -> None:
    """A missing seq is never skipped, since the base would lack it for ever; the shard stops and names the gap."""
    world.ingest(purchase("u1", n) for n in range(3))
    shard = next(state.shard for state in world.store.shard_states() if state.seq == 3)
    raw = world.store.ask_all([world.store.operations.read_log(shard, 0, 10)])[0]

    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.xdel(f"log:{{{shard}}}", "2-0")
    drained = world.drain().step()

    assert [entry.seq for entry in raw] == [1, 2, 3]
    assert drained.stopped == {shard: "after seq 1 comes 3"}
    assert world.seqs(shard) == []


def test_while_the_lake_is_away_ingest_and_reads_go_on_within_a_bound(world: World, tmp_path: Path) -> None:
    """The log takes as many events as its bound allows, then refuses. When the lake is back, no event is missing."""
    bounded = World(world.settings.redis_url or "", tmp_path, TailLimits(backlog_max=10), shards=4)
    folder = tmp_path / "lake" / "events"
    world.drain().step()
    away = folder.rename(tmp_path / "away")
    folder.write_text("no folder")
    with pytest.raises(LakeError):
        World(world.settings.redis_url or "", tmp_path, shards=4).drain().step()
    accepted = 10
    for n in range(accepted):
        bounded.ingest([purchase("u1", n)])
    with pytest.raises(StoreFull):
        bounded.ingest([purchase("u1", accepted)])
    assert bounded.values("u1") == {"orders": accepted}

    folder.unlink()
    away.rename(folder)
    back = World(world.settings.redis_url or "", tmp_path, shards=4)
    back.drain().step()
    assert exact(back)
    assert back.values("u1") == {"orders": accepted}


def test_refused_events_move_to_the_lake_once(world: World) -> None:
    """The stream of refused events is emptied into `rejected`."""
    item = b'{"received_at": 1, "source": "api", "line": 0, "code": "invalid_argument", "reason": "r", "event": "{}"}'
    world.store.reject([item, item])

    assert [world.drain().keep_rejected() for _ in range(2)] == [2, 0]
    assert Lake(str(world.settings.home / "lake")).rejected().collect().height == 2


def test_a_log_that_is_full_stops_no_drain(redis_url: str, tmp_path: Path) -> None:
    """An event whose link found no room, and got its sender 429, is drained like any; sent again, it links."""
    world = World(redis_url, tmp_path, TailLimits(backlog_max=50), shards=4)
    world.recover()
    device = next(f"d{number}" for number in range(99) if shard_of(f"anon:d{number}", 4) == 0)
    user = next(f"u{number}" for number in range(99) if shard_of(f"user:u{number}", 4) == 1)
    other = next(f"x{number}" for number in range(99) if shard_of(f"user:x{number}", 4) == 0)
    world.ingest(purchase(other, number) for number in range(50))
    event = purchase(user, 1, anonymousId=device)
    with pytest.raises(StoreFull):
        world.ingest([event])

    drain = world.drain()
    while drain.step().has_more:
        pass

    assert all(state.seq == state.drained for state in world.store.shard_states())
    world.ingest([event])
    assert world.store.owners([f"anon:{device}"])[0].id == f"user:{user}"  # type: ignore[union-attr]


def test_a_round_is_bounded_by_bytes(world: World) -> None:
    """However large events are, a round has at most twice its bytes, and so has its memory. Small events of other
    shards are not kept waiting."""
    kib = 1024
    world.ingest(purchase(f"u{n}", n, properties={"note": "x" * 30 * kib}) for n in range(64))
    world.ingest(purchase(f"u{n}", 100 + n) for n in range(64))
    drain = world.drain(bytes_max=512 * kib)

    rounds: list[int] = []
    has_more = True
    while has_more:
        before = drained_bytes(world)
        has_more = drain.step().has_more
        rounds.append(drained_bytes(world) - before)

    assert exact(world)
    assert sum(rounds) > 64 * 30 * kib
    assert max(rounds) <= 2 * 512 * kib
    assert rounds[0] <= 2 * 64 * kib  # the first is small: a process that memory kills gets on at each start


def drained_bytes(world: World) -> int:
    """The bytes of all properties in the lake, as they came."""
    return int(world.lake.scan(EVENTS).select(pl.col("properties").str.len_bytes().sum()).collect().item() or 0)


def test_a_round_for_which_memory_is_too_small_is_halved(world: World) -> None:
    """Rounds get smaller until one passes, and nothing is lost. When none does, the drain says so and goes on."""
    world.ingest(purchase(f"u{n}", n, properties={"note": "x" * 1_000}) for n in range(600))
    drain = world.drain()
    taken: list[int] = []

    def full(step: str) -> None:
        if step == "before_write" and drain.size.bytes > room:
            taken.append(drain.size.bytes)
            raise MemoryError

    room = 512 * 1024
    drain.on_step = full
    while drain.step().has_more:
        pass
    assert taken == [2 * 1024 * 1024, 1024 * 1024]
    assert exact(world)

    room = 0
    world.ingest([purchase("u1", 1_000)])
    with pytest.raises(MemoryError):
        drain.step()
    room = 2**30
    drain.step()
    assert exact(world)


def test_a_drain_that_lost_its_lease_ends_before_its_commit(
    world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round renews its lease for as long as it takes. A drain that lost its lease meanwhile commits nothing, and
    drains on when the lease is free."""
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    client, lease = redis.Redis.from_url(redis_url), keys.lease("drain")
    rounds = 0

    def paused(step: str) -> None:
        nonlocal rounds
        if step == "before_write":
            rounds += 1
            if rounds == 1:
                client.pexpire(lease, 5_000)
                wait_until(lambda: client.pttl(lease) > 5_000, "the lease is renewed during the round")
                client.set(lease, "another's")

    world.ingest([purchase("u1", 1)])
    drain, stop = world.drain(paused), threading.Event()
    running = threading.Thread(target=drain.run, args=(stop,))
    running.start()
    try:
        wait_until(lambda: rounds, "the round")
        wait_until(lambda: world.store.heartbeat("drain"), "the round is over")
        assert world.lake.events().collect().is_empty()
        client.delete(lease)
        wait_until(lambda: not world.lake.events().collect().is_empty(), "the drain goes on")
    finally:
        stop.set()
        running.join()
        client.close()
    assert exact(world) and drain.report == {"stopped": {}}


def test_refused_events_are_kept_once_by_a_drain_that_is_killed(world: World) -> None:
    """A drain that died between the commit of refused events and their trimming doubles none of them."""

    def killed(step: str) -> None:
        if step == "kept":
            raise Killed(step)

    world.store.reject([b'{"received_at": 1, "code": "bad", "reason": "no", "event": "{}"}'] * 2)
    with pytest.raises(Killed):
        world.drain(killed).keep_rejected()
    assert world.drain().keep_rejected() == 2
    world.store.reject([b'{"received_at": 2, "code": "bad", "reason": "no", "event": "{}"}'])
    assert world.drain().keep_rejected() == 1
    assert world.drain().keep_rejected() == 0
    assert sorted(world.lake.rejected().collect()["received_at"]) == [1, 1, 2]


def test_after_the_commit_of_another_a_drain_reads_only_new_versions(
    redis_url: str, tmp_path: Path, object_store: SmallS3
) -> None:
    """Where others wrote to the table, and where another drain was first, a drain reads the logs of their versions, not
    the whole log for each shard. Where these are gone it asks Delta, and finds the same."""
    world = World(redis_url, tmp_path, lake_root=f"s3://{object_store.bucket}/lake", shards=4)
    world.recover()
    drain, other = world.drain(), world.drain()
    for number in range(12):
        world.ingest(purchase(f"u{n}", number) for n in range(8))
        drain.step()
    read: list[str] = []

    def logged(method: str, key: str) -> None:
        if method == "GET" and "/events/_delta_log/0" in f"/{key}":
            read.append(key.rpartition("/")[2])

    for number in range(3):
        world.lake.append(EVENTS, EVENTS.columns.empty_table())
        world.ingest(purchase(f"u{n}", 20 + number) for n in range(8))
        other.step()
        world.ingest(purchase(f"u{n}", 30 + number) for n in range(8))
        before = world.lake.events_version()
        object_store.before = logged
        drain.step()
        object_store.heal()

    assert exact(world)
    assert len(read) < 30, "a look at the whole log for each shard takes 171"
    assert min(read) > f"{12:020}"
    known = {shard: world.lake.transaction_versions(2, 4)[shard] for shard in range(4)}
    assert world.lake.transactions_since(2, known, before) == dict(
        enumerate(world.lake.transaction_versions(before, 4))
    )
    StoredFiles(world.lake.root).delete(f"events/_delta_log/{4:020}.json")
    assert world.lake.transactions_since(2, known, before) is None
