"""A supervisor that is killed leaves parts behind: they never share their folder with those of another one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from cli import up
from cli.orphans import Orphan, orphans
from cli.ports import free_port
from cli.process_lock import holder
from serving.settings import Settings
from tests.faults.conftest import DEFINITIONS
from tests.faults.load import load
from tests.faults.parts import await_drained
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack, stack_on
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("supervisor")


def kill_supervisor(pid: int) -> dict[str, int]:
    """Kills a supervisor and waits until it is gone; returns the pids of the parts that it had, by their names."""
    pids = {Path(name).stem: child.pid for child in psutil.Process(pid).children() if (name := lock_of(child))}
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not up.is_alive(pid), "the supervisor is gone")
    return pids


def lock_of(process: psutil.Process) -> str | None:
    """The file of the lock that a part has open."""
    return next((file.path for file in process.open_files() if file.path.endswith(".lock")), None)


def redis_servers(home: Path) -> list[int]:
    """The pids of all processes that write a Redis' file under home."""
    found = []
    for process in psutil.process_iter():
        try:
            files = [file.path for file in process.open_files()]
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if any(path.startswith(str(home / "redis")) and path.endswith("aof") for path in files):
            found.append(process.pid)
    return found


@pytest.mark.deep
@pytest.mark.timeout(240)
def test_a_supervisor_killed_under_load_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next `up` ends what is left, names it, and starts anew; `doctor` and `down` find what the second one left."""
    port = free_port()
    monkeypatch.setenv("TINYCDP_DRAIN_INTERVAL_S", "0.1")
    settings = Settings(home=tmp_path, port=port)
    with stack_on(tmp_path, port=str(port)) as first:
        for key, expression in DEFINITIONS.items():
            first.define("trait", key, expression)
        wait_until(lambda: not first.traits("nobody")["warming"], "the definitions are ready")
        with load(first, "left") as sent:
            sent.await_more(200)
            left = kill_supervisor(first.stack.pid)
            ended: list[Orphan] = []
            second = up.start(settings, with_prefect=False, on_orphans=ended.extend)
            sent.await_more(200)
        again = RunningStack(second, settings)

        assert {"redis"} <= {orphan.part for orphan in ended} <= {"worker", "api", "drain", "redis"}
        assert {orphan.part: orphan.pid for orphan in ended}["redis"] == left["redis"]
        assert redis_servers(tmp_path) == [holder(tmp_path / "redis" / "redis.lock")] != [left["redis"]]
        assert sent.without_retry_after == 0
        assert_all_counted(again, sent)
        await_drained(again)
        assert_lake_is_exact(second.lake_uri)
        assert_in_lake(second.lake_uri, sent)

        left = kill_supervisor(second.pid)
        told = again.tinycdp("doctor", ok=False)
        assert told.returncode == 3
        assert f"redis (process {left['redis']})" in told.stderr and "tinycdp down" in told.stderr
        wait_until(lambda: orphans(tmp_path) == [Orphan("redis", left["redis"])], "parts end by themselves")
        assert again.json("down") == {"stopped": True, "orphans": [{"part": "redis", "pid": left["redis"]}]}
        assert again.json("down") == {"stopped": False, "orphans": []}
        # A process that has ended keeps its number until whoever it was left to has looked at it.
        wait_until(lambda: not any(map(psutil.pid_exists, left.values())), "the parts are gone")
        assert redis_servers(tmp_path) == []
        again.http.close()
