"""Everything is lost but a backup: what was acknowledged before it is there again, nothing counts twice, and answers
are as they were."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections import Counter
from pathlib import Path

import psutil
import pytest

from cli.backup import read_backup
from lake.lake import Lake
from tests.commands import ended
from tests.faults.conftest import breakable
from tests.faults.load import load
from tests.faults.parts import await_drained
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack, stack_on
from tests.waiting import wait_until


def kill_all(stack: RunningStack) -> None:
    """Kills the supervisor and every process below it, at once."""
    supervisor = psutil.Process(stack.stack.pid)
    supervisor.suspend()  # it starts nothing anew
    processes = [*supervisor.children(recursive=True), supervisor]
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(still_runs, processes)), "all processes are gone")


def still_runs(process: psutil.Process) -> bool:
    """Whether a process runs. One that has ended may wait for its parent."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run(home: Path, *arguments: str) -> str:
    """What a command says on standard error, or on standard output where it is well."""
    done = ended(arguments, {**os.environ, "TINYCDP_HOME": str(home)}, timeout_s=120)
    return done.stdout if done.returncode == 0 else f"{done.returncode} {done.stderr}"


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_stack_that_lost_everything_is_as_it_was_at_its_backup(tmp_path: Path) -> None:
    """The stack takes events while it is copied, and is killed in the middle of others."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    with breakable(home) as stack:
        stack.define("flag", "buyer", "orders >= 1")
        with load(stack, "resting") as resting:
            resting.await_more(300)
        await_drained(stack)
        stack.tinycdp("rebuild")
        keys = (home / "keys.json").read_bytes()
        with load(stack, "working") as working:
            working.await_more(200)
            before = set(working.acknowledged)
            stack.tinycdp("backup", str(copy))
            paths = list(read_backup(copy).files)
            assert paths.index("redis.rdb") < min(paths.index(path) for path in paths if path.startswith("lake/"))
            sent = set(working.sent)
            working.await_more(100)
        kill_all(stack)
        shutil.rmtree(home)

        assert "restored" in run(home, "restore", str(copy))
        assert (home / "keys.json").read_bytes() == keys
        with stack_on(home, drain_interval_s="0.1") as again:
            await_drained(again)
            assert_all_counted(again, resting)
            assert_in_lake(again.stack.lake_uri, resting)
            assert_lake_is_exact(again.stack.lake_uri)
            there = ids_in_lake(again, "working")
            assert before <= there <= sent
            assert_answers(again, [working.sent[event_id] for event_id in there])
            assert again.decide("resting1", "buyer")["value"] is True
            with load(again, "later") as later:
                later.await_more(100)
            await_drained(again)
            assert_all_counted(again, later)
            assert_lake_is_exact(again.stack.lake_uri)
            assert again.json("doctor")["well"]

    opened = [path for path in [copy, *copy.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert opened == [], "another user may read a part of the backup"


def ids_in_lake(stack: RunningStack, name: str) -> set[str]:
    """The message ids of a load that the lake has."""
    rows = Lake(stack.stack.lake_uri).events().select("event_id").collect()
    return {event_id for event_id in rows["event_id"].to_list() if event_id.startswith(f"{name}-")}


def assert_answers(stack: RunningStack, events: list[dict[str, object]]) -> None:
    """Asserts that live answers are those of brute force over these events."""
    orders: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for event in events:
        user = str(event["userId"])
        orders[user] += 1
        spent[user] += event["properties"]["amount"]  # type: ignore[index]
    for user, count in orders.items():
        assert stack.traits(user)["traits"] == {"orders": count, "spent": spent[user]}, user


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_redis_from_before_the_lake_s_copy_goes_on_without_a_gap(tmp_path: Path) -> None:
    """What a store copied of the lake after the backup of the rest fits; what it copied before is refused."""
    home, copy, lake = tmp_path / "home", tmp_path / "copy", tmp_path / "home" / "lake"
    older, newer = tmp_path / "older", tmp_path / "newer"
    with breakable(home) as stack:
        with load(stack, "first") as first:
            first.await_more(50)
        await_drained(stack)
        shutil.copytree(lake, older)
        with load(stack, "second") as second:
            second.await_more(50)
        await_drained(stack)
        stack.tinycdp("backup", str(copy), "--no-lake")
        with load(stack, "third") as third:
            third.await_more(50)
        await_drained(stack)
        shutil.copytree(lake, newer)
        kill_all(stack)
        shutil.rmtree(home)

        shutil.copytree(older, lake)
        refusal = run(home, "restore", str(copy))
        assert refusal.startswith("1 ") and "is older than the backup" in refusal
        assert not (home / "keys.json").exists()

        shutil.rmtree(lake)
        shutil.copytree(newer, lake)
        assert "restored" in run(home, "restore", str(copy))
        with stack_on(home, drain_interval_s="0.1") as again:
            await_drained(again)
            for sent in (first, second, third):
                assert_all_counted(again, sent)
                assert_in_lake(again.stack.lake_uri, sent)
            assert_lake_is_exact(again.stack.lake_uri)
