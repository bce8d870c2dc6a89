"""Redis comes back empty, or as it was before: everything is answered from the lake again, and nothing counts twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import redis

from tests.faults.load import Load, load
from tests.faults.parts import await_drained, await_well, kill, pid_of
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("lost_redis")


def assert_nothing_lost(stack: RunningStack, *loads: Load) -> None:
    """Live answers and the lake agree with what the clients of all loads were told."""
    await_drained(stack)
    assert_lake_is_exact(stack.stack.lake_uri)
    for sent in loads:
        assert_all_counted(stack, sent)
        assert_in_lake(stack.stack.lake_uri, sent)


def test_a_wiped_redis_is_rebuilt_from_the_lake_while_clients_send(victim: RunningStack) -> None:
    """Clients are told to wait, and then go on; what was drained before is answered as before."""
    with load(victim, "before") as before:
        before.await_more(300)
    await_drained(victim)

    with redis.Redis.from_url(victim.stack.redis_url) as client:
        client.flushall()
    with load(victim, "meanwhile") as meanwhile:
        meanwhile.await_more(300)

    assert meanwhile.statuses[503] > 0, "no client was told to wait"
    assert meanwhile.without_retry_after == 0
    assert_nothing_lost(victim, before, meanwhile)


def test_an_older_redis_goes_on_above_the_lake(victim: RunningStack) -> None:
    """With an older copy of its file, Redis gets back what the lake has, and gives no seq out a second time."""
    file = next(Path(victim.settings.home, "redis").rglob("appendonly*.aof*"))
    with load(victim, "first") as first:
        first.await_more(200)
    await_drained(victim)
    shutil.copy(file, f"{file}.older")
    with load(victim, "second") as second:
        second.await_more(200)
    await_drained(victim)

    os.kill(victim.stack.pid, signal.SIGSTOP)  # the supervisor starts nothing while the file is exchanged
    killed = kill_stopped(victim)
    shutil.move(f"{file}.older", file)
    os.kill(victim.stack.pid, signal.SIGCONT)
    await_well(victim, "redis", killed)
    with load(victim, "third") as third:
        third.await_more(200)

    assert_nothing_lost(victim, first, second, third)


def kill_stopped(stack: RunningStack) -> int:
    """Kills Redis while nobody can reap it; its pid."""
    pid = pid_of(stack, "redis")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_repeat_counts_once_whenever_it_comes(victim: RunningStack) -> None:
    """At once, after the rebuild that covers it, after a restart of Redis: each time acknowledged as a duplicate."""
    event = {
        "type": "track",
        "event": "purchase",
        "userId": "repeater",
        "messageId": "only",
        "properties": {"amount": 5},
    }

    def sent() -> tuple[int, int]:
        body = victim.call("POST", "/v1/batch", "write", json={"batch": [event]}).json()
        return body["accepted"], body["duplicates"]

    assert sent() == (1, 0)
    assert sent() == (0, 1)
    await_drained(victim)
    victim.tinycdp("rebuild")
    assert sent() == (0, 1)
    await_well(victim, "redis", kill(victim, "redis"))
    assert sent() == (0, 1)
    await_drained(victim)
    assert victim.traits("repeater")["traits"] == {"orders": 1, "spent": 5}
    assert_lake_is_exact(victim.stack.lake_uri)
