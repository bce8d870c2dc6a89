"""The list of imports, a table of the lake: a row before the first commit of one, and a row when its rows are in.

An import without the second is under way or was cut off. The same command takes it up again, and is listed by itself.
A row between the two cancels it: the process that imports asks for that between chunks, wherever it runs.
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

#: Imports that are told, the newest.
TOLD_MAX = 10_000
#: The states of an import, each of which counts before those that it stands behind: all rows are in, or are not.
STATES = ("begun", "cancelled", "done")


class ImportCancelled(Exception):
    """The import was cancelled while it ran."""


class NotCancelled(ValueError):
    """There is no such import, or nothing left of it to cancel; the message ends with the remedy."""


class Note:
    """Notes one import: its `files`, the `mapping` by which these are read, and the receipt of its rows, UTC ms."""

    def __init__(self, lake: Lake, files: Sequence[str], mapping: Mapping[str, Any], source: str, at_ms: int) -> None:
        self._lake = lake
        self._is_begun = False
        self._facts: Mapping[str, Any] = {
            "id": uuid4().hex[:12],
            "at": at_ms,
            "source": source,
            "files": msgspec.json.encode(list(files)).decode(),
            "mapping": msgspec.json.encode(mapping).decode(),
            "author": _user(),
        }

    def begin(self) -> None:
        """Notes that the import begins, if that is not noted yet."""
        if not self._is_begun:
            self._lake.append_import({**self._facts, "state": "begun"})
            self._is_begun = True

    def require_going(self) -> None:
        """Raises `ImportCancelled` where somebody has cancelled the import."""
        if self._is_begun and "cancelled" in _states(self._lake, self._facts["id"]):
            raise ImportCancelled(self._facts["id"])

    def end(self, imported: Imported) -> None:
        """Notes that its rows are in, and what became of them."""
        numbers = {"accepted": imported.accepted, "already": imported.already, "rejected": imported.rejected}
        self._lake.append_import({**self._facts, "state": "done", **numbers})


def noted_imports(lake: Lake, limit: int) -> list[dict[str, Any]]:
    """The imports, the newest first, each as it was noted last; `files` and `mapping` are decoded."""
    place = pl.col("state").replace_strict({state: at for at, state in enumerate(STATES)}, default=-1)
    rows = lake.imports().sort(place).unique(subset=["id"], keep="last", maintain_order=True)
    told = rows.sort("at", "id", descending=True).head(min(limit, TOLD_MAX)).collect().to_dicts()
    for row in told:
        row["files"], row["mapping"] = (msgspec.json.decode(row[name]) for name in ("files", "mapping"))
    return told


def cancel_import(lake: Lake, id: str) -> None:
    """Notes that an import is cancelled. It stops between two chunks; rows that are in stay.

    One that is cancelled already stays so. Raises `NotCancelled` where there is no import of this id, or all of its
    rows are in.
    """
    states = _states(lake, id)
    if not states:
        raise NotCancelled(f"no import has the id {id!r}: tinycdp imports lists them")
    if "done" in states:
        raise NotCancelled(f"the import {id} has ended, and its rows are in: cancel one that is under way")
    if "cancelled" not in states:
        facts = lake.imports().filter(pl.col("id") == id).head(1).collect().row(0, named=True)
        lake.append_import({**facts, "state": "cancelled"})


def _states(lake: Lake, id: str) -> set[str]:
    """The states that are noted of an import; none where it is not known."""
    return set(lake.imports().filter(pl.col("id") == id).select("state").collect()["state"])


def _user() -> str:
    """The user of this machine who imports; empty where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
