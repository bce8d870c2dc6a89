"""What is said about people on the wire: who there is, ids and links, deletion, and all that is known of one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Alias(BaseModel):
    """An id of a person; `kind` is externalId, deviceId or emailHash."""

    kind: str
    value: str


class FoundUser(BaseModel):
    """A user as the search shows one."""

    id: str
    created_at: str
    aliases: list[Alias]
    lastEventTime: str | None
    eventCount: int
    activeSegments: list[str]


class UserPage(BaseModel):
    """A page of users."""

    users: list[FoundUser]
    total: int
    hasMore: bool


class RecentEvent(BaseModel):
    """An event as it came."""

    id: str
    ts: str
    name: str | None
    props: Any


class TraitValue(BaseModel):
    """A trait's value, live."""

    key: str
    value: Any
    updated_at: str
    warming: bool


class SegmentValue(BaseModel):
    """Whether a user is in a segment, live, and since when as far as a rebuild has seen it."""

    key: str
    inSegment: bool
    since: str | None
    updated_at: str
    warming: bool


class EventCounts(BaseModel):
    """How many events, in all and by rolling windows."""

    total: int
    last_24h: int
    last_7d: int
    last_30d: int


class UserDetail(BaseModel):
    """Everything about one user."""

    id: str
    created_at: str
    aliases: list[Alias]
    attributes: dict[str, Any]
    recentEvents: list[RecentEvent]
    traits: list[TraitValue]
    segments: list[SegmentValue]
    eventCounts: EventCounts


class UserOut(BaseModel):
    """One user."""

    user: UserDetail


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
