"""Answers about what admins did."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class AuditEntry(BaseModel):
    """One thing that an admin did. `author` is the label of the key that was used, `note` what they said about it.

    Of a definition, `before` and `after` are its versions as the calls about it answer them, less what is not of a
    version; null where there was none or none is left. `changed` names their fields that differ, but for `version`,
    `author` and times.
    """

    at: str
    author: str
    action: str
    kind: str
    key: str
    note: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changed: list[str]
    details: dict[str, Any]


class AuditPage(BaseModel):
    """A page of the audit log."""

    entries: list[AuditEntry]
    total: int
    hasMore: bool
