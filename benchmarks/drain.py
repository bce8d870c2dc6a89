"""The memory of the drain's process with the largest events that there may be, a few and many.

The log is filled first; then a process like the drain's takes it to the lake, round by round.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peak_memory import peak_mb
from cli.embedded_redis import EmbeddedRedis
from lake.lake import Lake
from pipelines.drain import Drain
from pipelines.recover import recover
from serving.definitions.saving import current
from serving.settings import Settings
from serving.store.logged_event import Accepted, packed
from serving.store.operations.events import Arrival
from serving.store.store import Store

PEAK_MB_MAX = 700
#: The greatest memory with many events is so many times that with a few, at most.
GROWTH_MAX = 1.25
#: Bytes of an event's properties: just below the bound on events.
EVENT_BYTES = 31 * 1024
USERS, EVENTS_AT_ONCE = 500, 100


def measure_drain(folder: Path, few: int, many: int) -> dict[str, Any]:
    """The row: the greatest memory in MB for each number of events in the log."""
    peaks = {events: _peak_mb(folder / f"drain-{events}", events) for events in (few, many)}
    growth = peaks[many] / peaks[few]
    return {
        "bytes an event": EVENT_BYTES,
        **{f"{events} events_peak_mb": round(peak) for events, peak in peaks.items()},
        "growth": round(growth, 2),
        "budget": f"<= {PEAK_MB_MAX} MB, growth <= {GROWTH_MAX}",
        "passed": max(peaks.values()) <= PEAK_MB_MAX and growth <= GROWTH_MAX,
    }


def _peak_mb(folder: Path, events: int) -> float:
    with EmbeddedRedis(folder / "redis") as server:
        settings = Settings(home=folder, redis_url=server.url)
        with Store(server.url, settings.shards) as store:
            recover(store, Lake(str(folder / "lake")), settings)
            projection = current(store).projection_version
            for first in range(0, events, EVENTS_AT_ONCE):
                numbers = range(first, min(first + EVENTS_AT_ONCE, events))
                store.ingest([_arrival(number) for number in numbers], projection)
            command = [sys.executable, "-m", "benchmarks.drain", server.url, str(folder)]
            process = subprocess.Popen(command, text=True)
            peak = peak_mb(process)
            assert process.returncode == 0, "the drain failed"
            assert all(state.drained == state.seq for state in store.shard_states()), "the drain left events"
    return peak


def _arrival(number: int) -> Arrival:
    event = Accepted(
        f"e{number}", "track", f"user:u{number % USERS}", name="upload", properties={"x": "y" * EVENT_BYTES}
    )
    return Arrival(event, packed(("track", "upload", {})))


def main() -> None:
    """Drains until the log is empty."""
    redis_url, folder = sys.argv[1:]
    settings = Settings(home=Path(folder), redis_url=redis_url)
    drain = Drain(Store(redis_url, settings.shards), Lake(str(Path(folder) / "lake")), settings)
    while drain.step().has_more:
        pass


if __name__ == "__main__":
    main()
