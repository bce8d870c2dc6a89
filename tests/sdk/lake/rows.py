"""Rows of a lake, made from plain events, and the values of an answer as the language has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from expressions.rules.properties import attribute_fields, event_fields, typed
from expressions.rules.values import Value
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.rows import EPOCH_ORDINAL
from serving.ids import shard_of
from tests.history import Event

SHARDS = 4


def write(lake: Lake, events: Iterable[tuple[str, Event]]) -> None:
    """Appends events, each with the id that it came with, in the order in which they arrived."""
    greatest = lake.events().group_by("shard").agg(pl.col("seq").max().fill_null(0)).collect()
    seqs = Counter(dict(greatest.iter_rows()))
    rows: list[dict[str, Any]] = []
    for id, event in events:
        shard = shard_of(id, SHARDS)
        seqs[shard] += not event.imported
        fields = attribute_fields(event.fields) if event.kind == "identify" else event_fields(event.fields)
        rows.append(
            {
                "ingest_date": date.fromordinal(EPOCH_ORDINAL + event.came_ms // DAY_MS),
                "shard": shard,
                "seq": None if event.imported else seqs[shard],
                "event_id": event.id or f"{id}-{event.came_ms}-{len(rows)}",
                "kind": event.kind,
                "id": id,
                "anonymous_id": event.names,
                "name": event.name,
                "ts": event.ts_ms,
                "received_at": event.came_ms,
                "properties": msgspec.json.encode(event.fields).decode(),
                "props": [(name, typed(value)._asdict()) for name, value in fields.items()],
            }
        )
    lake.append(EVENTS, pa.Table.from_pylist(rows, schema=EVENTS.columns))


def define(lake: Lake, kind: str, definitions: Mapping[str, str], version: int = 1) -> None:
    """Saves definitions, numbered from `version` on."""
    numbered = enumerate(definitions.items(), start=version)
    lake.append_definitions(
        [
            {"definition": {"kind": kind, "key": key, "expression": text, "version": number}, "action": "create"}
            for number, (key, text) in numbered
        ]
    )


def values_of(column: pl.Series) -> list[Value]:
    """The values of a column of answers, as the language has them."""
    return [_value(value) for value in column.to_list()]


def _value(value: Any) -> Value:
    match value:
        case dict():  # of several kinds, of which at most one is there
            return next((_value(one) for one in value.values() if one is not None), None)
        case list():
            return tuple(_value(item) for item in value)  # type: ignore[misc]  # no lists inside
        case _:
            return value  # type: ignore[no-any-return]
