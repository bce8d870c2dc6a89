"""What admins did, by whom and when: kept in the lake, read newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl

from serving.history import History
from serving.times import rfc3339


def note(
    history: History, now_ms: int, author: str, action: str, kind: str, key: str, details: dict[str, Any] | None = None
) -> None:
    """Notes that `author` did `action` to the thing of this kind and key. Raises `Unavailable`.

    `details` are for a later reader. A key's text is no detail, nor is what an app sent about a person.
    """
    note_all(history, now_ms, author, action, kind, [key], details)


def note_all(
    history: History,
    now_ms: int,
    author: str,
    action: str,
    kind: str,
    keys: Sequence[str],
    details: dict[str, Any] | None = None,
) -> None:
    """Notes the same of several things, in one commit. Raises `Unavailable`."""
    text = msgspec.json.encode(details or {}).decode()
    act = {"at": now_ms, "author": author, "action": action, "kind": kind, "details": text}
    history.append_audit([act | {"key": key} for key in keys])


class Sought(NamedTuple):
    """Entries to look for: of a kind, with these parts of a key and of an author's label, in the period [since, until).

    None and an empty text are for any. Case does not matter.
    """

    kind: str | None = None
    key: str | None = None
    author: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def among(self) -> pl.Expr:
        """Whether a row of the table is such an entry."""
        conditions = [pl.lit(True)]
        if self.kind:
            conditions.append(pl.col("kind") == self.kind)
        for name, part in (("key", self.key), ("author", self.author)):
            if part:
                conditions.append(pl.col(name).str.to_lowercase().str.contains(part.lower(), literal=True))
        if self.since_ms is not None:
            conditions.append(pl.col("at") >= self.since_ms)
        if self.until_ms is not None:
            conditions.append(pl.col("at") < self.until_ms)
        return pl.all_horizontal(conditions)


ALL = Sought()


def page(history: History, limit: int, offset: int, sought: Sought = ALL) -> dict[str, Any]:
    """A page of the audit log, of the entries that are sought.

    Entries about definitions have their versions `before` and `after`, None without any.
    The versions come from the history, so that a purge which takes somebody out of it takes them out of here.
    """
    rows, total = history.audit(limit, offset, sought.among())
    entries = [row | {"at": rfc3339(row["at"]), "details": msgspec.json.decode(row["details"])} for row in rows]
    about = {(row["kind"], row["key"]) for row in rows if row["kind"] in ("trait", "segment", "flag")}
    versions = history.versions_by_key(about) if about else {}
    for entry in entries:
        of_key, number = versions.get((entry["kind"], entry["key"]), {}), entry["details"].get("version", 0)
        entry["before"] = next((of_key[older] for older in reversed(of_key) if older < number), None)
        entry["after"] = of_key.get(number)
    return {"entries": entries, "total": total, "hasMore": offset + limit < total}
