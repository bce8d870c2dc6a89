"""What admins did, by whom and when: kept in the lake, newest first to read."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.history import History
from serving.times import rfc3339


def note(
    history: History, now_ms: int, author: str, action: str, kind: str, key: str, details: dict[str, Any] | None = None
) -> None:
    """Notes that `author` did `action` to the thing of this kind and key. Raises `Unavailable`.

    `details` is what is worth reading later; never a key's text, nor what an app sent of a person.
    """
    text = msgspec.json.encode(details or {}).decode()
    history.append_audit({"at": now_ms, "author": author, "action": action, "kind": kind, "key": key, "details": text})


def page(history: History, limit: int, offset: int) -> dict[str, Any]:
    """A page of the audit log."""
    rows, total = history.audit(limit, offset)
    entries = [row | {"at": rfc3339(row["at"]), "details": msgspec.json.decode(row["details"])} for row in rows]
    return {"entries": entries, "total": total, "hasMore": offset + limit < total}
