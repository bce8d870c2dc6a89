"""Every part of a running stack may be killed: acknowledged events are there, once, and the part comes back."""

from __future__ import annotations

import pytest

from serving.store.store import Store
from tests.faults.load import Load, load
from tests.faults.parts import await_drained, await_well, health, kill
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")


def assert_nothing_lost(stack: RunningStack, sent: Load) -> None:
    """Asserts that live answers and the lake have what was acknowledged to the clients."""
    assert_all_counted(stack, sent)
    await_drained(stack)
    assert_lake_is_exact(stack.stack.lake_uri)
    assert_in_lake(stack.stack.lake_uri, sent)


@pytest.mark.deep
def test_a_redis_killed_under_load_has_every_acknowledged_event_once(victim: RunningStack) -> None:
    """Two kills lose nothing, since the append-only file is synced before each answer; resends double nothing."""
    with load(victim, "redis") as sent:
        for _ in range(2):
            sent.await_more(200)
            killed = kill(victim, "redis")
            assert health(victim)["status"] == "error"
            await_well(victim, "redis", killed)
        sent.await_more(200)

    assert sent.statuses[503] > 0, "no client noticed"
    assert sent.without_retry_after == 0
    assert_nothing_lost(victim, sent)


@pytest.mark.deep
def test_an_api_killed_under_load_leaves_each_event_wholly_in_or_not_at_all(victim: RunningStack) -> None:
    """Clients that got no answer send again. Log and record agree on every event, and so do lake and answers."""
    with load(victim, "api") as sent:
        for _ in range(2):
            sent.await_more(200)
            killed = kill(victim, "api")
            await_well(victim, "api", killed)
        sent.await_more(200)

    assert sent.statuses[0] > 0, "no request was cut off"
    assert_nothing_lost(victim, sent)


@pytest.mark.deep
def test_a_drain_killed_under_load_leaves_the_lake_exact(victim: RunningStack) -> None:
    """Ingest goes on while the drain is killed twice, anywhere in its round, and the lake has each seq once."""
    with load(victim, "drain") as sent:
        for _ in range(2):
            sent.await_more(200)
            killed = kill(victim, "drain")
            sent.await_more(100)
            await_well(victim, "drain", killed)

    assert set(sent.statuses) == {200}
    assert_nothing_lost(victim, sent)


@pytest.mark.deep
def test_a_worker_killed_in_a_rebuild_leaves_answers_right(victim: RunningStack) -> None:
    """The request of a rebuild outlives its worker, and the next worker answers it."""
    with load(victim, "worker") as sent:
        sent.await_more(200)
        with Store(victim.stack.redis_url) as store:
            number = store.want_rebuild()
            killed = kill(victim, "worker")
            sent.await_more(100)
            await_well(victim, "worker", killed)
            wait_until(lambda: store.rebuild_requests().done >= number, "the next worker has rebuilt")

    assert set(sent.statuses) == {200}
    assert_nothing_lost(victim, sent)
