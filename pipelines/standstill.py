"""Whether the work of this process stands still, and the end of a process whose work does.

Where memory is too small a library may fail to start a thread and wait for it for ever. Python gets no error then, and
nothing ends the wait. Such work takes no time of the processor. What waits in earnest goes on sooner: Redis and object
stores have bounds of their own on a wait. So a process that stands still for long says so, and later it ends: whoever
started it starts another one, which has its memory anew. All that it did may be done again.

Time is counted in looks that follow each other. A process that was stopped, or whose machine slept, looks once for all
of that time, and is not taken for one that hangs.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time

import structlog

log = structlog.get_logger()

#: How often the work is looked at.
LOOK_S = 2.5
#: Work that takes less than this share of a processor in between is told. The look itself does not count; what renews
#: a lease takes a tenth of that, and some times more on a busy machine.
TOLD_SHARE = 0.01
#: The process ends only where its work takes less than this: a slow line may bring little at a time for long.
ENDED_SHARE = 0.002
#: After so long it is told, and after so long the process ends. A store that does not answer is given up sooner: after
#: three minutes, by default.
TOLD_AFTER_S, ENDED_AFTER_S = 10.0, 300.0


class Standstill:
    """How long one piece of work has taken no time of the processor, as one thread beside it sees."""

    def __init__(self, work: str, told_after_s: float = TOLD_AFTER_S) -> None:
        self.work, self.told_after_s = work, told_after_s
        self._idle_looks = self._still_looks = 0
        self._used_s = _used_by_others_s()

    def look(self) -> str | None:
        """What is to be told: nothing while the work goes on. To be called each `LOOK_S`."""
        used_s = _used_by_others_s()
        share = (used_s - self._used_s) / LOOK_S
        self._used_s = used_s
        self._idle_looks = self._idle_looks + 1 if share < TOLD_SHARE else 0
        self._still_looks = self._still_looks + 1 if share < ENDED_SHARE else 0
        idle_s = self._idle_looks * LOOK_S
        if idle_s < self.told_after_s:
            return None
        return (
            f"{self.work} stands still: it used hardly any time of the processor for {idle_s:.0f} s, as where a store "
            f"does not answer, or memory is too small to start a thread. Where it uses none for {ENDED_AFTER_S:.0f} s "
            "the process ends, to be started again"
        )

    @property
    def is_over(self) -> bool:
        """Whether it has stood still for so long that nothing will come of it."""
        return self._still_looks * LOOK_S >= ENDED_AFTER_S


def _used_by_others_s() -> float:
    """The processor's seconds that all threads but this one have used."""
    return time.process_time() - time.thread_time()


def end(why: str) -> None:
    """Ends this process from any of its threads, and leaves behind where each of them stood."""
    log.error("stands_still", error=why)
    faulthandler.dump_traceback(sys.stderr)
    sys.stderr.flush()
    os._exit(os.EX_TEMPFAIL)
