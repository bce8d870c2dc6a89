"""The list of imports, a table of the lake: a row before the first commit of one, and a row when its rows are in.

An import without the second is under way or was cut off. The same command takes it up again, and is listed by itself.
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

    def end(self, imported: Imported) -> None:
        """Notes that its rows are in, and what became of them."""
        numbers = {"accepted": imported.accepted, "already": imported.already, "rejected": imported.rejected}
        self._lake.append_import({**self._facts, "state": "done", **numbers})


def noted_imports(lake: Lake, limit: int) -> list[dict[str, Any]]:
    """The imports, the newest first, each as it was noted last; `files` and `mapping` are decoded."""
    is_done = pl.col("state") == "done"
    rows = lake.imports().sort(is_done).unique(subset=["id"], keep="last", maintain_order=True)
    told = rows.sort("at", "id", descending=True).head(min(limit, TOLD_MAX)).collect().to_dicts()
    for row in told:
        row["files"], row["mapping"] = (msgspec.json.decode(row[name]) for name in ("files", "mapping"))
    return told


def _user() -> str:
    """The user of this machine who imports; empty where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
