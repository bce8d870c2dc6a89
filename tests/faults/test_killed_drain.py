"""A drain whose process is killed at any step of its round leaves the lake exact, and the next one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.draining import SHARDS
from tests.faults.truth import assert_lake_is_exact
from tests.pipelines.world import World, purchase

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("step", ["checked", "read", "linked", "before_write", "after_write", "trimmed"])
def test_a_drain_killed_at_any_step_leaves_each_seq_once(redis_url: str, tmp_path: Path, step: str) -> None:
    """Nothing it did or did not do is lost or done twice, and events go on meanwhile."""
    world = World(redis_url, tmp_path, shards=SHARDS)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest(purchase(f"u{number % 9}", number) for number in range(40))

    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.draining", redis_url, str(tmp_path), step],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    world.ingest(purchase(f"u{number % 9}", number) for number in range(30, 60))
    world.drain().step()
    world.rebuild()
    assert_lake_is_exact(world.lake.root)
    assert sum(world.values(f"u{number}")["orders"] for number in range(9)) == 60
