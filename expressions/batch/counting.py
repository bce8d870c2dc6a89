"""Which rows count: what no delete covers, each event once; of all of them, or of those that some expressions read.

events  →  after deletes  →  each event once (S11)
"""

from __future__ import annotations

import polars as pl

from ..plan import COUNTED_KINDS, Plan
from ..rules import repeats
from ..rules.deletes import after_deletes
from ..rules.identity import LINK_KINDS
from ..rules.windows import END_MS, UTC_ZONE, Zone, lower_ms
from .frames import EVENT_SCHEMA


def counted(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that count: after the last delete of their id, each event once."""
    return deduplicate(after_deletes(events))


def deduplicate(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that count (S11), in no order.

    Of the copies of an event, rows with one id and event id, those count that `expressions.rules.repeats` says. Deletes
    come first (`expressions.rules.deletes`): what they cover has no say. Links and unlinks are acts of their own, and
    all stay.
    """
    # Repeats are rare, since ingest dropped most: find ids that meet by hash, which is cheap and may only find too
    # many, and follow the chains of those few one by one.
    rows = events.collect()
    hashes = rows.select(_EVENT_HASH.alias("hash"))["hash"]
    return _each_once(rows, hashes.is_in(_repeated(hashes)))


def counted_for(events: pl.LazyFrame, needed: Plan, now_ms: int, zone: Zone = UTC_ZONE) -> pl.LazyFrame:
    """Of the rows that count those without which a plan's answers at `now_ms` would be others.

    Left out are events of names that nothing reads, or that no window reaches, and attributes that nothing reads. A row
    that has id and event id (or the hash of them) in common with another is looked at all the same, since of those it
    matters which comes first. An id without events has answers too, so each id has a row more, of a kind that counts as
    nothing. The column `props` is left out where nothing reads a field.
    """
    events = after_deletes(events)
    if not needed.attributes and not any(needed.projection.events.values()):
        events = events.drop("props")  # most of what there is to read, and nothing asks for it
    is_read = pl.col("kind").is_in(sorted(COUNTED_KINDS)) & _is_reached(needed, now_ms, zone)
    if needed.attributes:
        is_read = is_read | (pl.col("kind") == "identify")
    is_other = ~pl.col("kind").is_in([*sorted(COUNTED_KINDS), "identify"])
    met = _repeated(events.select(_EVENT_HASH.alias("hash")).collect(engine="streaming")["hash"])
    wanted = events.with_columns(_EVENT_HASH.is_in(met).alias("is_met")).filter(is_read | is_other | "is_met")
    rows = wanted.collect(engine="streaming")
    more = [name for name in rows.columns if name not in (*EVENT_SCHEMA, "is_met")]
    ids = distinct_ids(events.select("id", *more)).with_columns(pl.lit("group").alias("kind"))
    return pl.concat([_each_once(rows.drop("is_met"), rows["is_met"]), ids.lazy()], how="diagonal")


def _is_reached(needed: Plan, now_ms: int, zone: Zone) -> pl.Expr:
    """Whether some need looks at an event of this name and time."""
    since: dict[str | None, int] = {}
    for need in needed.needs:
        lower = lower_ms(need.window, now_ms, zone)
        since[need.source.event] = min(since.get(need.source.event, lower), lower)
    reached = pl.lit(False)
    for name, lower in since.items():
        is_named = pl.lit(True) if name is None else (pl.col("name") == name).fill_null(False)
        reached = reached | (is_named & (pl.col("ts") > lower))
    return reached & (pl.col("ts") <= now_ms)


def distinct_ids(rows: pl.LazyFrame) -> pl.DataFrame:
    """A row of each id. Texts are told apart by their hash, at a quarter of what comparing them costs; where another
    hash does not find as many, some share one, and are compared."""
    first, second = (pl.col("id").hash(seed) for seed in (1, 2))
    found = rows.filter(first.is_first_distinct()).collect()
    if rows.select(second.n_unique()).collect().item() == len(found):
        return found
    return rows.unique(subset=["id"]).collect(engine="streaming")


#: What orders the copies of an event: imported ones have no seq, and come first.
_COPY = ("id", "event_id", "seq", "received_at")

#: Equal for events that may be the same.
_EVENT_HASH = pl.struct("id", "event_id").hash()


def _each_once(rows: pl.DataFrame, met: pl.Series) -> pl.LazyFrame:
    """The rows that count, where those that are `met` may be repeats of each other and all others are none."""
    met = met & ~rows["kind"].is_in(LINK_KINDS)
    if not met.any():
        return rows.lazy()
    ordered = _in_order(rows, rows.select(*_COPY).with_row_index("row").filter(met))
    counting = pl.Series(repeats.counting(ordered.select("id", "event_id", "received_at").iter_rows()))
    kept = ordered["row"].filter(counting)
    counts = ~met | pl.int_range(len(rows), dtype=pl.UInt32, eager=True).is_in(kept.implode())
    return rows.with_columns(counts.alias("counts")).lazy().filter("counts").drop("counts")


def _in_order(rows: pl.DataFrame, few: pl.DataFrame) -> pl.DataFrame:
    """A few of the rows, those of one event together, in order of receipt, without imported ones behind logged ones.

    A log is in order of receipt, and what was imported before it stands before it: where seq is null.
    """
    is_imported = few["seq"].is_null()
    if not is_imported.any():
        return few.sort(_COPY)
    logged_at = pl.col("received_at").filter(pl.col("seq").is_not_null()).min().over("id", "event_id")
    few = few.filter(pl.col("seq").is_not_null() | (pl.col("received_at") < logged_at.fill_null(END_MS)))
    alike = few.filter(pl.col("seq").is_null() & pl.struct(_COPY).is_duplicated())["row"]
    if alike.is_empty():
        return few.sort(_COPY)
    # Only of these is it asked what they are.
    tied = rows[alike].select(alike, "ts", "kind", pl.col("name").fill_null(""), *({"props"} & set(rows.columns)))
    if "props" in rows.columns:  # else nothing reads them, and it is all the same
        tied = tied.join(_fields(tied), on="row", how="left").drop("props")
    places = tied.sort(pl.all().exclude("row")).select("row").with_row_index("place")
    return few.join(places, on="row", how="left").sort(*_COPY, "place")


def _fields(rows: pl.DataFrame) -> pl.DataFrame:
    """`fields` of each `row` that has any, which are in order as those are: each field stands there as its place among
    all fields, which are in order of name, and of one name numbers before texts, booleans and lists."""
    value = pl.col("entry").struct.field("value").struct
    parts = [pl.col("entry").struct.field("key")]
    for name in ("number", "string", "boolean", "json"):
        parts += [value.field(name).is_null().alias(f"no {name}"), value.field(name)]
    entries = rows.select("row", pl.col("props").map.entries().alias("entry")).explode("entry", empty_as_null=False)
    in_order = entries.select("row", *parts).sort(pl.all().exclude("row"))
    place = pl.struct(pl.all().exclude("row")).rle_id()
    return in_order.select("row", place.alias("place")).group_by("row").agg(pl.col("place").sort().alias("fields"))


def _repeated(hashes: pl.Series) -> pl.Series:
    """The hashes that are there more than once, as one list."""
    in_order = hashes.sort()
    return in_order.filter(in_order == in_order.shift(1)).unique().implode()
