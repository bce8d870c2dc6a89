"""A writer of the table of events, in a process of its own, that pauses in the middle of its writes:
`python -m tests.faults.conflicting WRITER URL FOLDER`. WRITER is "drain", "compact" or "purge".

Days count as over a day early, so that compaction and purge rewrite the very partition that the drain appends to.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from lake.errors import LakeConflict
from lake.lake import Lake
from lake.schemas import EVENTS, Table
from lake.tables import Change
from pipelines.maintain import maintain
from pipelines.purge.purge import purge
from tests.pipelines.world import World
from tests.waiting import PAUSE_S

SHARDS = 4
ROUNDS = {"compact": 4, "purge": 3}
#: A pause ends when somebody else has committed, or after so many looks.
LOOKS = 40
#: Pauses of a writer, fewer than a purge or a drain tries again. It pauses as likely as not.
PAUSES = 4
STOP = "stop"


class PausingLake(Lake):
    """The lake, whose writer pauses some times between its look at the events and its commit."""

    def __init__(self, root: str, writer: str) -> None:
        super().__init__(root)
        self._chance, self._pauses = random.Random(writer), 0

    def open(self, table: Table) -> DeltaTable:
        """The table as it was before a pause."""
        opened = super().open(table)
        if table is EVENTS:
            self.pause()
        return opened

    def rewrite_once(self, table: Table, partition: Mapping[str, str], change: Change) -> None:
        """Rewrites with pauses in between; prints "conflict" when another writer was first."""

        def paused(batch: pa.RecordBatch) -> pa.RecordBatch:
            if table is EVENTS:
                self.pause()
            return change(batch)

        try:
            super().rewrite_once(table, partition, paused)
        except LakeConflict:
            print("conflict")
            raise

    def pause(self) -> None:
        """Waits for a commit of another writer, or goes on at once."""
        if self._pauses < PAUSES and self._chance.random() < 0.5:
            self._pauses += 1
            before = self.commits()
            for _ in range(LOOKS):
                if self.commits() != before:
                    return
                threading.Event().wait(PAUSE_S)

    def commits(self) -> int:
        """The number of commits of the table of events."""
        return len(list(Path(self.root, EVENTS.name, "_delta_log").glob("*.json")))


def tomorrow(world: World) -> datetime:
    """A day on which the rows of today may be rewritten."""
    return datetime.fromtimestamp(world.store.now_ms() / 1000, UTC) + timedelta(days=1)


def main(writer: str, redis_url: str, folder: str) -> None:
    """Works for some rounds; the drain until it is told to stop."""
    world = World(redis_url, Path(folder), shards=SHARDS)
    lake = world.lake = PausingLake(world.lake.root, writer)
    match writer:
        case "drain":
            drain = world.drain(lambda step: lake.pause() if step == "before_write" else None)
            while not Path(folder, STOP).exists():
                if not drain.step().rows:
                    threading.Event().wait(PAUSE_S)
        case "compact":
            for _ in range(ROUNDS[writer]):
                maintain(lake, tomorrow(world))
        case "purge":
            for _ in range(ROUNDS[writer]):
                with suppress(LakeConflict):  # the drain may always be first: the worker tries later, too
                    purge(world.store, lake, tomorrow(world))


if __name__ == "__main__":
    main(*sys.argv[1:])
