"""What the answer about the whole system looks like: the source of the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel


class UserTotals(BaseModel):
    """People; active are those with an event that was tracked in the last 24 hours, 7 and 30 days."""

    total: int
    activeLastDay: int
    activeLastWeek: int
    activeLastMonth: int


class EventType(BaseModel):
    """An event's name, and how often it came in the last 30 days."""

    name: str | None
    count: int


class EventTotals(BaseModel):
    """Events that count: track, page and screen, repeats not."""

    total: int
    lastDay: int
    lastWeek: int
    lastMonth: int
    topEventTypes: list[EventType]


class UsersOfKey(BaseModel):
    """Of a trait how many have a value, of a segment how many are in it."""

    key: str
    userCount: int


class TraitTotals(BaseModel):
    """Traits, and their values at the last full rebuild."""

    definitionCount: int
    computedCount: int
    topTraits: list[UsersOfKey]


class SegmentTotals(BaseModel):
    """Segments, and their memberships at the last full rebuild."""

    definitionCount: int
    computedCount: int
    topSegments: list[UsersOfKey]


class FlagTotals(BaseModel):
    """Flags."""

    definitionCount: int


class TableSize(BaseModel):
    """Rows of a table."""

    name: str
    rowCount: int


class DatabaseTotals(BaseModel):
    """What is stored; `size` is the bytes of the lake's tables."""

    size: int
    tables: list[TableSize]


class SystemMetrics(BaseModel):
    """How much there is: people and events as of `asof`, values and memberships as of `computedAsof`, the last full
    rebuild (null before the first)."""

    asof: str | None
    computedAsof: str | None
    users: UserTotals
    events: EventTotals
    traits: TraitTotals
    segments: SegmentTotals
    flags: FlagTotals
    database: DatabaseTotals


class SystemMetricsOut(BaseModel):
    """How much there is."""

    timestamp: str
    metrics: SystemMetrics
