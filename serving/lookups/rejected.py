"""Questions about refused events: which there are and why, and those that are to be sent again."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from serving.history import History, Source

#: Reasons and places of origin that are counted one by one, those with most events first.
GROUPS_MAX = 100
#: The columns of an event on a page.
SHOWN = ("id", "received_at", "source", "path", "key", "line", "code", "reason", "group", "event", "ids", "is_cut")
#: What it takes to send an event again.
SENDABLE = ("id", "received_at", "key", "kind", "event", "ids", "sent_at", "context", "is_cut")


class Asked(NamedTuple):
    """Which refused events are meant: of a period [since, until) in UTC ms, and of a reason and a key's label."""

    since_ms: int
    until_ms: int
    reason: str | None = None
    key: str | None = None


def page(source: Source, asked: Asked, after: tuple[int, int] | None, limit: int) -> dict[str, Any]:
    """A page of refused events, the newest first, and how many there are by reason and by where they came from.

    `after` says where the page before ended: at which receipt, and behind how many events of that receipt.
    """
    lake = source.history()
    period = _refused(lake, asked)
    some = _chosen(period, asked)
    columns = period.select("received_at", "group", "source", "path", "key", "id").collect(engine="streaming")
    reasons = columns.group_by("group").agg(pl.len().alias("count"), pl.col("received_at").max().alias("last"))
    origins = columns.group_by("source", "path", "key").agg(pl.len().alias("count"))
    start_ms, skip = after or (asked.until_ms, 0)
    order = ("received_at", "id", "line")
    rows = (
        some.filter(pl.col("received_at") <= start_ms)
        .select(*SHOWN)
        .sort(*order, descending=[True, True, False], nulls_last=True, maintain_order=True)
        .slice(skip, limit + 1)
        .collect(engine="streaming")
    )
    shown = rows.head(limit)
    cursor = None
    if len(rows) > limit:
        last_ms = shown["received_at"][-1]
        same = int((shown["received_at"] == last_ms).sum())
        cursor = (last_ms, same + (skip if last_ms == start_ms else 0))
    done = _redriven(lake, shown["id"].drop_nulls().to_list())
    return {
        "rejected": [row | {"redriven_at": done.get(row["id"])} for row in shown.to_dicts()],
        "reasons": _top(reasons, "group"),
        "sources": _top(origins, "source", "path", "key"),
        "total": len(columns),
        "cursor": cursor,
    }


def to_send_again(source: Source, ids: list[str] | None, asked: Asked, limit: int) -> dict[str, Any]:
    """The refused events of these ids, or the oldest of a reason; how many of that reason are `left`.

    `redriven` says which of them were sent again, and when (UTC ms). Those of a reason that were, or of which a part
    alone is there, are left out.
    """
    lake = source.history()
    rows = _refused(lake, asked)
    if ids is not None:
        events = rows.filter(pl.col("id").is_in(ids)).select(*SENDABLE).collect(engine="streaming")
        return {"events": events.to_dicts(), "left": 0, "redriven": _redriven(lake, ids)}
    whole = _chosen(rows, asked).filter(pl.col("id").is_not_null() & ~pl.col("is_cut"))
    open_ones = whole.join(_marks(lake), on="id", how="anti").select(*SENDABLE)
    count = open_ones.select(pl.len()).collect(engine="streaming").item()
    events = open_ones.sort("received_at", "id").head(limit).collect(engine="streaming")
    return {"events": events.to_dicts(), "left": max(0, count - limit), "redriven": {}}


def taken_before(source: Source, events: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of some events, by id and event id, that the lake has: they were taken, however long ago."""
    wanted = pl.LazyFrame(events, schema={"id": pl.String, "event_id": pl.String}, orient="row")
    scan = source.history().events().select("id", "event_id")
    found = scan.join(wanted, on=["id", "event_id"], how="semi").unique().collect(engine="streaming")
    return list(found.iter_rows())


def _refused(lake: History, asked: Asked) -> pl.LazyFrame:
    """Refused events of a period, each once, with the `group` of its reason: the field and the remedy, else the code.

    A reason itself repeats what was sent, so that hardly two are alike.
    """
    named = pl.col("field").is_not_null() & pl.col("remedy").is_not_null()
    group = pl.when(named).then(pl.concat_str("field", pl.lit(": "), "remedy")).otherwise(pl.col("code"))
    is_asked = (pl.col("received_at") >= asked.since_ms) & (pl.col("received_at") < asked.until_ms)
    rows = lake.rejected().filter(pl.col("redriven_at").is_null() & is_asked)
    return rows.with_columns(group.alias("group"), pl.col("is_cut").fill_null(True))


def _chosen(rows: pl.LazyFrame, asked: Asked) -> pl.LazyFrame:
    if asked.reason is not None:
        rows = rows.filter(pl.col("group") == asked.reason)
    return rows if asked.key is None else rows.filter(pl.col("key") == asked.key)


def _marks(lake: History) -> pl.LazyFrame:
    return lake.rejected().filter(pl.col("redriven_at").is_not_null()).select("id", "redriven_at")


def _redriven(lake: History, ids: list[str]) -> dict[str, int]:
    """When those of some events were sent again that were, UTC ms by id."""
    rows = _marks(lake).filter(pl.col("id").is_in(ids)).group_by("id").agg(pl.col("redriven_at").min())
    return dict(rows.collect().iter_rows())


def _top(counts: pl.DataFrame, *by: str) -> list[dict[str, Any]]:
    order = counts.sort("count", *by, descending=[True, *(False for _ in by)], nulls_last=True)
    return order.head(GROUPS_MAX).to_dicts()
