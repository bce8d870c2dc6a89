"""The answers of some people at many instants, a bounded part of them at a time.

A batch with an instant for each row has as many rows as there are events times instants (`instants`). So the instants
are taken some at a time: few where the people have many events, all of them where they have few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from ..definitions import Bound, Key
from ..plan import plan
from ..rules.windows import UTC_ZONE, Zone
from .counting import counted_for, distinct_ids
from .frames import answer_frame, column_of, holding

#: Events times instants that are evaluated at once: some 60 bytes each, and as many again while they are folded.
PAIRS_AT_ONCE = 4_000_000

#: Days of a trend, today included.
TREND_DAYS = 90

_EPOCH = date(1970, 1, 1)


def answers_over_time(
    rows: pl.DataFrame, bounds: Sequence[Bound], instants: Sequence[int], zone: Zone = UTC_ZONE
) -> Iterator[pl.DataFrame]:
    """`answer_frame` of each person at each instant, from every row of some people; some instants at a time.

    `rows` are as they came, and have a column `person`. `instants` are UTC ms, in any order.
    """
    needed = plan(bound.expr for bound in bounds)
    counting = counted_for(rows.lazy(), needed, min(instants), zone, latest_ms=max(instants))
    events = counting.with_columns(pl.col("person").alias("id")).drop("person").collect()
    people = distinct_ids(events.lazy().select("id"))
    at_once = max(1, PAIRS_AT_ONCE // max(len(events), len(people), 1))
    for start in range(0, len(instants), at_once):
        asked = people.join(pl.DataFrame({"now": instants[start : start + at_once]}), how="cross")
        yield answer_frame(events.lazy(), bounds, asked, zone)


def instants_of_days(now_ms: int, zone: Zone, days: int = TREND_DAYS) -> dict[int, date]:
    """The last instant of each of the last days in the workspace's zone, and now: instant -> date. Oldest first."""
    today = zone.day(now_ms)
    ends = {zone.day_start_ms(day + 1) - 1: _date(day) for day in range(today - days + 1, today)}
    return {**ends, now_ms: _date(today)}


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def members_by_instant(answers: pl.DataFrame, key: Key) -> pl.DataFrame:
    """now, members, people: for how many of how many people a definition holds at each instant of some answers."""
    return answers.group_by("now").agg(holding(key).sum().alias("members"), pl.len().alias("people"))


def common_members(answers: pl.DataFrame, own: Key, others: Sequence[Key]) -> dict[str, int]:
    """For how many people definitions hold: `people`, `own`, and for each of the others `in KIND:KEY`, `both KIND:KEY`.

    `answers` have each person once.
    """
    counts = answers.select(
        pl.len().alias("people"),
        holding(own).sum().alias("own"),
        *(holding(key).sum().alias(f"in {column_of(key)}") for key in others),
        *((holding(own) & holding(key)).sum().alias(f"both {column_of(key)}") for key in others),
    )
    return counts.row(0, named=True)
