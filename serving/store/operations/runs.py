"""Runs of the worker's work: those that are asked for, what became of all, and whose schedules are paused.

Worker and API note it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import reserved

#: Notes about runs that are kept; a run has two, and one more where somebody asked for it.
NOTES_MAX = 4_000
#: Runs that may be asked for and not be done.
ASKED_MAX = 100


class RunOperations(Sharded):
    """The operations on runs."""

    @operation
    def note_runs(self, notes: list[bytes]) -> Request[None]:
        """Notes something about runs, after what was noted before; the newest 4,000 notes are kept."""
        words = ("MAXLEN", "~", NOTES_MAX, "*", keys.ENTRY_EVENT)
        return Request([reserved.command("XADD", keys.runs(), *words, note) for note in notes], nothing)

    @operation
    def run_notes(self) -> Request[list[bytes]]:
        """What was noted about runs, the newest first."""
        read = command("XREVRANGE", keys.runs(), "+", "-")
        return Request([read], lambda replies: [fields[1] for _, fields in replies[0]])

    @operation
    def ask_run(self, asked: bytes) -> Request[None]:
        """Asks the worker for a run. It stays until `answer_runs`, also where the worker ends meanwhile."""
        return Request([reserved.command("RPUSH", keys.runs_asked(), asked)], nothing)

    @operation
    def asked_runs(self) -> Request[list[bytes]]:
        """The runs that are asked for, the oldest first."""
        return Request([command("LRANGE", keys.runs_asked(), 0, ASKED_MAX)], _only)

    @operation
    def answer_runs(self, asked: list[bytes]) -> Request[None]:
        """Takes back these runs, which are done or have failed."""
        return Request([command("LREM", keys.runs_asked(), 1, item) for item in asked], nothing)

    @operation
    def begin_work(self, note: bytes) -> Request[None]:
        """Notes what the worker does now, until `end_work`."""
        return Request([reserved.command("SET", keys.runs_working(), note)], nothing)

    @operation
    def end_work(self) -> Request[None]:
        """Takes back what `begin_work` noted."""
        return Request([command("DEL", keys.runs_working())], nothing)

    @operation
    def work_under_way(self) -> Request[bytes | None]:
        """What was noted by `begin_work` and has not ended; of a worker that was killed, too."""
        return Request([command("GET", keys.runs_working())], lambda replies: replies[0])

    @operation
    def keep_paused(self, works: Collection[str]) -> Request[None]:
        """Keeps the names of the works whose schedules are paused, instead of those before."""
        return Request([reserved.command("SET", keys.runs_paused(), " ".join(works))], nothing)

    @operation
    def paused(self) -> Request[frozenset[str]]:
        """The names that were kept last."""
        return Request(
            [command("GET", keys.runs_paused())], lambda replies: frozenset((replies[0] or b"").decode().split())
        )


def _only(replies: list[Any]) -> list[bytes]:
    return list(replies[0])
