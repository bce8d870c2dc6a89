"""Rows of the lake from what Redis and computations hold, and back.

log entries  →  rows of `events`  →  what a record's tail had of them (a recovery puts it back)
answers: id, a column for each definition  →  rows of `traits` and of `memberships`, one for each value
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from expressions.batch.cells import item_of_key
from expressions.batch.frames import column_of
from expressions.definitions import Key
from expressions.plan import Projection
from expressions.rules.deletes import ACT_KINDS
from expressions.rules.dtypes import Kind
from expressions.rules.properties import Typed, attribute_fields, event_fields, typed
from expressions.rules.values import canonical_json, to_json
from expressions.rules.windows import DAY_MS
from lake.schemas import EVENTS, TYPED
from serving import ids
from serving.ingest.projection import tail_payload
from serving.store.logged_event import Accepted, LogEntry
from serving.store.scripts.replay import Row

#: 1970-01-01, as the standard library counts dates.
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

_encode = msgspec.json.Encoder().encode


def event_rows(entries: Sequence[tuple[int, LogEntry]]) -> pa.Table:
    """Rows of `events` from log entries, (shard, entry). Made by columns: rows as dictionaries take twice as long."""
    events = [entry.event for _, entry in entries]
    received = [entry.received_ms for _, entry in entries]
    dates = {day: date.fromordinal(EPOCH_ORDINAL + day) for day in {ms // DAY_MS for ms in received}}
    columns: dict[str, Any] = {
        "ingest_date": [dates[ms // DAY_MS] for ms in received],
        "shard": [shard for shard, _ in entries],
        "seq": [entry.seq for _, entry in entries],
        "event_id": [event.event_id for event in events],
        "kind": [event.kind for event in events],
        "id_kind": [ids.raw_id(event.id).kind for event in events],
        "id": [event.id for event in events],
        "user_id": [event.user_id for event in events],
        "anonymous_id": [event.anonymous_id for event in events],
        "name": [event.name for event in events],
        "ts": [entry.ts_ms for _, entry in entries],
        "original_ts": [event.original_ts for event in events],
        "received_at": received,
        "properties": [_text(event.properties) for event in events],
        "props": props_of(events),
        "traits": [_text(event.traits) for event in events],
        "context": [_text(event.context) for event in events],
        "import_id": [None] * len(events),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in EVENTS.columns], schema=EVENTS.columns)


def props_of(events: Iterable[Accepted]) -> pa.Array:
    """The typed map of each event: of its fields, or of an identify's attributes."""
    ends, names, values = [0], list[str](), list[Typed]()
    for event in events:
        fields = attribute_fields(event.traits) if event.kind == "identify" else event_fields(event.properties)
        names += fields
        values += map(typed, fields.values())
        ends.append(len(names))
    columns = zip(*values, strict=True) if values else [()] * len(TYPED)
    structs = pa.StructArray.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, TYPED, strict=True)], fields=list(TYPED)
    )
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), pa.array(names, pa.string()), structs)


def _text(value: Mapping[str, Any]) -> str | None:
    return _encode(value).decode() if value else None


def replayed(rows: pl.DataFrame, projection: Projection) -> list[tuple[str, Row]]:
    """(id, tail entry) of each row of the lake, in the order given. Links and deletes have no place in a tail."""
    entries = []
    for row in rows.filter(~pl.col("kind").is_in(ACT_KINDS)).iter_rows(named=True):
        event = Accepted(
            event_id=row["event_id"],
            kind=row["kind"],
            id=row["id"],
            name=row["name"],
            properties=msgspec.json.decode(row["properties"]) if row["properties"] else {},
            traits=msgspec.json.decode(row["traits"]) if row["traits"] else {},
        )
        tail = tail_payload(event, projection)
        entry = Row(ids.event_hash(row["event_id"]), row["seq"], row["ts"], row["received_at"], tail)
        entries.append((row["id"], entry))
    return entries


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def trait_rows(answers: pl.DataFrame, keys: Sequence[Key], as_of_ms: int, build: int) -> pl.DataFrame:
    """One row for every id and trait that has a value: id, key, number, string, boolean, json, exact, as_of, build."""
    parts = []
    for key in keys:
        if key[0] != "trait":
            continue
        value = pl.col(column_of(key)).struct
        kinds: tuple[Kind, ...] = ("number", "string", "boolean")
        json = value.field("list").map_batches(_list_texts, pl.String)
        part = answers.select(
            "id",
            pl.lit(key[1]).alias("key"),
            *[value.field(kind).alias(kind) for kind in kinds],
            json.alias("json"),
            value.field("exact").alias("exact"),
        )
        parts.append(part.filter(pl.any_horizontal(pl.col("number", "string", "boolean", "json").is_not_null())))
    schema = {
        "id": pl.String,
        "key": pl.String,
        "number": pl.Float64,
        "string": pl.String,
        "boolean": pl.Boolean,
        "json": pl.String,
        "exact": pl.Boolean,
    }
    rows = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    return rows.with_columns(pl.lit(as_of_ms).alias("as_of"), pl.lit(build).alias("build"))


def _list_texts(lists: pl.Series) -> pl.Series:
    texts = [None if keys is None else _list_text(keys) for keys in lists.to_list()]
    return pl.Series(lists.name, texts, dtype=pl.String)


def _list_text(keys: Sequence[str]) -> str:
    return canonical_json(to_json(tuple(map(item_of_key, keys))))  # type: ignore[arg-type]


def membership_rows(
    answers: pl.DataFrame, keys: Sequence[Key], as_of_ms: int, build: int, before: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row for every id and segment that it is in: id, key, since, as_of, build.

    `before` are the memberships of the last rebuild: an id that was in a segment then keeps its `since`.
    """
    parts = [
        answers.filter(pl.col(column_of(key)).struct.field("boolean")).select("id", pl.lit(key[1]).alias("key"))
        for key in keys
        if key[0] == "segment"
    ]
    rows = pl.concat(parts) if parts else pl.DataFrame(schema={"id": pl.String, "key": pl.String})
    if before is None:
        rows = rows.with_columns(pl.lit(as_of_ms).alias("since"))
    else:
        last = before.select("id", "key", "since")
        rows = rows.join(last, on=["id", "key"], how="left").with_columns(pl.col("since").fill_null(as_of_ms))
    return rows.with_columns(pl.lit(as_of_ms).alias("as_of"), pl.lit(build).alias("build"))
