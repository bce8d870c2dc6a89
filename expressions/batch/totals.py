"""How many people and events there are, in all and lately: a pure function over a frame of events.

1. events             id (the person), kind, name, ts: one row an event that counts
2. `last_by_person`   id, last: one row a person; null without a tracked event
3. three counts       people; events; name, len: one row a name of the most frequent
"""

from __future__ import annotations

from typing import Any

import polars as pl

from ..plan import COUNTED_KINDS
from ..rules.windows import DAY_MS

#: The spans that are counted, in days.
SPANS = {"day": 1, "week": 7, "month": 30}
TOP = 10


def totals(events: pl.LazyFrame, now_ms: int) -> dict[str, Any]:
    """The counts by name. `users` and `events`: in all. `active` and `recent`: people and events by span.

    `names` are the most frequent events of the last 30 days as [name, count], at most `TOP`. `events` are those that
    count, each with its person as `id`. Only an event that counts at the root makes a person active. A span begins as a
    window does: an event exactly that old is out.
    """
    tracked = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    within = {name: tracked & (pl.col("ts") > now_ms - days * DAY_MS) for name, days in SPANS.items()}
    tracked_at = pl.when(tracked).then("ts").alias("last")
    last_by_person = events.select("id", tracked_at).group_by("id").agg(pl.col("last").max())
    people, counts, names = pl.collect_all(
        [
            last_by_person.select(
                pl.len().alias("all"),
                *((pl.col("last") > now_ms - days * DAY_MS).sum().alias(name) for name, days in SPANS.items()),
            ),
            events.select(tracked.sum().alias("all"), *(mask.sum().alias(name) for name, mask in within.items())),
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
