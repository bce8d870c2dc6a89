"""What a supervisor that was killed has left behind, and how it ends.

Each process of a stack holds a lock under home (`cli/process_lock.py`): the supervisor one, each part one. A part whose
lock is held while the supervisor's is free is an orphan. The API, the drain and the worker notice by themselves and end
within seconds. Redis and Prefect's server are programs of others and run on, so the next `up` or `down` ends them:
last of all Redis, so that the drain still empties the log. No second Redis starts before the first has ended: its lock
is that of the folder of its file.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cli.process_lock import holder, is_held, is_here
from cli.terminal import err

#: The parts in the order in which they stop. What depends on others stops before them.
PARTS = ("console", "worker", "api", "drain", "prefect", "redis")
#: An orphan that does not end within this is killed. That loses nothing which was acknowledged.
STOP_S = 30.0
#: How long a killed process, and its children, take to be gone.
KILLED_S = 10.0
LOOK_S = 0.05


class NotEnded(RuntimeError):
    """A process that holds this home cannot be ended from here; the message ends with the remedy."""


@dataclass(frozen=True)
class Orphan:
    """A part that runs without its supervisor. `pid` is None while it starts."""

    part: str
    pid: int | None


def supervisor_lock(home: Path) -> Path:
    """The file of the lock that the supervisor holds for as long as it runs."""
    return home / "run" / "supervisor.lock"


def part_lock(home: Path, part: str) -> Path:
    """The file of the lock that a part holds for as long as it runs. Redis' is that of its folder."""
    return home / "redis" / "redis.lock" if part == "redis" else home / "run" / f"{part}.lock"


def is_supervised(home: Path) -> bool:
    """Whether a supervisor runs on this home."""
    return is_held(supervisor_lock(home))


def orphans(home: Path) -> list[Orphan]:
    """The parts that run on this home without a supervisor, in the order in which they stop."""
    if is_supervised(home):
        return []
    return [Orphan(part, holder(path)) for part in PARTS if is_held(path := part_lock(home, part))]


def orphans_text(found: Sequence[Orphan]) -> str:
    """The orphans with their pids, for people."""
    return ", ".join(f"{orphan.part} ({f'process {orphan.pid}' if orphan.pid else 'starting'})" for orphan in found)


def end_orphans(home: Path) -> list[Orphan]:
    """Ends what runs on this home without a supervisor, in order; returns what was ended.

    The caller sees to it that no supervisor starts meanwhile. Raises `NotEnded`.
    """
    found = orphans(home)
    for orphan in found:
        _end(orphan, part_lock(home, orphan.part))
    return found


def _end(orphan: Orphan, lock: Path) -> None:
    for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, KILLED_S)):
        pid = holder(lock)
        if pid is not None and is_here(pid, lock):
            _signal(orphan.part, pid, number)
        else:
            patience_s = KILLED_S  # it is gone, and a child of it goes soon; or it starts; or it is elsewhere
        if _is_free(lock, patience_s):
            return
    raise NotEnded(
        f"{orphans_text([orphan])} holds {lock} and cannot be ended from here: end it where it runs, "
        "or set TINYCDP_HOME to another folder"
    )


def _signal(part: str, pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        # Prefect's server has a process of its own for HTTP; the others end their children themselves.
        has_group = os.getpgid(pid) == pid and (part == "prefect" or number == signal.SIGKILL)
        (os.killpg if has_group else os.kill)(pid, number)


def _is_free(lock: Path, patience_s: float) -> bool:
    """Whether the lock is free within a time."""
    deadline = time.monotonic() + patience_s
    while is_held(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


def say_ended(ended: Sequence[Orphan]) -> None:
    """Names on standard error the parts that ran without a supervisor and were ended."""
    if ended:
        err.print(f"a killed supervisor had left behind: {orphans_text(ended)}; ended", markup=False)
