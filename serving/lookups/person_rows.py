"""What the lake has of some ids: their rows, and what was sent with those that are shown.

Both look for shards and ids. Closed days are sorted by these, so nearly all of such a day is skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from expressions.rules.deletes import of_ids
from serving.history import History

#: What tells the copies of an event apart.
COPY = ("id", "event_id", "received_at")


def rows_of(
    history: History, ids: Collection[str], shards: Collection[int], version: int | None = None
) -> pl.DataFrame:
    """Every row of these ids, which are in these shards, as of a version of the events; without `props`."""
    events = history.events(version).drop("props").filter(pl.col("shard").is_in(list(shards)))
    return of_ids(events, ids).collect()


def sent_with(history: History, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The columns of `COPY` and some of what was sent, as it came, of rows that the lake has; perhaps of a few more."""
    is_wanted = (
        pl.col("shard").is_in(rows["shard"].unique().implode())
        & pl.col("ts").is_between(rows["ts"].min(), rows["ts"].max())
        & pl.col("id").is_in(rows["id"].unique().implode())
        & pl.col("event_id").is_in(rows["event_id"].implode())
    )
    return history.sent().filter(is_wanted).select(*COPY, *columns).collect()
