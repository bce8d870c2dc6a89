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
from pipelines.importing.report import Imported

#: Rows of the lake that are counted at a time.
ROWS_AT_ONCE = 50_000
#: Imports that are told, the newest.
TOLD_MAX = 10_000
#: The states of a run, each of which counts before those that it stands behind. Once one run is done, the import is.
STATES = ("begun", "cancelled", "done")


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

    def begin(self, identity: str) -> str:
        """Notes that the import begins, before anything else is asked of this note. Returns its id.

        An import of the same `identity` that is not done is taken up. Of two commands that begin at once each may make
        an import of its own; what each brings counts once (S11).
        """
        id, runs = _unfinished(self._lake, identity) or (uuid4().hex[:12], 0)
        self._facts |= {"id": id, "identity": identity, "run": runs + 1}
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
        self._lake.append_import({**self._facts, "state": "done", **numbers})


def noted_imports(lake: Lake, limit: int) -> list[dict[str, Any]]:
    """The imports, the newest first, each as its last run was noted last; `files` and `mapping` are decoded."""
    rows = _in_order(lake).unique(subset=["id"], keep="last", maintain_order=True).drop("identity")
    told = rows.sort("at", "id", descending=True).head(min(limit, TOLD_MAX)).collect().to_dicts()
    for row in told:
        row["files"], row["mapping"] = (msgspec.json.decode(row[name]) for name in ("files", "mapping"))
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
    if last["state"] == "done":
        raise NotCancelled(f"the import {id} has ended, and its rows are in: cancel one that is under way")
    if last["state"] != "cancelled":
        lake.append_import({**last, "state": "cancelled"})


def _in_order(lake: Lake) -> pl.LazyFrame:
    """The rows of imports, such that of each the last one says what it is."""
    place = pl.col("state").replace_strict({state: at for at, state in enumerate(STATES)}, default=-1)
    rows = lake.imports().with_columns(pl.col("run").fill_null(1))
    return rows.sort(pl.col("state") == "done", "run", place, maintain_order=True)


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
    going = last.filter(pl.col("state") != "done").sort("at", "id").tail(1).select("id", "run").collect()
    return None if going.is_empty() else going.row(0)


def _user() -> str:
    """The user of this machine who imports; empty where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
