"""Several API processes at one address: whichever answers says the same, and each may be killed, the parent too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.faults.load import load
from tests.faults.parts import await_drained
from tests.faults.truth import assert_all_counted, assert_in_lake
from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_two_processes_say_the_same_and_one_that_is_killed_loses_nothing(victim: RunningStack) -> None:
    """What one takes the other knows: a key, a definition, an event. Under load one is killed: another takes its place,
    all that was acknowledged is there once, and no counter of the address goes back. Without their parent they end:
    they would hold the address.
    """
    with api_beside(victim, api_processes="2") as both:
        await_both(both)
        one, other = processes()
        with asking(both, beside=other) as at_one, asking(both, beside=one) as at_other:
            key = at_one.call("POST", "/v1/admin/keys", json={"kind": "read", "label": "both"}).json()
            flag = {"key": "both", "rule": "orders >= 2"}
            assert at_one.call("POST", "/v1/admin/flags", json=flag).status_code == 200
            for number in range(2):
                at_one.track("both", "purchase", messageId=f"both-{number}", properties={"amount": 1})
            bearer = {"Authorization": f"Bearer {key['key']}"}
            answer = at_other.call("GET", "/v1/decide", None, params={"userId": "both", "flag": "both"}, headers=bearer)
            assert (answer.status_code, answer.json()["allow"]) == (200, True)

        before = accepted(both)
        with load(both, "processes") as sent:
            sent.await_more(200)
            os.kill(one, signal.SIGKILL)
            sent.await_more(200)
            wait_until(lambda: one not in processes() and len(processes()) == 2, "another takes its place")
            await_both(both)
            sent.await_more(100)

        assert sent.without_retry_after == 0
        assert_all_counted(victim, sent)
        # What the dead process took in its last second was not noted yet, and a batch that was repeated is a duplicate.
        wait_until(lambda: accepted(both) >= before + 200, "the counters of both are added up")
        running = processes()
        os.kill(parent().pid, signal.SIGKILL)
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in running), "they end without their parent")
    await_drained(victim)
    assert_in_lake(victim.stack.lake_uri, sent)


def parent() -> psutil.Process:
    """The process that started the others: a child of this one."""
    (found,) = [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and child.cmdline()[-1:] == ["cli.api_processes"]
    ]
    return found


def processes() -> list[int]:
    """The pids of the processes that are there, in the order of their numbers."""
    children = [child for child in parent().children() if child.status() != psutil.STATUS_ZOMBIE]
    with_words = [(child.cmdline(), child.pid) for child in children]
    return [pid for words, pid in sorted(with_words) if "cli.api_process" in words]


def await_both(stack: RunningStack) -> None:
    """Returns when each of two processes that run now has told what it counts, which it does as it takes requests."""

    def told() -> list[float]:  # nothing of a process that is gone
        return [sample.value for sample in samples(stack) if sample.name == "tinycdp_process_start_time_seconds"]

    wait_until(lambda: len(told()) == 2, "both take requests")


def accepted(stack: RunningStack) -> float:
    """How many events the address took since it began."""
    (found,) = [sample.value for sample in samples(stack) if sample.name == "tinycdp_events_accepted_total"]
    return found


def samples(stack: RunningStack) -> list[Sample]:
    """What `/metrics` says."""
    families = text_string_to_metric_families(stack.call("GET", "/metrics").text)
    return [sample for family in families for sample in family.samples]


@contextmanager
def asking(stack: RunningStack, beside: int) -> Iterator[RunningStack]:
    """The stack by a connection that another process takes than this one, which stands still as it is opened."""
    at_one = RunningStack(stack.stack, stack.settings)
    os.kill(beside, signal.SIGSTOP)
    try:
        assert at_one.call("GET", "/v1/decide", None).status_code == 401
    finally:
        os.kill(beside, signal.SIGCONT)
    try:
        yield at_one
    finally:
        at_one.http.close()
