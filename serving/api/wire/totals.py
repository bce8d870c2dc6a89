"""The answer about the whole system."""

from __future__ import annotations

from pydantic import BaseModel


class UserTotals(BaseModel):
    """Numbers of people. Active ones have a tracked event in the last 24 hours, 7 and 30 days."""

    total: int
    activeLastDay: int
    activeLastWeek: int
    activeLastMonth: int


class EventType(BaseModel):
    """An event's name, and how often it came in the last 30 days."""

    name: str | None
    count: int


class EventTotals(BaseModel):
    """Numbers of events that count: track, page and screen, without repeats."""

    total: int
    lastDay: int
    lastWeek: int
    lastMonth: int
    topEventTypes: list[EventType]


class UsersOfKey(BaseModel):
    """How many users have a value of a trait, or are in a segment."""

    key: str
    userCount: int


class TraitTotals(BaseModel):
    """Numbers of traits, and of their values at the last full rebuild."""

    definitionCount: int
    computedCount: int
    topTraits: list[UsersOfKey]


class SegmentTotals(BaseModel):
    """Numbers of segments, and of their memberships at the last full rebuild."""

    definitionCount: int
    computedCount: int
    topSegments: list[UsersOfKey]


class FlagTotals(BaseModel):
    """The number of flags."""

    definitionCount: int


class TableSize(BaseModel):
    """A table and how many rows it has."""

    name: str
    rowCount: int


class DatabaseTotals(BaseModel):
    """The lake's tables. `size` is the bytes of all of them."""

    size: int
    tables: list[TableSize]


class SystemMetrics(BaseModel):
    """How much there is. People and events are as of `asof`; values and memberships as of `computedAsof`, the last
    full rebuild, null before the first."""

    asof: str | None
    computedAsof: str | None
    users: UserTotals
    events: EventTotals
    traits: TraitTotals
    segments: SegmentTotals
    flags: FlagTotals
    database: DatabaseTotals


class SystemMetricsOut(BaseModel):
    """How much there is, and when it was asked."""

    timestamp: str
    metrics: SystemMetrics
