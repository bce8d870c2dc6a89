"""`tinycdp imports`: the list of imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.terminal import one_line
from serving.times import rfc3339


def imports_body(imports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The list for scripts: times as text."""
    return {"imports": [{**row, "at": rfc3339(row["at"])} for row in imports]}


def imports_text(imports: Sequence[Mapping[str, Any]]) -> str:
    """The list for people: an import a line."""
    if not imports:
        return "no import is noted"
    return "\n".join(_line(row) for row in imports)


def _line(row: Mapping[str, Any]) -> str:
    files = ", ".join(row["files"]) + (f" of {row['source']}" if row["source"] else "")
    if row["state"] == "done":
        rows = f"{row['accepted']:,} imported, {row['already']:,} were there, {row['rejected']:,} rejected"
    elif row["state"] == "undone":
        rows = "undone: its rows are out of the lake, and the same command brings them again"
    elif row["state"] == "undoing":
        rows = f"being undone, or cut off in that: tinycdp imports undo {row['id']} ends it"
    elif row["state"] == "cancelled":
        rows = "cancelled: rows that were in by then stay; the same command brings the others"
    else:
        rows = "under way, or cut off: the same command takes it up"
    by = f", by {one_line(row['author'])}" if row["author"] else ""
    return f"{rfc3339(row['at'])}  {row['id']}  {one_line(files)}{by}: {rows}"
