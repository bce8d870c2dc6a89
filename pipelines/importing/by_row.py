"""Rows of a chunk as rows of `events`, in the order of the file, and the refused with their reasons.

    chunk  →  plain rows, whole columns at a time (`by_column`)  →  all others, one by one  →  both in the file's order

Only the reading one by one knows why a row is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from expressions.rules.properties import event_fields, typed
from expressions.rules.values import instant_ms
from lake.halving import halving
from lake.schemas import EVENTS
from pipelines.importing.by_column import plain_rows
from pipelines.importing.chunks import ERROR, Chunk
from pipelines.importing.terms import Terms
from serving import ids
from serving.ingest.accept import Limits, accept
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS
from serving.refusals import Invalid

#: Bytes of a refused row that are kept.
REFUSED_BYTES = 4_096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def chunk_rows(chunk: Chunk, terms: Terms) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Rows of `events` in the order of the file; and the refused: line, code, reason and the row as JSON.

    Where memory fails the rows are read in halves, quarters …: what one makes of a row does not depend on others.
    """
    return halving(partial(_in_pieces, chunk, terms), len(chunk.lines))


def _in_pieces(chunk: Chunk, terms: Terms, rows_at_once: int) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The same, made of so many rows at a time."""
    tables: list[pa.Table] = []
    refusals: list[dict[str, Any]] = []
    for at in range(0, len(chunk.lines), rows_at_once):
        rows, refused = _piece_rows(chunk.piece(at, at + rows_at_once), terms)
        tables.append(rows)
        refusals += refused
    return pa.concat_tables(tables), refusals


def _piece_rows(chunk: Chunk, terms: Terms) -> tuple[pa.Table, list[dict[str, Any]]]:
    plain, is_plain = EVENTS.columns.empty_table(), np.zeros(len(chunk.lines), dtype=bool)
    if chunk.columns is not None:
        plain, is_plain = plain_rows(chunk.columns, chunk.lines, terms, are_cells=chunk.are_cells)
    events: list[dict[str, Any]] = []
    places: list[int] = []
    refusals: list[dict[str, Any]] = []
    left = np.flatnonzero(~is_plain).tolist()
    for at, row in zip(left, chunk.rows(left), strict=True):
        line = chunk.lines[at]
        try:
            events.append(_event_row(line, row, terms))
            places.append(at)
        except Invalid as refusal:
            text = msgspec.json.encode(row, enc_hook=str)[:REFUSED_BYTES].decode("utf-8", "replace")
            refusals.append({"line": line, "code": refusal.code, "reason": refusal.message, "event": text})
    if not events:
        return plain, refusals
    rows = pa.concat_tables([plain, pa.Table.from_pylist(events, schema=EVENTS.columns)])
    in_order = np.argsort(np.concatenate([np.flatnonzero(is_plain), np.array(places, dtype=np.int64)]), kind="stable")
    return rows.take(pa.array(in_order)), refusals


def _event_row(line: int, row: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """A row of `events`. Raises `Invalid` with what is wrong with the row."""
    if row.get(ERROR):
        raise Invalid(row[ERROR])
    columns = terms.columns
    time = row.get(columns.time)
    if time is None or time == "":
        raise Invalid(f"{columns.time}: there is no time", {"field": columns.time})
    given_ms = time_ms(time, columns.time)
    properties = {name: _plain(value) for name, value in row.items() if name not in columns.own}
    properties = {name: value for name, value in properties.items() if value is not None and value != ""}
    event = accept(
        {
            "userId": _id_text(row.get(columns.user)),
            "event": row.get(columns.event),
            "messageId": str(row[columns.id]) if columns.id and row.get(columns.id) not in (None, "") else "-",
            "properties": properties,
        },
        Limits(),
        "track",
    )
    fields = event_fields(properties)
    return {
        "ingest_date": terms.ingest_date,
        "shard": ids.shard_of(event.id, terms.shards),
        "seq": None,
        "event_id": terms.event_id(line) if event.event_id == "-" else event.event_id,
        "kind": event.kind,
        "id_kind": "user",
        "id": event.id,
        "user_id": event.user_id,
        "anonymous_id": None,
        "name": event.name,
        "ts": min(max(given_ms + terms.shift_ms, INSTANT_MIN_MS), terms.now_ms),
        "original_ts": given_ms,
        "received_at": terms.now_ms,
        "properties": msgspec.json.encode(properties).decode() if properties else None,
        "props": [(name, typed(value)._asdict()) for name, value in fields.items()],
        "traits": None,
        "context": None,
    }


def _id_text(value: Any) -> Any:
    """An id as text: a whole number without a fraction, since some files hold 7 as 7.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value


def _plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO text. Raises `Invalid` for NaN and infinities."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            raise Invalid(f"{value} is no number that can be stored; leave the cell empty")
        case bytes():
            return value.decode("utf-8", "replace")
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def time_ms(value: Any, name: str) -> int:
    """A time as UTC ms: ISO 8601 text, a timestamp or a date, or epoch milliseconds. Raises `Invalid` with `name`."""
    match value:
        case bool():
            pass
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (aware - _EPOCH) // timedelta(milliseconds=1)
        case date():
            return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * 1000
        case int() | float() if math.isfinite(value) and INSTANT_MIN_MS <= value <= INSTANT_MAX_MS:
            return math.floor(value)
        case str():
            text = value.strip()
            text_ms = instant_ms(text)
            if text_ms is None and text.lstrip("-").isdigit() and len(text) >= 10:
                text_ms = int(value)
            if text_ms is not None and INSTANT_MIN_MS <= text_ms <= INSTANT_MAX_MS:
                return text_ms
    raise Invalid(f"{name}: {value!r} is no time; use ISO 8601, as 1998-07-01T00:00:00Z, or epoch milliseconds")
