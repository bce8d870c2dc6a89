"""Answers that take longer than a moment are made in a thread beside the event loop, one at a time.

Most decisions take a few hundred microseconds, and are made in the loop. All others would wait for what takes a few
milliseconds, such as those of a hundred flags. A thread takes turns with the loop: whoever waits for the interpreter
gets it after `TURN_S`. What may take much longer is made in another process (`serving.api.live_person`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sized
from typing import TypeVar

from anyio import CapacityLimiter, fail_after, to_thread

from serving.store.deadlines import seconds_left

T = TypeVar("T")

#: How long a thread keeps the interpreter while another one waits for it; Python's own choice is fifty times as long.
TURN_S = 0.0001
#: Definitions that are answered in the loop.
DEFINITIONS = 32

#: One at a time: two would take as long, and leave the loop a third of the turns instead of half.
_at_once = CapacityLimiter(1)


def take_turns() -> None:
    """Sets how long a thread of this process keeps the interpreter while another one waits for it."""
    sys.setswitchinterval(TURN_S)


def are_many(definitions: Sized) -> bool:
    """Whether to answer so many definitions takes more than a moment."""
    return len(definitions) > DEFINITIONS


async def beside(work: Callable[[], T], *, is_patient: bool = False) -> T:
    """What the work gives, done in the thread beside the loop when it is its turn.

    Raises `TimeoutError` where its turn does not come before the deadline of the work at hand, unless it `is_patient`.
    """
    with fail_after(None if is_patient else seconds_left()):
        await _at_once.acquire()
    try:
        return await to_thread.run_sync(work)
    finally:
        _at_once.release()
