"""The time by which old things are dropped for good: the earliest of three clocks.

1. This machine's clock.
2. Redis' clock, where it answers; it may be another machine's.
3. When this process began, and what has passed since by a clock that nobody sets, and as far as a time daemon steps a
   clock (`serving.store.layout`).

So a clock that is ahead for a moment drops nothing that is to be kept. A machine whose clock was behind at the start of
this process, or that was paused, drops things later, until the process is started anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from serving.store.errors import StoreError
from serving.store.layout import LEAD_MS_MAX
from serving.store.store import Store


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000


class EarliestClock:
    """The time, UTC ms, never ahead of any of the three clocks."""

    def __init__(
        self,
        store: Store,
        machine_ms: Callable[[], int] = _machine_ms,
        passed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._machine_ms, self._passed_s = store, machine_ms, passed_s
        self._began_ms, self._began_s = machine_ms(), passed_s()

    def now_ms(self) -> int:
        """The time now."""
        passed_ms = int((self._passed_s() - self._began_s) * 1000)
        clocks = [self._machine_ms(), self._began_ms + passed_ms + LEAD_MS_MAX]
        with suppress(StoreError):
            clocks.append(self._store.now_ms())
        return min(clocks)
