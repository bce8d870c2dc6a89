"""How many people and events there are, in all and lately: a pure function over the frame of events that count."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..plan import COUNTED_KINDS
from ..rules.windows import DAY_MS

#: The spans that are counted, in days.
SPANS = {"day": 1, "week": 7, "month": 30}
TOP = 10


def totals(events: pl.LazyFrame, now_ms: int) -> dict[str, Any]:
    """People and events: `users` and `events` in all, `active` and `recent` of them by span, `names` the events of the
    last 30 days that were most frequent, [name, count].

    `events` are those that count, each with its person as `id`. A person is active by an event that was tracked; of
    spans the rule of windows holds: after the beginning, up to `now_ms`.
    """
    tracked = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    within = {name: tracked & (pl.col("ts") > now_ms - days * DAY_MS) for name, days in SPANS.items()}
    at = pl.when(tracked).then("ts").alias("last")
    last = events.select("id", at).group_by("id").agg(pl.col("last").max())
    people, counts, names = pl.collect_all(
        [
            last.select(
                pl.len().alias("all"),
                *((pl.col("last") > now_ms - days * DAY_MS).sum().alias(name) for name, days in SPANS.items()),
            ),
            events.select(tracked.sum().alias("all"), *(one.sum().alias(name) for name, one in within.items())),
            events.filter(within["month"])
            .group_by("name")
            .len()
            .sort("len", "name", descending=[True, False])
            .head(TOP),
        ],
        engine="streaming",
    )
    of_people, of_events = people.row(0, named=True), counts.row(0, named=True)
    return {
        "users": of_people.pop("all"),
        "active": of_people,
        "events": of_events.pop("all"),
        "recent": of_events,
        "names": [list(row) for row in names.iter_rows()],
    }
