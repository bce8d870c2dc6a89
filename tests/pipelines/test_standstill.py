"""Work that stands still is told, and ends its process at last; work that goes on, however slowly, is let alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from pipelines import drain
from pipelines.drain import Drain
from pipelines.standstill import ENDED_AFTER_S, LOOK_S, TOLD_AFTER_S, Standstill
from tests.faults.victims import ROOT
from tests.pipelines.world import World
from tests.waiting import wait_until

LOOKS_UNTIL_TOLD, LOOKS_UNTIL_ENDED = int(TOLD_AFTER_S / LOOK_S), int(ENDED_AFTER_S / LOOK_S)

#: A drain whose recovery waits for ever, looked at so often that a test can wait for its end.
HANGING = """
import sys, threading
from pipelines import drain, standstill
from lake.lake import Lake
from serving.settings import Settings
from serving.store.store import Store
drain.LOOK_S = 0.05
redis_url, folder = sys.argv[1:]
settings = Settings(home=folder, redis_url=redis_url, shards=2)
wait_for_nothing = threading.Event().wait
drain.Drain(Store(redis_url, 2), Lake(folder + "/lake"), settings, recover=wait_for_nothing).run(threading.Event())
"""


#: A worker whose rebuild waits for ever.
HANGING_WORKER = """
import sys, threading
from pipelines import worker
from lake.lake import Lake
from serving.settings import Settings
from serving.store.store import Store
worker.BEAT_S = 0.05
redis_url, folder = sys.argv[1:]
settings = Settings(home=folder, redis_url=redis_url, shards=2)
hang, nothing = lambda ids: threading.Event().wait(), lambda: {}
worker.Worker(Store(redis_url, 2), Lake(folder + "/lake"), settings, hang, nothing, nothing).run(threading.Event())
"""


def _work() -> None:
    """Takes a tenth of a second of the processor, in another thread than the one that looks."""

    def work() -> None:
        until_s = time.thread_time() + 0.1
        while time.thread_time() < until_s:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_work_that_takes_no_time_of_the_processor_is_told_then_over() -> None:
    """From the look on at which it has stood still for so long, with how long that is."""
    standstill = Standstill("a round")
    _work()
    told = [standstill.look() for _ in range(LOOKS_UNTIL_ENDED)]
    assert not standstill.is_over
    assert told[:LOOKS_UNTIL_TOLD] == [None] * LOOKS_UNTIL_TOLD
    assert all(why is not None and why.startswith("a round stands still") for why in told[LOOKS_UNTIL_TOLD:])
    standstill.look()
    assert standstill.is_over


def test_work_that_goes_on_is_not_told() -> None:
    """However rarely it comes to its turn: a look after it counts from the beginning."""
    standstill = Standstill("a round")
    for _ in range(3):
        _work()
        assert [standstill.look() for _ in range(LOOKS_UNTIL_TOLD)] == [None] * LOOKS_UNTIL_TOLD


@pytest.mark.timeout(120)
def test_a_drain_whose_recovery_hangs_says_so_and_ends(redis_url: str, tmp_path: Path) -> None:
    """Its heartbeat is an error that says what stands still; it ends as whoever is to be started again, and leaves
    behind where each thread stood."""
    world = World(redis_url, tmp_path, shards=2)
    hanging = [sys.executable, "-c", HANGING, redis_url, str(tmp_path)]
    with subprocess.Popen(hanging, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: "error" in msgspec.json.decode(world.store.heartbeat("drain") or b"{}"), "it says so")
            said = msgspec.json.decode(world.store.heartbeat("drain") or b"{}")
            _, left = process.communicate(timeout=60)
        finally:
            process.kill()
    assert said["status"] == "error" and said["recovering"] is True
    assert said["error"].startswith("the recovery stands still")
    assert process.returncode == os.EX_TEMPFAIL
    assert "Thread 0x" in left and "in _work" in left


def test_a_round_that_takes_long_is_told_until_it_ends(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it uses the processor all the time: its events wait."""
    world = World(redis_url, tmp_path, shards=2)
    monkeypatch.setattr(drain, "LOOK_S", 0.05)
    monkeypatch.setattr(drain, "LONG_ROUND_S", 0.1)
    told, stop = threading.Event(), threading.Event()

    def busy(_: str) -> None:
        while not told.is_set():
            pass

    def said() -> str:
        return str(msgspec.json.decode(world.store.heartbeat("drain") or b"{}").get("error", ""))

    draining = Drain(world.store, world.lake, world.settings, recover=world.recover, on_step=busy)
    thread = threading.Thread(target=draining.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: said().startswith("a round takes "), "it says so")
        told.set()
        wait_until(lambda: not said(), "it does not say so any more")
    finally:
        told.set()
        stop.set()
        thread.join()


@pytest.mark.deep
@pytest.mark.timeout(120)
def test_a_worker_whose_rebuild_hangs_says_so_and_ends(redis_url: str, tmp_path: Path) -> None:
    """Else it would keep its lease for ever, and all other work from its turn. The next worker takes the rebuild for
    one that failed."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.store.want_rebuild()
    hanging = [sys.executable, "-c", HANGING_WORKER, redis_url, str(tmp_path)]
    with subprocess.Popen(hanging, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: "error" in msgspec.json.decode(world.store.heartbeat("worker") or b"{}"), "it says so")
            said = msgspec.json.decode(world.store.heartbeat("worker") or b"{}")
            _, left = process.communicate(timeout=60)
        finally:
            process.kill()
    assert said["error"].startswith("rebuild stands still")
    assert process.returncode == os.EX_TEMPFAIL
    assert "Thread 0x" in left and "in attempt" in left
    assert world.store.work_under_way() is not None
