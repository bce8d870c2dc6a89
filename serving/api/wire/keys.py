"""Requests and answers about API keys."""

from __future__ import annotations

from pydantic import BaseModel, Field

from serving.api.wire.shared import Lenient


class KeyBody(Lenient):
    """A key to make. `description` is another name of `label`."""

    kind: str = Field(json_schema_extra={"enum": ["write", "read", "admin"]})
    label: str | None = None
    description: str | None = None


class CreatedKey(BaseModel):
    """A new key; `key` cannot be read again."""

    id: str
    key: str
    kind: str
    label: str
    created_at: str


class KeyOut(BaseModel):
    """A key, without its text. Those of the configuration have no time of making and cannot be revoked here."""

    id: str
    kind: str
    label: str
    author: str
    created_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class KeyList(BaseModel):
    """All keys."""

    keys: list[KeyOut]
