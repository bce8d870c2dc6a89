"""Questions about refused events: which there are and why, and those that are to be sent again."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from serving.history import History, Source
from serving.ingest.accept import FIELDS, SUMMED_REMEDY

#: Reasons and places of origin that are counted one by one, those with most events first.
GROUPS_MAX = 100
#: The columns of an event on a page.
SHOWN = ("id", "received_at", "source", "path", "key", "line", "code", "reason", "group", "event", "ids", "is_cut")
#: What it takes to send an event again.
SENDABLE = ("id", "received_at", "key", "kind", "event", "ids", "sent_at", "context", "is_cut")


#: A page is ordered by receipt and id, the greatest first. Rows of a file have no id, and come by their lines.
_received_at, _id, _line = pl.col("received_at"), pl.col("id"), pl.col("line").fill_null(0)


class Place(NamedTuple):
    """The last event of a page; of a row of a file also how many rows of the same line and receipt were shown.

    Events of the same receipt may come to the lake later, before or behind it. So it names the event and no number.
    """

    received_ms: int
    id: str | None
    line: int
    skip: int


class Asked(NamedTuple):
    """Which refused events are meant: of a period [since, until) in UTC ms, and of a reason and a key's label."""

    since_ms: int
    until_ms: int
    reason: str | None = None
    key: str | None = None


def page(source: Source, asked: Asked, after: Place | None, limit: int) -> dict[str, Any]:
    """A page of refused events, the newest first, and how many there are by reason and by where they came from.

    `after` says where the page before ended. `cursor` is that of this page; None where it is the last.
    """
    lake = source.history()
    period = _refused(lake, asked)
    some = _chosen(period, asked)
    columns = period.select("received_at", "group", "source", "path", "key", "id").collect(engine="streaming")
    reasons = columns.group_by("group").agg(pl.len().alias("count"), pl.col("received_at").max().alias("last"))
    origins = columns.group_by("source", "path", "key").agg(pl.len().alias("count"))
    rest = some if after is None else some.filter(_is_from(after))
    rows = (
        rest.select(*SHOWN)
        .sort(_received_at, _id, _line, descending=[True, True, False], nulls_last=True, maintain_order=True)
        .slice(after.skip if after else 0, limit + 1)
        .collect(engine="streaming")
    )
    shown = rows.head(limit)
    cursor = _last_place(shown, after) if len(rows) > limit else None
    done = _redriven(lake, shown["id"].drop_nulls().to_list())
    return {
        "rejected": [row | {"redriven_at": done.get(row["id"])} for row in shown.to_dicts()],
        "reasons": _top(reasons, "group"),
        "sources": _top(origins, "source", "path", "key"),
        "total": len(columns),
        "cursor": cursor,
    }


def _is_from(place: Place) -> pl.Expr:
    """Whether an event comes after a place; rows of a file also those of its line."""
    is_later = _id.is_null() & (_line >= place.line) if place.id is None else _id.is_null() | (_id < place.id)
    return (_received_at < place.received_ms) | ((_received_at == place.received_ms) & is_later)


def _last_place(shown: pl.DataFrame, after: Place | None) -> Place:
    last = shown.row(-1, named=True)
    received_ms, id, line = last["received_at"], last["id"], last["line"] or 0
    skip = 0
    if id is None:
        is_same = (_received_at == received_ms) & _id.is_null() & (_line == line)
        skip = len(shown.filter(is_same)) + (after.skip if after and after[:3] == (received_ms, id, line) else 0)
    return Place(received_ms, id, line, skip)


def redriven(source: Source, ids: list[str]) -> dict[str, int]:
    """When those of some events were sent again that were, UTC ms by id, as the lake says now."""
    return _redriven(source.history(), ids)


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

    A reason itself repeats what was sent, so that hardly two are alike. So do fields within an event, whose names
    clients make up: a group has only the field that they are in, so that no client fills the list of reasons. A
    property that is summed is named, since definitions name it, of which there are few.
    """
    named = pl.col("field").is_not_null() & pl.col("remedy").is_not_null()
    outer = pl.col("field").str.split(".").list.first()
    known = pl.when(outer.is_in(sorted(FIELDS))).then(outer).otherwise(pl.lit("event"))
    field = pl.when(pl.col("remedy") == SUMMED_REMEDY).then("field").otherwise(known)
    group = pl.when(named).then(pl.concat_str(field, pl.lit(": "), "remedy")).otherwise(pl.col("code"))
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
