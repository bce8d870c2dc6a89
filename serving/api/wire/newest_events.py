"""Answers about events as they come in."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class NewestEvent(BaseModel):
    """An event that was accepted, or one that was refused.

    `id` is the record that an accepted event went to, with its kind before it. Of a refused event only what could be
    read of it is there; `text` is the beginning of its JSON, and `code` and `reason` say why it was refused. `key` is
    the label of the key that it came with.
    """

    state: Literal["accepted", "refused"]
    received_at: str
    key: str | None
    id: str | None
    eventId: str | None
    kind: str | None
    name: str | None
    userId: str | None
    anonymousId: str | None
    ts: str | None
    properties: Any
    traits: Any
    context: Any
    code: str | None
    reason: str | None
    text: str | None


class NewestEventsOut(BaseModel):
    """The newest events, the newest first. Send `cursor` as `after` for those that come after them."""

    events: list[NewestEvent]
    cursor: str
    skipped: int = Field(description="events since `after` that went by too fast to be shown")
