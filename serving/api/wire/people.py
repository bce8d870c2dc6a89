"""Answers about people: pages of them, ids and links, deletion, and all that is known of one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Alias(BaseModel):
    """An id of a person; `kind` is externalId, deviceId or emailHash."""

    kind: str
    value: str


class FoundUser(BaseModel):
    """A user on a page of the search."""

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


class LinkedId(BaseModel):
    """An id of a person. `id` has its kind before it; `owner` is the id it belongs to: since when, by which `event`."""

    id: str
    kind: str
    value: str
    owner: str | None
    since: str | None
    event: str | None


class RecentEvent(BaseModel):
    """An event as it came."""

    id: str
    ts: str
    name: str | None
    props: Any


class TraitValue(BaseModel):
    """A trait's value, live. `nextChange`: when it changes with no new event; an instant, `never` or `unknown`."""

    key: str
    value: Any
    updated_at: str
    warming: bool
    nextChange: str


class SegmentValue(BaseModel):
    """Whether a user is in a segment, live. `since` is known once a rebuild has seen the membership.

    `nextChange`: when the user enters or leaves with no new event; an instant, `never` or `unknown`.
    """

    key: str
    inSegment: bool
    since: str | None
    updated_at: str
    warming: bool
    nextChange: str


class EventCounts(BaseModel):
    """Numbers of events, in all and by rolling windows."""

    total: int
    last_24h: int
    last_7d: int
    last_30d: int


class UserDetail(BaseModel):
    """Everything about one user. `ids` has the aliases again, each with its owner: since when, by which event."""

    id: str
    created_at: str
    aliases: list[Alias]
    ids: list[LinkedId]
    attributes: dict[str, Any]
    recentEvents: list[RecentEvent]
    traits: list[TraitValue]
    segments: list[SegmentValue]
    eventCounts: EventCounts


class UserOut(BaseModel):
    """One user."""

    user: UserDetail


class IdentityOut(BaseModel):
    """The ids of a person. `id` is the person's own, which belongs to no other."""

    id: str
    ids: list[LinkedId]


class UnlinkedOut(BaseModel):
    """An id was unlinked: it is a person of its own now. `owner` is the id it belonged to."""

    success: Literal[True]
    id: str
    owner: str


class DeletedOut(BaseModel):
    """The ids of a deleted person. `settled`: the lake knows of the delete too."""

    success: Literal[True]
    deleted: list[Alias]
    settled: bool


class DataEvent(BaseModel):
    """An event or an identify as it came. `id` is the id that it came under."""

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
    """Everything that is known of a person. `total` and `hasMore` are about the events."""

    id: str
    ids: list[LinkedId]
    attributes: dict[str, Any]
    traits: dict[str, Any]
    segments: dict[str, bool]
    events: list[DataEvent]
    total: int
    hasMore: bool
    asof: str


class PersonEventsOut(BaseModel):
    """A page of a person's events, the newest first. Send `cursor` for the next page; null: there is none.

    `complete` is false while the drain is so far behind that some of the person's last events may be lacking.
    """

    events: list[DataEvent]
    cursor: str | None
    complete: bool
