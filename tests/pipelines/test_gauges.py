"""`/metrics` tells the way from log to lake and back rightly, on a system in which it is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.rebuild import Run, rebuild
from pipelines.worker import BEAT_MS, Worker
from serving.ids import record_of
from serving.people.deletion import delete_person
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get
from tests.waiting import wait_until


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with three people, drained and rebuilt, whose metrics are open."""
    world = World(redis_url, tmp_path, shards=4, metrics_open=True)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest(purchase(user, 1) for user in ("ada", "bob", "cy"))
    world.drain().step()
    world.rebuild()
    return world


def gauge(world: World, name: str, **labels: str) -> float:
    """A sample of a new API process on this system."""
    (answer,) = answers(world.settings, [get("/metrics")])
    assert answer.status_code == 200, answer.text
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    (value,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return float(value)


def overtaken(world: World, deleted: str | None = None) -> Run:
    """Runs a rebuild that waits in its middle for another rebuild, and perhaps for a delete; returns the first run."""
    done: list[Any] = []

    def progress(what: str, _: int) -> None:
        if what == "publishing" and not done:
            done.append(what)
            if deleted is not None:
                world.store.follow(delete_person(world.store.operations, record_of(deleted), "gone"))
            done.append(world.rebuild())

    return rebuild(world.store, world.lake, world.settings, progress=progress)


def test_bases_that_records_refuse_are_counted_by_why(world: World) -> None:
    """Records refuse the bases of a rebuild that another overtook, and of people who were deleted meanwhile. The worker
    adds the refusals up over its rebuilds, and the answers are right all along."""
    first = overtaken(world)
    assert (first.users, first.published, first.refused_older, first.refused_deleted) == (3, 0, 3, 0)

    runs = [first, overtaken(world, deleted="cy")]
    worker = Worker(world.store, world.lake, world.settings, lambda ids: runs.pop(0), lambda: None, lambda: None)
    for _ in range(2):
        world.store.want_rebuild()
        assert worker.look()
    world.store.beat("worker", msgspec.json.encode(worker.report), BEAT_MS)

    assert gauge(world, "tinycdp_publishes_refused_total", because="older") == 5
    assert gauge(world, "tinycdp_publishes_refused_total", because="deleted") == 1
    assert [world.values(user)["orders"] for user in ("ada", "bob", "cy")] == [1, 1, 0]


def test_how_long_the_oldest_event_waits_for_the_lake_is_told(world: World) -> None:
    """The gauge is 0 while all is drained. It counts from the receipt of the oldest event that is not, and is 0 again
    after the drain."""
    assert gauge(world, "tinycdp_lake_lag_seconds") == 0
    world.ingest([purchase("ada", 2)])
    received_ms = max(state.last_received_ms for state in world.store.shard_states())
    world.ingest([purchase("ada", 3), purchase("bob", 3)])

    before_ms = wait_until(lambda: max(0, world.store.now_ms() - received_ms - 50), "some time has passed") + 50
    lag_s = gauge(world, "tinycdp_lake_lag_seconds")
    assert before_ms <= math.ceil(lag_s * 1000) <= world.store.now_ms() - received_ms

    world.drain().step()
    assert gauge(world, "tinycdp_lake_lag_seconds") == 0
