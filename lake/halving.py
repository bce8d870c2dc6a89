"""Work that memory is too small for is tried again with half as much at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def halving(attempt: Callable[[int], T], size: int, least: int = 1) -> T:
    """What `attempt` makes with `size` rows at a time, or with half, a quarter …, where memory fails.

    An attempt begins anew, so it leaves nothing behind that another one would count twice. Raises `MemoryError` where
    the last one fails too: half of its size would be less than `least`.
    """
    while True:
        try:
            return attempt(size)
        except MemoryError:
            if size // 2 < max(least, 1):
                raise
        size //= 2  # outside of the handler: the error holds all that the attempt had in memory
