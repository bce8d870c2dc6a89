"""The chores of a worker: one that fails keeps none of the others from its turn, and is tried again soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lake.errors import LakeUnreachable
from lake.schemas import AUDIT, REJECTED, RUNS
from pipelines.due import RETRY_S, RETRY_S_MAX, Due, pause_after
from pipelines.heartbeat import beat
from pipelines.maintain import maintain
from pipelines.packing import pack
from pipelines.work import NoOrders, Order
from pipelines.worker import KILLED, Worker
from tests.pipelines.world import World, purchase
from tests.waiting import wait_until


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A recovered system with one event."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    return world


def test_a_rebuild_that_fails_keeps_no_chore_waiting(world: World) -> None:
    """Purge, maintenance and packing come each in its turn while every rebuild fails, even by a fault of our own. The
    report has the error until a rebuild succeeds, however often other chores do."""
    did: list[str] = []
    broken = True

    def rebuild(ids: Any) -> Any:
        did.append("rebuild")
        if broken:
            raise KeyError("a fault of our own")
        return world.rebuild(ids)

    worker = Worker(
        world.store,
        world.lake,
        world.settings,
        rebuild,
        lambda: did.append("purge"),
        lambda: did.append("maintain"),
    )
    world.store.want_rebuild()
    for due, _ in worker.chores.values():
        due.next_s = 0.0
    worker.look()
    worker.tell()

    assert did == ["rebuild", "purge", "maintain"]
    assert worker.report["error"] == "rebuild: KeyError"
    assert worker.report["chores"]["rebuild"] == {"succeeded_at": None, "failures": 1}
    assert all(worker.report["chores"][name]["succeeded_at"] for name in ("purge", "maintain", "pack"))

    worker.look()
    assert did == ["rebuild", "purge", "maintain"], "a request waits until the rebuild may be tried again"
    for due, _ in worker.chores.values():
        due.next_s = 0.0
    worker.look()
    worker.tell()
    assert did[3:] == ["purge", "maintain"] and worker.report["error"] == "rebuild: KeyError"

    broken = False
    worker.full.next_s = 0.0
    worker.look()
    worker.tell()
    assert did[5:] == ["rebuild"] and "error" not in worker.report
    assert not world.store.rebuild_requests().is_full


def test_work_that_kills_every_worker_keeps_no_chore_waiting(world: World) -> None:
    """A rebuild for which the machine kills the worker, each time: the next worker says so, purges first, and tries
    after a pause that grows with each worker that was killed. The error stays until a rebuild succeeds."""
    did: list[str] = []

    class Killed(BaseException):
        """Ends a worker as SIGKILL does: it does nothing more."""

    def rebuild(ids: Any) -> Any:
        did.append("rebuild")
        if did.count("rebuild") <= 2:
            raise Killed
        return world.rebuild(ids)

    def worker() -> Worker:
        made = Worker(
            world.store,
            world.lake,
            world.settings,
            rebuild,
            lambda: did.append("purge"),
            lambda: did.append("maintain"),
        )
        made.token = "one"  # the lease of a killed worker runs out, which takes seconds
        return made

    world.store.want_rebuild()
    with pytest.raises(Killed):
        worker().look()
    second = worker()
    for due, _ in second.chores.values():
        due.next_s = 0.0
    assert not second.look(), "what is due has changed"
    second.look()
    second.tell()
    assert did == ["rebuild", "purge", "maintain"]
    assert second.report["error"] == f"rebuild: {KILLED}"

    second.full.next_s = 0.0
    with pytest.raises(Killed):
        second.look()
    third = worker()
    third.look()
    third.tell()
    assert third.report["chores"]["rebuild"] == {"succeeded_at": None, "failures": 2}
    assert third.full.next_s - time.monotonic() > RETRY_S

    third.full.next_s = 0.0
    third.look()
    third.tell()
    assert did[-1] == "rebuild" and "error" not in third.report
    assert world.store.work_under_way() is None and not world.store.rebuild_requests().is_full


def test_what_fails_is_tried_again_soon_and_then_less_often() -> None:
    """A daily chore that fails is tried again after 2 s, and then at doubling pauses of at most a minute.
    After a success its interval counts, and it rests no more."""
    now_s = 0.0
    due = Due("purge", 86_400.0, 0.0, lambda: now_s)
    pauses = []
    for _ in range(8):
        assert due.is_due() and not due.rests
        due.attempt(lambda: 1 // 0)
        assert due.rests and not due.is_due()
        pauses.append(due.next_s - now_s)
        now_s = due.next_s
    assert pauses == [RETRY_S, 4.0, 8.0, 16.0, 32.0, RETRY_S_MAX, RETRY_S_MAX, RETRY_S_MAX]
    assert (due.error, due.failures) == ("ZeroDivisionError", 8)
    due.failures = 5_000  # for days
    due.attempt(lambda: 1 // 0)
    assert due.next_s - now_s == RETRY_S_MAX
    now_s = due.next_s

    assert due.attempt(lambda: "done") == "done"
    assert (due.error, due.failures, due.next_s - now_s) == (None, 0, 86_400.0)
    assert not due.is_due() and not due.rests


def test_a_pause_has_an_end_however_long_nothing_succeeds() -> None:
    """After hours of failures a drain waits as long as after ten: 2^1024 is no float any more."""
    assert [pause_after(failures, 0.2, 5.0) for failures in (0, 1, 4, 5, 1_023, 1_024, 10**6)] == [
        *(0.2, 0.4, 3.2),
        *[5.0] * 4,
    ]


def test_a_broken_table_keeps_the_others_from_nothing(world: World) -> None:
    """Maintenance and packing do their work on every other table, and then say what failed."""
    for number in range(4):
        world.lake.append_audit({"at": number})
        world.lake.append_rejected([(number, {"received_at": number})])
        world.lake.append_run({"build": number + 1, "kind": "ids", "seqs": [0], "as_of": 0})
    for path in Path(world.lake.root, REJECTED.name).glob("*.parquet"):
        path.unlink()

    with pytest.raises(LakeUnreachable, match=r"part-|rejected"):
        pack(world.lake, 2)
    assert len(world.lake.open(AUDIT).file_uris()) == 1
    world.lake.append_audit({"at": 5})
    with pytest.raises(LakeUnreachable, match=r"part-|rejected"):
        maintain(world.lake)
    assert len(world.lake.open(AUDIT).file_uris()) == 1
    assert len(world.lake.open(RUNS).file_uris()) == 1


class SeenOrders(NoOrders):
    """No orders; keeps what it is told about the work that began last."""

    def __init__(self) -> None:
        self.began: list[Mapping[str, int]] = []

    def due(self, began_ms: Mapping[str, int]) -> list[Order]:
        """None."""
        self.began.append(dict(began_ms))
        return []


def test_work_that_began_at_a_time_to_come_serves_no_schedule(world: World) -> None:
    """Redis' clock was ahead at the last rebuild, or the worker's at the last purge. What schedules want from now on is
    due all the same, and is not called served until that time has come."""
    ahead_ms = world.store.now_ms() + 86_400_000
    build = world.lake.last_build() + 1
    world.lake.append_run({"build": build, "kind": "full", "seqs": [0], "as_of": ahead_ms, "seconds": 0.0})
    orders = SeenOrders()
    worker = Worker(world.store, world.lake, world.settings, world.rebuild, lambda: None, lambda: None, orders)
    stopped = threading.Event()
    stopped.set()
    worker.run(stopped)
    assert worker.began_ms["rebuild"] == ahead_ms
    worker.began_ms["purge"] = ahead_ms

    worker.look()
    worker.look()

    first, second = orders.began
    assert max(first.values()) <= time.time_ns() // 1_000_000
    assert {name: second[name] for name in first} == first, "later times are due"


def test_work_that_does_not_end_is_an_error(world: World) -> None:
    """The heartbeat says on what the worker works, and calls it an error once it takes longer than bases stay exact."""
    beats: list[dict[str, Any]] = []

    def purge() -> None:
        assert worker.working is not None
        for age_ms in (0, world.settings.horizon_ms + 1):
            worker.working["since"] -= age_ms
            beats.append(worker.heartbeat())

    worker = Worker(world.store, world.lake, world.settings, world.rebuild, purge, lambda: None)
    worker.chores["purged"][0].next_s = 0.0
    worker.look()

    assert [beat["working"]["on"] for beat in beats] == ["purge", "purge"]
    assert [beat.get("error") for beat in beats] == [None, "purge does not end"]
    assert "working" not in worker.heartbeat()


def test_a_worker_that_waits_hides_no_error_of_the_one_that_works(world: World) -> None:
    """The heartbeat is that of the process that holds the lease, whoever beats last. When that one is silent, another
    speaks."""
    for is_holder, by in ((True, "works"), (False, "waits")):
        beat(world.store, "worker", by, {"failures": is_holder}, 60_000, is_holder=is_holder)
    assert msgspec.json.decode(world.store.heartbeat("worker") or b"") == {"failures": True, "by": "works"}
    beat(world.store, "worker", "works", {"failures": 2}, 1, is_holder=False)
    wait_until(lambda: world.store.heartbeat("worker") is None, "silence")
    beat(world.store, "worker", "waits", {"failures": 0}, 60_000, is_holder=False)
    assert msgspec.json.decode(world.store.heartbeat("worker") or b"")["by"] == "waits"
