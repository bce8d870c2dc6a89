"""Redis comes back empty, or as it was before: everything is answered from the lake again, and nothing counts twice."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from lake.lake import Lake
from tests.faults.load import Load, load
from tests.faults.parts import await_drained, await_well, kill, pid_of
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.faults.watch import watch
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")


def assert_nothing_lost(stack: RunningStack, *loads: Load) -> None:
    """Asserts that live answers and the lake have what was acknowledged to the clients of all loads."""
    await_drained(stack)
    assert_lake_is_exact(stack.stack.lake_uri)
    for sent in loads:
        assert_all_counted(stack, sent)
        assert_in_lake(stack.stack.lake_uri, sent)


def test_a_wiped_redis_is_rebuilt_from_the_lake_while_clients_send(victim: RunningStack) -> None:
    """Clients are told to wait, and then go on. Events that were drained before are answered as before."""
    with load(victim, "before") as before:
        before.await_more(300)
    await_drained(victim)

    with ExitStack() as rows, redis.Redis.from_url(victim.stack.redis_url) as client:
        rows.enter_context(unreadable_rows(victim))  # a small lake is read before anybody sends
        client.flushall()
        with load(victim, "meanwhile") as meanwhile:
            wait_until(lambda: meanwhile.statuses[503], "a client is told to wait")
            rows.close()
            meanwhile.await_more(300)

    assert meanwhile.without_retry_after == 0
    assert_nothing_lost(victim, before, meanwhile)


@pytest.mark.deep
def test_a_redis_wiped_under_clients_at_work_says_what_is_warming_and_loses_only_what_was_not_drained(
    victim: RunningStack,
) -> None:
    """From the wipe on every answer is right, or says that it is warming; afterwards all are right. Only acknowledged
    events that the lake did not have yet may be missing."""
    victim.define("flag", "buyer", "orders >= 1")
    with load(victim, "resting") as resting:
        resting.await_more(300)
    await_drained(victim)
    expected = {user: {"orders": orders, "spent": spent} for user, (orders, spent) in resting.expected().items()}

    def is_right(user: str, traits: dict[str, Any]) -> bool:
        if user in expected:
            return traits == expected[user]
        counts = Counter(event["userId"] for event in [*working.sent.values()])
        return drained[user] <= traits["orders"] <= counts[user]

    with load(victim, "working") as working:
        working.await_more(300)
        before = ids_in_lake(victim, "working")
        drained = Counter(working.sent[event_id]["userId"] for event_id in before)
        users = [*list(expected)[:5], *[user for user, _ in drained.most_common(5)]]
        with watch(victim, users, "buyer", is_right) as seen, redis.Redis.from_url(victim.stack.redis_url) as client:
            with unreadable_rows(victim):  # for as long as it takes somebody to ask: the rebuild waits for them
                client.flushall()
                unsure = set(working.sent) - before
                wait_until(
                    lambda: seen.failed or min(seen.counts["traits warming"], seen.counts["flag STALE"]),
                    "somebody is told to wait",
                )
            working.await_more(300)
            wait_until(lambda: not any(victim.traits(user)["warming"] for user in users), "all is rebuilt")

    assert seen.wrong == []
    assert seen.counts["traits exact"] > 0
    assert working.statuses[503] > 0 and working.without_retry_after == 0
    assert_nothing_lost(victim, resting)
    after = ids_in_lake(victim, "working")
    assert before <= after
    assert working.acknowledged - after <= unsure
    for user in {event["userId"] for event in working.sent.values()}:
        events = [working.sent[event_id] for event_id in after if working.sent[event_id]["userId"] == user]
        amounts = [event["properties"]["amount"] for event in events]
        answer = victim.traits(user)
        assert answer["traits"] == {"orders": len(amounts), "spent": sum(amounts)} and not answer["warming"], user


@contextmanager
def unreadable_rows(stack: RunningStack) -> Iterator[None]:
    """Takes the files that the lake's events are in away until the end of the block. New ones may be written."""
    files = list(Path(stack.stack.lake_uri, "events").rglob("*.parquet"))
    assert files
    for file in files:
        file.rename(f"{file}.away")
    try:
        yield
    finally:
        for file in files:
            Path(f"{file}.away").rename(file)


def ids_in_lake(stack: RunningStack, name: str) -> set[str]:
    """The message ids of a load that the lake has."""
    rows = Lake(stack.stack.lake_uri).events().select("event_id").collect()
    return {event_id for event_id in rows["event_id"].to_list() if event_id.startswith(f"{name}-")}


@pytest.mark.deep
def test_an_older_redis_goes_on_above_the_lake(victim: RunningStack) -> None:
    """A Redis with an older copy of its file gets back what the lake has, and gives no seq out a second time."""
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
    """Kills Redis while nobody can reap it; returns its pid."""
    pid = pid_of(stack, "redis")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.deep
def test_a_repeat_counts_once_whenever_it_comes(victim: RunningStack) -> None:
    """A repeat at once, after the rebuild that covers the event, and after a restart of Redis is acknowledged as a
    duplicate (D-19)."""
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
