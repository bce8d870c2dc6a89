"""Answers about what admins did."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class AuditEntry(BaseModel):
    """One thing that an admin did. `author` is the label of the key that was used."""

    at: str
    author: str
    action: str
    kind: str
    key: str
    details: dict[str, Any]


class AuditPage(BaseModel):
    """A page of the audit log."""

    entries: list[AuditEntry]
    total: int
    hasMore: bool
