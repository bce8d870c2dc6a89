"""Rows of a chunk as rows of `events`, in the order of the file, and the refused with their reasons.

    chunk  →  plain rows, whole columns at a time (`by_column`)  →  all others, one by one  →  both in the file's order

Only the reading one by one knows why a row is refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from expressions.rules.properties import event_fields, typed
from lake.halving import halving
from lake.schemas import EVENTS
from pipelines.importing.as_sent import sent_rows
from pipelines.importing.by_column import plain_rows
from pipelines.importing.chunk import ERROR, Chunk, Fault
from pipelines.importing.made import Inexact, Made, Refused, merge_inexact
from pipelines.importing.row_values import id_text, note_inexact, other_values, own_time_ms, own_value
from pipelines.importing.terms import Terms
from serving import ids
from serving.ingest.accept import Limits, accept
from serving.ingest.event_time import INSTANT_MIN_MS
from serving.refusals import Invalid


def chunk_rows(chunk: Chunk, terms: Terms) -> Made:
    """What becomes of the rows, in the order of the file.

    Where memory fails the rows are read in halves, quarters …: what one makes of a row does not depend on others.
    """
    if terms.reading.as_sent or terms.columns.are_bodies:
        return sent_rows(chunk, terms)
    return halving(partial(_in_pieces, chunk, terms), len(chunk.lines))


def _in_pieces(chunk: Chunk, terms: Terms, rows_at_once: int) -> Made:
    """The same, made of so many rows at a time."""
    tables: list[pa.Table] = []
    refused: list[Refused] = []
    inexact: dict[str, Inexact] = {}
    for at in range(0, len(chunk.lines), rows_at_once):
        made = _piece_rows(chunk.piece(at, at + rows_at_once), terms)
        tables.append(made.events)
        refused += made.refused
        merge_inexact(inexact, made.inexact)
    return Made(pa.concat_tables(tables), refused, inexact)


def _piece_rows(chunk: Chunk, terms: Terms) -> Made:
    events, is_plain = EVENTS.columns.empty_table(), np.zeros(len(chunk.lines), dtype=bool)
    inexact: dict[str, Inexact] = {}
    if chunk.columns is not None:
        events, is_plain, large = plain_rows(
            chunk.columns, chunk.lines, terms, are_cells=chunk.are_cells, broken=chunk.broken
        )
        inexact = {name: Inexact(*found) for name, found in large.items()}
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    refused: list[Refused] = []
    left = np.flatnonzero(~is_plain).tolist()
    for at, row in zip(left, chunk.rows(left), strict=True):
        line = chunk.lines[at]
        fault = row.get(ERROR)
        if isinstance(fault, Fault):
            refused.append(Refused.by_fault(line, fault))
            continue
        try:
            rows.append(_event_row(line, row, terms, chunk.are_cells, inexact))
            places.append(at)
        except Invalid as refusal:
            refused.append(Refused.by_refusal(line, refusal, row))
    if not rows:
        return Made(events, refused, inexact)
    both = pa.concat_tables([events, pa.Table.from_pylist(rows, schema=EVENTS.columns)])
    in_order = np.argsort(np.concatenate([np.flatnonzero(is_plain), np.array(places, dtype=np.int64)]), kind="stable")
    return Made(both.take(pa.array(in_order)), refused, inexact)


def _event_row(
    line: int, row: dict[str, Any], terms: Terms, are_cells: bool, inexact: dict[str, Inexact]
) -> dict[str, Any]:
    """A row of `events`. Raises `Invalid` with what is wrong with the row."""
    columns = terms.columns
    given_ms = own_time_ms(row, terms, are_cells)
    properties = other_values(row, terms, are_cells)
    id = own_value(row, columns.id, are_cells)
    event = accept(
        {
            "userId": id_text(own_value(row, columns.user, are_cells)),
            "event": own_value(row, columns.event, are_cells),
            "messageId": "-" if id is None else str(id),
            "properties": properties,
        },
        Limits(),
        "track",
    )
    note_inexact(inexact, line, properties, row)
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
        "import_id": terms.import_id,
    }
