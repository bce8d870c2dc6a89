"""The answers of some people at many instants, a bounded part of them at a time.

A batch with an instant for each row has as many rows as there are events times instants (`instants`). So the instants
are taken some at a time: few where the people have many events, all of them where they have few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from ..definitions import Bound
from ..plan import plan
from ..rules.windows import UTC_ZONE, Zone
from .counting import counted_for, distinct_ids
from .frames import answer_frame

#: Events times instants that are evaluated at once: some 60 bytes each, and as many again while they are folded.
PAIRS_AT_ONCE = 4_000_000


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
