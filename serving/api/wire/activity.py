"""Answers about activity: what API processes did, and what flags answered apps."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Latency(BaseModel):
    """How long requests took, in ms; null where there was none. Percentiles are exact to their histogram's bucket."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class Done(BaseModel):
    """What all API processes did from `at` on: events taken, flags decided, and latencies by what requests are for."""

    at: str
    events: int
    decisions: int
    decide: Latency
    ingest: Latency


class ActivityOut(BaseModel):
    """What API processes did over time. `since`: from when on there is a record; null where there is none."""

    since: str | None
    step: int = Field(description="minutes of each point")
    points: list[Done]
    total: Done


class VariantActivity(BaseModel):
    """How often a variant was the answer, and its share of all answers of the flag; `on` and `off` are names too."""

    variant: str
    byName: int
    inBulk: int
    share: float


class FlagDay(BaseModel):
    """The answers of one day (UTC), and how often each variant was the answer."""

    day: str
    byName: int
    inBulk: int
    variants: dict[str, int]


class FlagActivity(BaseModel):
    """What a flag answered apps in the period.

    `lastAsked`: when an app last named it, within 90 days. `stale`: none has for `staleAfterDays` of the answer.
    """

    key: str
    byName: int
    inBulk: int
    variants: list[VariantActivity]
    days: list[FlagDay]
    lastAsked: str | None
    stale: bool


class FlagsActivityOut(BaseModel):
    """What each flag answered apps. `since`: from when on there is a record; null where there is none."""

    since: str | None
    staleAfterDays: int
    flags: list[FlagActivity]


class PeopleCounted(BaseModel):
    """What a full rebuild counted as of `at`: all people, those in each segment, and those who have each trait."""

    at: str
    users: int
    segments: dict[str, int]
    traits: dict[str, int]


class PeopleOverTimeOut(BaseModel):
    """What full rebuilds counted over time, the oldest first."""

    points: list[PeopleCounted]
