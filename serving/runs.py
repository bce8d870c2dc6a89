"""Runs of the worker's work: asked for, begun, ended. Notes in Redis, which the worker and the API read and write.

A run has a note when it is asked for, one when it begins and one when it ends. A worker that is killed leaves a run
without an end: its successor does again what was asked for, under the same id, and other such runs are lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from serving.refusals import invalid
from serving.times import rfc3339

State: TypeAlias = Literal["waiting", "running", "done", "failed", "lost"]
#: Why a run began: somebody asked by the API, Prefect did, definitions or a command wanted it, or its time had come.
Cause: TypeAlias = Literal["admin", "prefect", "request", "schedule"]
#: A later state stands for an earlier one, in whatever order the notes came.
_RANKS: dict[State, int] = {"waiting": 0, "running": 1, "lost": 1, "failed": 2, "done": 2}
#: A run is not lost so soon after its beginning: the heartbeat may not say yet that it is under way.
BEGINS_MS = 15_000


class AskedRun(msgspec.Struct, frozen=True):
    """A rebuild that an admin asks for: of everybody, of some namespaced ids, or as of a time (UTC ms)."""

    id: str
    by: str
    asked_ms: int
    ids: list[str] | None = None
    at_ms: int | None = None

    @property
    def of(self) -> str:
        """What it is about, without naming anybody."""
        if self.ids is not None:
            return f"{len(self.ids)} ids"
        return "everybody" if self.at_ms is None else "everybody, as of a time"


class RunNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is noted about a run. Times are UTC ms; what is not known yet is None."""

    id: str
    work: str
    state: State
    of: str = ""
    cause: Cause = "schedule"
    by: str = ""
    asked_ms: int | None = None
    began_ms: int | None = None
    ended_ms: int | None = None
    counts: dict[str, Any] = {}
    error: str | None = None


def require_past(at_ms: int, now_ms: int) -> None:
    """Raises `Invalid` for a rebuild as of a time that is to come: events of before it may still come, too."""
    if at_ms > now_ms:
        at, now = rfc3339(at_ms), rfc3339(now_ms)
        raise invalid("at", at, f"send a time that has passed, up to now, {now}; without one the rebuild is as of now")


asked_of = msgspec.json.Decoder(AskedRun).decode
_note_of = msgspec.json.Decoder(RunNote).decode
encode = msgspec.json.Encoder().encode


def runs_of(notes: Iterable[bytes], working_since_ms: int | None, now_ms: int) -> list[RunNote]:
    """The runs that some notes, the newest first, are about: each with its last state, the newest first.

    `working_since_ms` is since when the worker does what it does now: other runs without an end are lost.
    """
    runs: dict[str, RunNote] = {}
    for note in map(_note_of, notes):
        known = runs.get(note.id)
        runs[note.id] = note if known is None else _merged(known, note)
    return [_lost(run, working_since_ms, now_ms) for run in runs.values()]


def _merged(newer: RunNote, older: RunNote) -> RunNote:
    first, other = (newer, older) if _RANKS[newer.state] >= _RANKS[older.state] else (older, newer)
    asked_ms = other.asked_ms if first.asked_ms is None else first.asked_ms
    began_ms = other.began_ms if first.began_ms is None else first.began_ms
    return msgspec.structs.replace(first, asked_ms=asked_ms, began_ms=began_ms)


def _lost(run: RunNote, working_since_ms: int | None, now_ms: int) -> RunNote:
    if run.state != "running" or run.began_ms is None or run.began_ms == working_since_ms:
        return run
    if now_ms - run.began_ms < BEGINS_MS:
        return run
    return msgspec.structs.replace(run, state="waiting" if run.cause == "admin" else "lost")


def decoded(asked: Sequence[bytes]) -> list[tuple[bytes, AskedRun]]:
    """Runs that are asked for, each with the text that it is taken back by."""
    return [(text, asked_of(text)) for text in asked]
