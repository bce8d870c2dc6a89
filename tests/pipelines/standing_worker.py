"""A worker in a process of its own, which stands still in the middle of a rebuild until it is killed.

    python -m tests.pipelines.standing_worker REDIS_URL FOLDER

The bases are published then, and traits and memberships not written. It prints "standing".
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import polars as pl

from lake.lake import Lake
from lake.schemas import Table
from pipelines.prefect_flows import PrefectFlows
from pipelines.worker import Worker
from tests.pipelines.world import World

#: Longer than any test.
NEVER_S = 3_600.0
SETTINGS = {"rebuild_interval_s": NEVER_S, "purge_interval_s": NEVER_S, "maintain_interval_s": NEVER_S}


class StandingLake(Lake):
    """A lake to which no build is ever written."""

    def replace_latest(
        self, table: Table, version: int, build: int, make_rows: Callable[[], pl.DataFrame], purged: str | None
    ) -> pl.DataFrame | None:
        """Stands still."""
        print("standing", flush=True)
        threading.Event().wait()
        return None


def main(redis_url: str, folder: str) -> None:
    """Works until it is killed."""
    world = World(redis_url, Path(folder), shards=2, **SETTINGS)
    lake = StandingLake(world.lake.root)
    with PrefectFlows(world.store, lake, world.settings) as flows:
        Worker(world.store, lake, world.settings, *flows.work).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
