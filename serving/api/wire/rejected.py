"""Requests and answers about refused events."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from serving.api.wire.shared import Lenient

#: Events that one call sends again.
REDRIVEN_MAX = 1_000


class RejectedEvent(BaseModel):
    """A refused event, or a refused row of an imported file.

    `event` is its text, and `cut` says that not all of it is there, so that it cannot be sent again. `group` is the
    reason without what was sent: the field and the remedy. `key` is the label of the key that it came with, `source`
    is "api" or the name of a file, and `line` the place in its batch or file.
    """

    id: str | None
    received_at: str
    source: str
    path: str | None
    key: str | None
    line: int | None
    code: str
    reason: str
    group: str
    event: str | None
    cut: bool
    redriven_at: str | None


class RejectedReason(BaseModel):
    """A reason, without what was sent, and how many events were refused for it."""

    reason: str
    count: int
    last_at: str


class RejectedSource(BaseModel):
    """Where refused events came from: a path and the label of a key, or an imported file."""

    source: str
    path: str | None
    key: str | None
    count: int


class RejectedPage(BaseModel):
    """Refused events of a period, the newest first. `reasons`, `sources` and `total` count all of the period.

    `waiting` are those that the drain has yet to put into the lake; they are in no other number. Send `cursor` for the
    next page; it is null on the last one.
    """

    rejected: list[RejectedEvent]
    reasons: list[RejectedReason]
    sources: list[RejectedSource]
    total: int
    waiting: int
    cursor: str | None


class RedriveBody(Lenient):
    """Refused events to send again: those of `ids`, or the oldest of a `reason` as the list names it.

    `event` replaces what was sent, of the one id that is named.
    """

    ids: list[str] | None = Field(default=None, min_length=1, max_length=REDRIVEN_MAX)
    reason: str | None = Field(default=None, min_length=1)
    event: dict[str, Any] | None = None


class RefusedAgain(BaseModel):
    """An event that was not sent again, and why."""

    id: str
    code: str
    message: str


class RedrivenOut(BaseModel):
    """What became of the events. `duplicates` had been taken before. `left` are those of the reason that are left."""

    redriven: int
    duplicates: int
    refused: list[RefusedAgain]
    left: int
