"""What is said about one person on the wire: ids and links, deletion, and all that is known."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from serving.wire import Alias


class LinkedId(BaseModel):
    """An id of a person: `id` with its kind before it, `owner` the id it belongs to, since when and by which event."""

    id: str
    kind: str
    value: str
    owner: str | None
    since: str | None
    event: str | None


class IdentityOut(BaseModel):
    """The ids of a person; `id` is the one that is nobody's."""

    id: str
    ids: list[LinkedId]


class UnlinkedOut(BaseModel):
    """An id that is a person of its own now, and whose it was."""

    success: Literal[True]
    id: str
    owner: str


class DeletedOut(BaseModel):
    """The ids of the person that was deleted; `settled`: the lake knows too."""

    success: Literal[True]
    deleted: list[Alias]
    settled: bool


class DataEvent(BaseModel):
    """An event or an identify as it came, and under which id."""

    id: str
    kind: str
    eventId: str
    ts: str
    received_at: str
    name: str | None
    properties: Any
    traits: Any
    context: Any


class DataOut(BaseModel):
    """All that is known of a person; `total` and `hasMore` are of the events."""

    id: str
    ids: list[LinkedId]
    attributes: dict[str, Any]
    traits: dict[str, Any]
    segments: dict[str, bool]
    events: list[DataEvent]
    total: int
    hasMore: bool
    asof: str
