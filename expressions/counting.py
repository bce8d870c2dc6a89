"""Which rows count: what no delete covers, each event once; of all of them, or of those that some expressions read.

events  →  after deletes  →  each event once (S11)
"""

from __future__ import annotations

import polars as pl

from expressions.deletes import after_deletes
from expressions.frames import EVENT_SCHEMA
from expressions.identity import LINK_KINDS
from expressions.plan import COUNTED_KINDS, Plan
from expressions.windows import UTC_ZONE, Zone, lower_ms

REPEAT_MS = 86_400_000


def counted(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that count: after the last delete of their id, each event once."""
    return deduplicate(after_deletes(events))


def deduplicate(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that count (S11), in no order.

    Per id and event id the lowest seq counts; a repeat received within 24 h of the copy that counts is dropped, a later
    one is new and counts from then on; an imported row with the id of a logged one is dropped. Deletes come first
    (`expressions.deletes`): what they cover has no say. Links and unlinks are acts of their own, and all stay.
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


#: Equal for events that may be the same.
_EVENT_HASH = pl.struct("id", "event_id").hash()


def _each_once(rows: pl.DataFrame, met: pl.Series) -> pl.LazyFrame:
    """The rows that count, where those that are `met` may be repeats of each other and all others are none."""
    met = met & ~rows["kind"].is_in(LINK_KINDS)
    if not met.any():
        return rows.lazy()
    few = rows.select("id", "event_id", "seq", "received_at").with_row_index("row").filter(met)
    ordered = few.sort("id", "event_id", "seq", "received_at", nulls_last=True)
    repeats = ordered["row"].filter(~pl.Series(_counting(ordered)))
    counts = ~pl.int_range(len(rows), dtype=pl.UInt32, eager=True).is_in(repeats.implode())
    return rows.with_columns(counts.alias("counts")).lazy().filter("counts").drop("counts")


def _repeated(hashes: pl.Series) -> pl.Series:
    """The hashes that are there more than once, as one list."""
    in_order = hashes.sort()
    return in_order.filter(in_order == in_order.shift(1)).unique().implode()


def _counting(ordered: pl.DataFrame) -> list[bool]:
    """Which rows count, of rows in order of id, event id, seq (imported ones last), receipt."""
    counts: list[bool] = []
    held: tuple[str, str] | None = None
    anchor = 0
    is_logged = False
    for one, event_id, seq, received in ordered.select("id", "event_id", "seq", "received_at").iter_rows():
        if (one, event_id) != held:
            held, anchor, is_logged = (one, event_id), received, seq is not None
            counts.append(True)
        elif (seq is None and is_logged) or received - anchor < REPEAT_MS:
            counts.append(False)
        else:
            anchor = received
            counts.append(True)
    return counts
