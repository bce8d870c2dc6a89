"""Questions whose processes end. They import next to nothing, so that their processes start fast."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def pid() -> int:
    """The process that answers."""
    return os.getpid()


def killed_at_first(path: str) -> int:
    """The process that answers; the first one, which makes the file, is killed before it does."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def killed() -> None:
    """Ends its process each time, as the system does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def print_much() -> str:
    """An answer, after so much output as a pipe that nobody reads would not take."""
    os.write(2, b"x" * 1_000_000)
    print("x" * 1_000_000)
    return "answered"


def without_memory() -> None:
    """Asks for more than there is."""
    raise MemoryError


class Unreadable(Exception):
    """An error that cannot be made again from its parts."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} {other}")


def unreadable() -> None:
    """Fails with such an error."""
    raise Unreadable(1, 2)
