"""Which rows count: no delete covers them, and each event is there once.

1. events              the columns of `frames.EVENT_SCHEMA`: one row an event or act, as it came
2. `after_deletes`     the same columns: the rows that no delete of their id covers, without the deletes
3. `_repeated`         hashes of (id, event id): one for each that several rows share
4. `_each_once`        the columns of 1: the rows that count (S11)

`counted` takes all rows. `counted_for` takes those that some expressions read. `counted_lazily` reads none but copies.
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
    """The rows that count: no delete of their id covers them, and each event is there once."""
    return deduplicate(after_deletes(events))


def deduplicate(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that count (S11), in no order. Deletes were applied before: a row that they cover has no say.

    Copies of an event are rows with the same id and event id; `rules.repeats` says which of them count. Links and
    unlinks are acts of their own: all of them stay.
    """
    # Repeats are rare, since ingest dropped most. Rows that share a hash are found cheaply, at worst too many of them;
    # the chains of those few are followed copy by copy.
    rows = events.collect()
    hashes = rows.select(_EVENT_HASH.alias("hash"))["hash"]
    return _each_once(rows, hashes.is_in(_repeated(hashes)))


def counted_lazily(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that count, of a frame of any size: in memory are deletes, and copies of events that several rows share.

    To find these reads the ids of all rows.
    """
    events = after_deletes(events)
    hashes = events.select(_EVENT_HASH.alias("hash")).collect(engine="streaming")["hash"]
    is_repeated = _EVENT_HASH.is_in(_repeated(hashes))
    copies = events.filter(is_repeated).collect(engine="streaming")
    if copies.is_empty():
        return events
    counting_copies = _each_once(copies, pl.repeat(True, len(copies), eager=True))
    return pl.concat([events.filter(~is_repeated), counting_copies])


def counted_for(
    events: pl.LazyFrame, needed: Plan, now_ms: int, zone: Zone = UTC_ZONE, latest_ms: int | None = None
) -> pl.LazyFrame:
    """The rows that count and that a plan's answers at `now_ms`, or from then up to `latest_ms`, depend on.

    These are left out: events of names that nothing reads or that no window reaches, and identifies where nothing reads
    an attribute. Rows that share the hash of id and event id are kept until it is known which of them counts. Each id
    has one row more, of a kind that nothing counts, since an id without events has answers too. Fields that
    nothing reads are left out (`without_unread_fields`).
    """
    events = after_deletes(events)
    is_read = pl.col("kind").is_in(sorted(COUNTED_KINDS)) & _is_reached(
        needed, now_ms, now_ms if latest_ms is None else latest_ms, zone
    )
    if needed.attributes:
        is_read = is_read | (pl.col("kind") == "identify")
    is_other = ~pl.col("kind").is_in([*sorted(COUNTED_KINDS), "identify"])
    hashes = events.select(_EVENT_HASH.alias("event"), _ID_HASHES[1].alias("id")).collect(engine="streaming")
    is_repeated = _EVENT_HASH.is_in(_repeated(hashes["event"]))
    id_count = hashes["id"].n_unique()
    del hashes
    # Rows are chosen before anything is made of them: else the fields of all rows would be made too.
    chosen = without_unread_fields(events.filter(is_read | is_other | is_repeated), needed)
    rows = chosen.with_columns(is_repeated.alias("is_repeated")).collect(engine="streaming")
    more = [name for name in rows.columns if name not in (*EVENT_SCHEMA, "is_repeated")]
    ids = distinct_ids(events.select("id", *more), id_count).with_columns(pl.lit("group").alias("kind"))
    return pl.concat([_each_once(rows.drop("is_repeated"), rows["is_repeated"]), ids.lazy()], how="diagonal")


def without_unread_fields(events: pl.LazyFrame, needed: Plan) -> pl.LazyFrame:
    """The rows without `props` where a plan reads no field at all; else with null for rows of which it reads none.

    Fields are most of the bytes of an event. To leave them out changes no answer: copies of an event that differ by
    their fields alone have one name.
    """
    read = {name for name, fields in needed.projection.events.items() if fields}
    if "props" not in events.collect_schema() or not needed.reads_fields:
        return events.drop("props", strict=False)
    if None in read:  # those of every event
        return events
    is_read = pl.col("name").is_in(sorted(read)).fill_null(False)
    if needed.attributes:
        is_read = is_read | (pl.col("kind") == "identify")
    return events.with_columns(pl.when(is_read).then(pl.col("props")).alias("props"))


def _is_reached(needed: Plan, now_ms: int, latest_ms: int, zone: Zone) -> pl.Expr:
    """Whether some need looks at an event of this name and time, at an instant between these two."""
    since: dict[str | None, int] = {}
    for need in needed.needs:
        lower = lower_ms(need.window, now_ms, zone)
        since[need.source.event] = min(since.get(need.source.event, lower), lower)
    reached = pl.lit(False)
    for name, lower in since.items():
        is_named = pl.lit(True) if name is None else (pl.col("name") == name).fill_null(False)
        reached = reached | (is_named & (pl.col("ts") > lower))
    return reached & (pl.col("ts") <= latest_ms)


def distinct_ids(rows: pl.LazyFrame, count: int | None = None) -> pl.DataFrame:
    """One row for each id. `count` is how many second hashes of ids there are, where that is known.

    Ids are told apart by their hash, at a quarter of what comparing texts costs. Where a second hash does not find as
    many, some ids share a hash, and the texts are compared.
    """
    first, second = _ID_HASHES
    distinct = rows.filter(first.is_first_distinct()).collect()
    if count is None:
        count = rows.select(second.n_unique()).collect().item()
    if count == len(distinct):
        return distinct
    return rows.unique(subset=["id"]).collect(engine="streaming")


#: Two hashes of an id, each by a seed of its own.
_ID_HASHES = tuple(pl.col("id").hash(seed) for seed in (1, 2))

#: The order of the copies of an event. Imported copies have no seq and come first.
_COPY = ("id", "event_id", "seq", "received_at")

#: Equal for the copies of an event, and by chance for a few other rows.
_EVENT_HASH = pl.struct("id", "event_id").hash()


def _each_once(rows: pl.DataFrame, is_repeated: pl.Series) -> pl.LazyFrame:
    """The rows that count. Only rows with `is_repeated` may be copies of each other."""
    is_copy = is_repeated & ~rows["kind"].is_in(LINK_KINDS)
    if not is_copy.any():
        return rows.lazy()
    copies = _in_order(rows, rows.select(*_COPY).with_row_index("row").filter(is_copy))
    counting = pl.Series(repeats.counting(copies.select("id", "event_id", "received_at").iter_rows()))
    counting_rows = copies["row"].filter(counting)
    counts = ~is_copy | pl.int_range(len(rows), dtype=pl.UInt32, eager=True).is_in(counting_rows.implode())
    return rows.with_columns(counts.alias("counts")).lazy().filter("counts").drop("counts")


def _in_order(rows: pl.DataFrame, copies: pl.DataFrame) -> pl.DataFrame:
    """The copies (row, and the columns of `_COPY`) in order: those of an event together, as they were received.

    An import of what the log, or another import, had already received is left out. A log is in order of receipt. What
    was imported before stands first, where seq is null.
    """
    if not copies["seq"].is_null().any():
        return copies.sort(_COPY)
    logged_at = pl.col("received_at").filter(pl.col("seq").is_not_null()).min().over("id", "event_id")
    copies = copies.filter(pl.col("seq").is_not_null() | (pl.col("received_at") < logged_at.fill_null(END_MS)))
    alike = copies.filter(pl.col("seq").is_null() & pl.struct(_COPY).is_duplicated())["row"]
    counts_once = pl.col("seq").is_not_null() | pl.struct("id", "event_id").is_first_distinct()
    if alike.is_empty():
        return copies.sort(_COPY).filter(counts_once)
    # Only these few are ordered by what they hold.
    tied = rows[alike].select(alike, "ts", "kind", pl.col("name").fill_null(""), *({"props"} & set(rows.columns)))
    if "props" in rows.columns:  # else nothing reads them, and any of the rows will do
        tied = tied.join(_fields(tied), on="row", how="left").drop("props")
    places = tied.sort(pl.all().exclude("row")).select("row").with_row_index("place")
    return copies.join(places, on="row", how="left").sort(*_COPY, "place").filter(counts_once)


def _fields(rows: pl.DataFrame) -> pl.DataFrame:
    """row, fields: one row for each `row` that has fields. Rows sort by `fields` as they do by what they hold.

    `fields` has each field as its place among all fields: these sort by name, and within a name numbers come before
    texts, booleans and lists.
    """
    value = pl.col("entry").struct.field("value").struct
    parts = [pl.col("entry").struct.field("key")]
    for name in ("number", "string", "boolean", "json"):
        parts += [value.field(name).is_null().alias(f"no {name}"), value.field(name)]
    entries = rows.select("row", pl.col("props").map.entries().alias("entry")).explode("entry", empty_as_null=False)
    in_order = entries.select("row", *parts).sort(pl.all().exclude("row"))
    place = pl.struct(pl.all().exclude("row")).rle_id()
    return in_order.select("row", place.alias("place")).group_by("row").agg(pl.col("place").sort().alias("fields"))


def _repeated(hashes: pl.Series) -> pl.Series:
    """The hashes that several rows share, as one list."""
    in_order = hashes.sort()
    return in_order.filter(in_order == in_order.shift(1)).unique().implode()
