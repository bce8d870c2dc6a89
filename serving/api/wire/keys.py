"""Requests and answers about API keys."""

from __future__ import annotations

from pydantic import BaseModel, Field

from serving.access.keys import KEY_KINDS
from serving.access.made_keys import LABEL_CHARS_MAX
from serving.api.wire.shared import Lenient


class KeyBody(Lenient):
    """A key to make. `description` is another name for `label`."""

    kind: str = Field(json_schema_extra={"enum": list(KEY_KINDS)})
    label: str | None = Field(default=None, json_schema_extra={"maxLength": LABEL_CHARS_MAX})
    description: str | None = None


class CreatedKey(BaseModel):
    """A new key. `key` is its text, which cannot be read again."""

    id: str
    key: str
    kind: str
    label: str
    created_at: str


class KeyOut(BaseModel):
    """A key without its text. A key of the configuration has no `created_at` and cannot be revoked here."""

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
