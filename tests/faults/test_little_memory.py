"""A drain whose memory is too small, for a round or for a recovery: nothing is lost or doubled, events are refused
while Redis is not recovered, and all goes on once there is memory.

The limit is the kernel's, on the data of the process (RLIMIT_DATA). Where Python asks for more it gets a `MemoryError`,
where Polars or Delta do the process ends, and where a library starts a thread it hangs: then it says so, and ends later
(`pipelines.standstill`). None of these may lose anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
import redis

from lake.schemas import EVENTS
from serving.access.keys import raw_keys
from serving.store import keys
from tests.faults.victims import ROOT
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

SHARDS = 4
#: What a process may take beyond what it has: two threads take it. And less than one takes.
ROOM, NO_ROOM = 16 << 20, 4 << 20
USERS, EVENTS_EACH = 100, 40


class Drain:
    """A process of the drain, as `tinycdp drain` runs it, and its log."""

    def __init__(self, world: World, log: Path) -> None:
        self.log = log
        settings = world.settings
        environment = {
            **os.environ,
            "TINYCDP_HOME": str(settings.home),
            "TINYCDP_LAKE_URI": world.lake.root,
            "TINYCDP_REDIS_URL": settings.redis_url or "",
            "TINYCDP_SHARDS": str(SHARDS),
            "TINYCDP_DRAIN_INTERVAL_S": "0.1",
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "drain"], cwd=ROOT, env=environment, stdout=output, stderr=output
            )

    def bound(self, room: int) -> None:
        """Leaves the process so many bytes beyond those that it has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (data_kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmData")]
        psutil.Process(self.process.pid).rlimit(psutil.RLIMIT_DATA, (1024 * int(data_kib) + room,) * 2)


@contextmanager
def drain(world: World, log: Path) -> Iterator[Drain]:
    """A drain that works until the end of the block. That of one which died has its lease no more."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.delete(keys.lease("drain"), keys.heartbeat("drain"))
    started = Drain(world, log)
    try:
        wait_until(lambda: world.store.heartbeat("drain"), "the drain speaks")
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def report(world: World) -> dict[str, Any]:
    """What the drain last said of itself; empty where it is silent."""
    said = world.store.heartbeat("drain")
    found: dict[str, Any] = msgspec.json.decode(said) if said else {}
    return found


def is_stuck(world: World, running: Drain) -> bool:
    """Whether it ended, or says that it fails or stands still."""
    said = report(world)
    return running.process.poll() is not None or said.get("failures", 0) > 0 or "error" in said


def statuses(world: World) -> dict[str, tuple[int, str | None]]:
    """How the API answers, and what it says after how long to try again: its health, and an event."""
    event = httpx.Request(
        "POST",
        "http://api/v1/track",
        headers={"Authorization": f"Bearer {raw_keys(world.settings)['write']}"},
        json={"userId": "u1", "event": "purchase", "messageId": "refused"},
    )
    said = answers(world.settings, [get("/health"), get("/ingest/health"), event])
    return {
        name: (answer.status_code, answer.headers.get("Retry-After"))
        for name, answer in zip(("health", "ingest", "event"), said, strict=True)
    }


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system whose events are in the lake."""
    world = World(redis_url, tmp_path, shards=SHARDS)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    for number in range(EVENTS_EACH):
        world.ingest(purchase(f"u{user}", number) for user in range(USERS))
    while world.drain().step().has_more:
        pass
    return world


def assert_exact(world: World) -> None:
    """Asserts that the lake's rows of a shard are 1 to its transaction, each once."""
    for shard, seq in enumerate(world.lake.transaction_versions(None, SHARDS)):
        assert world.seqs(shard) == list(range(1, seq + 1))


@pytest.mark.deep
@pytest.mark.parametrize("room", [ROOM, NO_ROOM], ids=["little", "hardly any"])
def test_a_recovery_without_memory_refuses_events_and_the_next_one_is_whole(
    world: World, tmp_path: Path, room: int
) -> None:
    """A drain that has too little memory to recover a wiped Redis leaves it as not recovered: events get 503 with
    Retry-After, and health says so. The next drain, which has memory, recovers all."""
    log = tmp_path / "drain.log"
    with drain(world, log) as running, redis.Redis.from_url(world.settings.redis_url or "") as client:
        running.bound(room)
        client.flushall()
        wait_until(lambda: is_stuck(world, running), "the recovery fails")
        assert all(state.ready_run_id is None for state in world.store.shard_states())
        said = statuses(world)
        assert [status for status, _ in said.values()] == [503, 503, 503] and said["event"][1] is not None

    with drain(world, log):
        wait_until(lambda: all(state.ready_run_id for state in world.store.shard_states()), "the recovery")
    assert_exact(world)
    assert {world.values(f"u{user}")["orders"] for user in range(USERS)} == {EVENTS_EACH}
    world.ingest(purchase(f"u{user}", 0) for user in range(USERS))  # repeats
    world.ingest(purchase(f"u{user}", EVENTS_EACH) for user in range(USERS))
    assert {world.values(f"u{user}")["orders"] for user in range(USERS)} == {EVENTS_EACH + 1}


@pytest.mark.deep
def test_a_round_without_memory_loses_and_doubles_nothing(world: World, tmp_path: Path) -> None:
    """A drain that has too little memory for a round leaves its events in Redis. The next one brings each to the lake
    once."""
    log = tmp_path / "drain.log"
    with drain(world, log) as running:
        running.bound(ROOM)
        for number in range(20):
            events = [purchase(f"u{user}", 1_000 + number, properties={"note": "x" * 20_000}) for user in range(USERS)]
            world.ingest(events)
            if is_stuck(world, running):
                break
        wait_until(lambda: is_stuck(world, running), "a round fails")
        assert any(state.seq > state.drained for state in world.store.shard_states())
        assert_exact(world)
        expected = {world.values(f"u{user}")["orders"] for user in range(USERS)}

    with drain(world, log):
        wait_until(lambda: all(state.seq == state.drained for state in world.store.shard_states()), "all is drained")
    assert_exact(world)
    assert world.lake.scan(EVENTS).select("id", "event_id").collect().is_duplicated().sum() == 0
    world.rebuild()
    assert {world.values(f"u{user}")["orders"] for user in range(USERS)} == expected == {EVENTS_EACH + number + 1}
