"""An object store that answers with errors, not at all, or now and then: events wait in Redis, health, metrics and
doctor say so, and afterwards the lake has each event once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.drain import LONG_ROUND_S
from tests.faults.conftest import breakable
from tests.faults.load import load
from tests.faults.parts import await_drained, health
from tests.faults.test_killed_drain import is_commit
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack
from tests.small_s3 import SmallS3, small_s3
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("failing_store"), pytest.mark.timeout(180), pytest.mark.deep]


@pytest.fixture(scope="module")
def store() -> Iterator[SmallS3]:
    """The object store under the stack."""
    with small_s3() as server:
        yield server


@pytest.fixture(scope="module")
def victim(store: SmallS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose lake is on this store, which is healed before the stack is stopped."""
    lake_uri = f"s3://{store.bucket}/lake"
    with pytest.MonkeyPatch.context() as patch:  # for the stack, and for commands against it
        for name, value in store.environment.items():
            patch.setenv(name, value)
        with breakable(tmp_path_factory.mktemp("home"), lake_uri=lake_uri) as running:
            try:
                yield running
            finally:
                store.heal()


def gauge(stack: RunningStack, name: str) -> float:
    """The sum of a gauge over its labels."""
    lines = stack.call("GET", "/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@pytest.mark.parametrize("how", ["fail", "fall_silent"])
def test_while_the_store_fails_events_wait_in_redis_and_everybody_says_so(
    victim: RunningStack, store: SmallS3, how: str
) -> None:
    """While the store fails, ingest and answers go on, and health, metrics and doctor name the lake and how many events
    wait for it. When the store answers again, each event is drained once."""
    before_ms = health(victim)["checks"]["drain"].get("succeeded_at")
    with load(victim, how) as sent:
        sent.await_more(200)
        wait_until(lambda: health(victim)["checks"]["drain"].get("succeeded_at") != before_ms, "a round")
        getattr(store, how)()
        sent.await_more(300)
    assert set(sent.statuses) == {200}
    assert_all_counted(victim, sent)
    cannot = "the drain says that it cannot drain"
    wait_until(lambda: health(victim)["checks"]["drain"]["status"] == "error", cannot, LONG_ROUND_S + 60)
    body = health(victim)
    assert body["status"] == "error"
    assert body["checks"]["lake"]["status"] == "error"
    drain = body["checks"]["drain"]
    assert drain["lag_events"] > 0
    if how == "fail":  # a drain that waits for an answer says nothing
        assert drain["failures"] > 0 and drain["succeeded_at"] not in (None, before_ms)
    assert gauge(victim, "tinycdp_lake_up") == 0
    assert gauge(victim, "tinycdp_lake_lag_seq") == body["checks"]["drain"]["lag_events"]
    assert victim.call("GET", "/ingest/health").status_code == 200
    assert victim.call("GET", "/decide/health").status_code == 200
    if how == "fail":  # a store that does not answer at all keeps each caller waiting for half a minute
        doctor = victim.tinycdp("doctor", ok=False)
        assert doctor.returncode == 3 and victim.stack.lake_uri in doctor.stderr

    store.heal()
    await_drained(victim)
    assert gauge(victim, "tinycdp_lake_up") == 1
    assert health(victim)["checks"]["drain"]["failures"] == 0
    assert_lake_is_exact(victim.stack.lake_uri)
    assert_in_lake(victim.stack.lake_uri, sent)
    assert_all_counted(victim, sent)
    report = victim.json("doctor", ok=False)
    assert report["well"] and report["parity"]["compared"] > 0, report


def test_a_store_that_fails_now_and_then_gets_each_event_once(victim: RunningStack, store: SmallS3) -> None:
    """A store may fail before it does what it is asked, or after: its writer hears that a commit failed that was done.
    The lake has each event once all the same."""
    chance = random.Random(18)
    commits: list[int | None] = []

    def maybe(method: str, key: str) -> int | None:
        return 500 if chance.random() < 0.2 else None

    def after_commits_too(method: str, key: str) -> int | None:
        if is_commit(method, key):
            commits.append(500 if len(commits) % 2 else None)
            return commits[-1]
        return maybe(method, key)

    # As maintenance does. The tests before leave a log of many files. A drain that hears of a conflict reads the log
    # once a shard: without a checkpoint, and while each fifth request fails, that takes most of a minute.
    Lake(victim.stack.lake_uri).open(EVENTS).create_checkpoint()
    store.before, store.after = maybe, after_commits_too
    with load(victim, "often") as sent:
        sent.await_more(200)
        wait_until(lambda: len(commits) >= 6, "some commits that are done are reported as failed")
    store.heal()

    assert set(sent.statuses) == {200}
    await_drained(victim)
    assert_lake_is_exact(victim.stack.lake_uri)
    assert_in_lake(victim.stack.lake_uri, sent)
    assert_all_counted(victim, sent)
