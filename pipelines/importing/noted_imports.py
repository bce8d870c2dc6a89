"""The list of imports, a table of the lake: a row when one begins, and a row when its rows are in.

An import without the second is under way or was cut off. The same command takes it up again: that is the next run of
the same import, with a row for its beginning, too. Runs at the same time are of one import. A row behind those that
began cancels all runs until then: the processes that import ask for that between chunks, wherever they run.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec
import polars as pl

from lake.lake import Lake
from lake.schemas import IMPORTS
from pipelines.importing.chunk import ImportRefused
from pipelines.importing.report import Imported

#: Rows of the lake that are counted at a time.
ROWS_AT_ONCE = 50_000
#: Imports that are told, the newest.
TOLD_MAX = 10_000
#: The states, each of which counts before those that it stands behind. Once one run is done, the import is; one that is
#: undone may have been cut off before.
STATES = ("begun", "cancelled", "done", "undoing", "undone")
#: Those that hold for all runs of an import.
_OF_ALL_RUNS = ("done", "undoing", "undone")


class ImportCancelled(Exception):
    """The import was cancelled while it ran."""


class NotCancelled(ValueError):
    """There is no such import, or nothing left of it to cancel; the message ends with the remedy."""


class Note:
    """Notes one run of an import: its `files`, the `mapping` by which these are read, and the receipt of its rows, UTC
    ms.
    """

    def __init__(self, lake: Lake, files: Sequence[str], mapping: Mapping[str, Any], source: str, at_ms: int) -> None:
        self._lake = lake
        self._facts: dict[str, Any] = {
            "at": at_ms,
            "source": source,
            "files": msgspec.json.encode(list(files)).decode(),
            "mapping": msgspec.json.encode(mapping).decode(),
            "author": _user(),
        }

    def begin(self, identities: Sequence[str]) -> str:
        """Notes that the import begins, before anything else is asked of this note. Returns its id.

        `identities` name its files, each with those before it. An import of the same files that is not done is taken
        up. Of two commands that begin at once each may make an import of its own; what each brings counts once (S11).
        Raises `ImportRefused` while an import that shares a file is being undone.
        """
        identity = identities[-1]
        _require_not_undone(self._lake, identities)
        id, runs = _unfinished(self._lake, identity) or (uuid4().hex[:12], 0)
        self._facts |= {
            "id": id,
            "identity": identity,
            "identities": msgspec.json.encode(list(identities)).decode(),
            "run": runs + 1,
        }
        self._lake.append_import({**self._facts, "state": "begun"})
        return id

    def require_going(self) -> None:
        """Raises `ImportCancelled` where somebody has cancelled the import since this run of it began."""
        rows = _rows(self._lake, self._facts["id"])
        if any(row["state"] == "cancelled" and row["run"] >= self._facts["run"] for row in rows):
            raise ImportCancelled(self._facts["id"])

    def end(self, imported: Imported) -> None:
        """Notes that its rows are in, and what became of them, in all runs of the import together.

        A later run finds what earlier ones brought already there: it counts the rows of the import in the lake.
        """
        accepted, already = imported.accepted, imported.already
        if self._facts["run"] > 1:
            brought = max(accepted, min(_rows_in(self._lake, self._facts["id"]), accepted + already))
            accepted, already = brought, accepted + already - brought
        numbers = {"accepted": accepted, "already": already, "rejected": imported.rejected}
        relied_on = msgspec.json.encode(imported.relied_on).decode()
        self._lake.append_import({**self._facts, "state": "done", **numbers, "relied_on": relied_on})


def noted_imports(lake: Lake, limit: int) -> list[dict[str, Any]]:
    """The imports, the newest first, each as its last run was noted last; `files` and `mapping` are decoded."""
    rows = _in_order(lake).unique(subset=["id"], keep="last", maintain_order=True).drop("identity", "identities")
    told = rows.sort("at", "id", descending=True).head(min(limit, TOLD_MAX)).collect().to_dicts()
    for row in told:
        row["files"], row["mapping"] = (msgspec.json.decode(row[name]) for name in ("files", "mapping"))
        row["relied_on"] = msgspec.json.decode(row["relied_on"] or "[]")
    return told


def cancel_import(lake: Lake, id: str) -> None:
    """Notes that an import is cancelled: each run of it that began stops between two chunks; rows that are in stay.

    One that is cancelled already stays so. Raises `NotCancelled` where there is no import of this id, or all of its
    rows are in.
    """
    rows = _rows(lake, id)
    if not rows:
        raise NotCancelled(f"no import has the id {id!r}: tinycdp imports lists them")
    last = rows[-1]
    if last["state"] in ("undoing", "undone"):
        raise NotCancelled(f"the import {id} is undone, or about to be: tinycdp imports undo {id} ends that")
    if last["state"] == "done":
        raise NotCancelled(f"the import {id} has ended, and its rows are in: cancel one that is under way")
    if last["state"] != "cancelled":
        lake.append_import({**last, "state": "cancelled"})


def _in_order(lake: Lake) -> pl.LazyFrame:
    """The rows of imports, such that of each the last one says what it is."""
    place = pl.col("state").replace_strict({state: at for at, state in enumerate(STATES)}, default=-1)
    rows = lake.imports().with_columns(pl.col("run").fill_null(1))
    of_all_runs = pl.when(pl.col("state").is_in(_OF_ALL_RUNS)).then(place).otherwise(-1)
    return rows.sort(of_all_runs, "run", place, maintain_order=True)


def last_rows(lake: Lake) -> dict[str, dict[str, Any]]:
    """id -> what an import was noted as last, the oldest first; `begun_at` is the receipt of its first run, UTC ms."""
    rows = _in_order(lake).with_columns(pl.col("at").min().over("id").alias("begun_at"))
    last = rows.unique(subset=["id"], keep="last", maintain_order=True).sort("begun_at", "id")
    return {row["id"]: row for row in last.collect().to_dicts()}


def note_state(lake: Lake, row: Mapping[str, Any], state: str) -> None:
    """Notes a state of an import of which this row is the last."""
    lake.append_import({**{name: row[name] for name in IMPORTS.columns.names}, "state": state})


def _require_not_undone(lake: Lake, identities: Sequence[str]) -> None:
    for row in last_rows(lake).values():
        if row["state"] == "undoing" and {*msgspec.json.decode(row["identities"] or "[]")} & {*identities}:
            raise ImportRefused(
                f"the import {row['id']} of the same file is being undone: tinycdp imports undo {row['id']} ends that"
            )


def _rows(lake: Lake, id: str) -> list[dict[str, Any]]:
    """What is noted of an import, in order; nothing where it is not known."""
    return _in_order(lake).filter(pl.col("id") == id).collect().to_dicts()


def _rows_in(lake: Lake, id: str) -> int:
    """How many rows of an import are in the lake."""
    batches = lake.imported_batches(lake.events_version(), ROWS_AT_ONCE, ["import_id"])
    return sum(batch.filter(pl.col("import_id") == id).height for batch in batches)


def _unfinished(lake: Lake, identity: str) -> tuple[str, int] | None:
    """The newest import of this identity that is not done, and how many runs of it began; None where all are done."""
    last = _in_order(lake).filter(pl.col("identity") == identity).unique(subset=["id"], keep="last")
    going = last.filter(~pl.col("state").is_in(_OF_ALL_RUNS)).sort("at", "id").tail(1).select("id", "run").collect()
    return None if going.is_empty() else going.row(0)


def _user() -> str:
    """The user of this machine who imports; empty where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
