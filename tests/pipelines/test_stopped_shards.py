"""Shards that stand still, since an older copy of the lake was put in its place: logged, counted, and with a remedy."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from cli.doctor import examine, report_text
from lake.lake import Lake
from pipelines import drain
from serving.store import keys
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get
from tests.waiting import wait_until


@contextmanager
def draining(world: World) -> Iterator[None]:
    """A drain that runs until the end of the block."""
    stop = threading.Event()
    running = threading.Thread(target=world.drain().run, args=(stop,))
    running.start()
    try:
        yield
    finally:
        stop.set()
        running.join()


@pytest.fixture
def rewound(redis_url: str, tmp_path: Path) -> World:
    """A world whose lake is older than Redis: it lacks four drained events of a shard, of which Redis kept the last."""
    world = World(redis_url, tmp_path, shards=4, metrics_open=True)
    world.recover()
    world.drain().step()
    root = Path(world.lake.root)
    shutil.copytree(root, tmp_path / "older")
    world.ingest(purchase("u1", number) for number in range(4))
    world.drain().step()
    shutil.rmtree(root)
    (tmp_path / "older").rename(root)
    with redis.Redis.from_url(redis_url) as client:
        client.xtrim(keys.log(shard_of_u1(world)), minid="4-0", approximate=False)
    world.lake = Lake(world.lake.root)
    return world


def shard_of_u1(world: World) -> int:
    """The shard of the events."""
    return next(state.shard for state in world.store.shard_states() if state.seq == 4)


def test_they_are_logged_when_they_stop_again_and_when_they_go_on(
    rewound: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line names the shards, why, and the remedy; it is not written each round."""
    shard = shard_of_u1(rewound)
    with capture_logs() as logs, draining(rewound):
        wait_until(lambda: rewound.store.heartbeat("drain"), "a round is over")
        wait_until(lambda: rewound.lake.fixed() is not None, "the lake is there")

    told = [line for line in logs if line["event"] == "shards_stopped"]
    assert [(line["log_level"], line["shards"]) for line in told] == [("error", {str(shard): "after seq 0 comes 4"})]
    assert "docs/deployment.md" in told[0]["remedy"]

    monkeypatch.setattr(drain, "TELL_AGAIN_S", 0.0)
    again = rewound.drain()
    with capture_logs() as logs:
        for stopped in ({shard: "a gap"}, {shard: "a gap"}, {}, {}):
            again._tell_stopped(stopped)
    assert [line["event"] for line in logs] == ["shards_stopped", "shards_stopped", "shards_go_on"]


def test_their_lag_is_what_the_lake_lacks(rewound: World) -> None:
    """Redis once saw all four drained; health, metrics and doctor count them as missing all the same."""
    with draining(rewound):
        wait_until(lambda: rewound.store.heartbeat("drain"), "a round is over")
        health, metrics = answers(rewound.settings, [get("/health"), get("/metrics")])
        report = examine(rewound.store, rewound.lake, rewound.settings, 0)

    assert health.json()["checks"]["drain"]["lag_events"] == 4
    assert f'tinycdp_lake_lag_seq{{shard="{shard_of_u1(rewound)}"}} 4.0' in metrics.text
    assert "tinycdp_shards_stopped 1.0" in metrics.text
    assert (report["drain_lag"], report["well"]) == (4, False)
    assert report["stopped_shards"] == {shard_of_u1(rewound): "after seq 0 comes 4"}
    assert "1 stand still" in report_text(report) and "Put the newer lake back" in report_text(report)
