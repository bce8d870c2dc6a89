"""Events as an app sends them, an object a line, as rows of `events`: each means what `POST /v1/batch` takes it for.

All kinds of events are checked and written as the API and the drain do it. Three things differ, since these come late:
an event says when it happened; the clock of its sender is believed, as nobody knows when it was sent by ours; and an
event without an id gets that of its line. What an event says of ids that belong together becomes links by way of the
log.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa

from lake.schemas import EVENTS
from pipelines.importing.bodies import body_of
from pipelines.importing.chunk import ERROR, Chunk, Fault
from pipelines.importing.formats.mapped import mapped
from pipelines.importing.made import Inexact, Made, Refused, merge_inexact
from pipelines.importing.terms import Reading, Terms
from pipelines.rows import event_rows
from serving import ids
from serving.ingest.accept import Limits, accept
from serving.ingest.event_time import INSTANT_MIN_MS, event_time
from serving.ingest.inexact import large_numbers_of
from serving.refusals import Invalid
from serving.store.logged_event import Accepted, LogEntry

_TIMES = ("timestamp", "ts", "originalTimestamp")
_TIME_REMEDY = "say when the event happened, in timestamp"


def sent_rows(chunk: Chunk, terms: Terms) -> Made:
    """What becomes of the rows, in the order of the file. Rows of columns become bodies first (`bodies`)."""
    inexact: dict[str, Inexact] = {}
    entries: list[tuple[int, LogEntry]] = []
    refused: list[Refused] = []
    for line, row in zip(chunk.lines, chunk.rows(range(len(chunk.lines))), strict=True):
        fault = row.get(ERROR)
        if isinstance(fault, Fault):
            refused.append(Refused.by_fault(line, fault))
            continue
        try:
            of_columns = terms.columns.are_bodies
            if of_columns:
                bodies = [body_of(line, row, terms, chunk.are_cells, inexact)]
            else:
                bodies = _bodies(row, terms.reading, chunk, partial(terms.event_id, line))
            made = [_entry(line, body, terms) for body in bodies]
            entries += made
            if not of_columns:
                for _, entry in made:
                    for name, number in large_numbers_of(entry.event):
                        merge_inexact(inexact, {name: Inexact(1, line, str(number))})
        except Invalid as refusal:
            refused.append(Refused.by_refusal(line, refusal, row))
    rows = event_rows(entries) if entries else EVENTS.columns.empty_table()
    of_import = {
        "seq": pa.nulls(len(rows), pa.int64()),
        "import_id": pa.array([terms.import_id] * len(rows), pa.string()),
    }
    for name, column in of_import.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    claiming = [entry for _, entry in entries if entry.event.anonymous_id or entry.event.email_hash]
    return Made(rows, refused, inexact, claiming)


def stated_ms(row: dict[str, Any], reading: Reading, chunk: Chunk) -> int | None:
    """When the events of a row say that they happened, the latest, UTC ms; None where they do not say. Raises
    `Invalid`.
    """
    bodies = _bodies(row, reading, chunk, str)
    times = [event_time(_without_sending(body), None, 0).ms for body in bodies]
    return max((ms for ms in times if ms is not None), default=None)


def _bodies(row: dict[str, Any], reading: Reading, chunk: Chunk, own_id: Callable[[], str]) -> list[dict[str, Any]]:
    """The events of a row, as an app sends them."""
    if reading.mapping is None:
        return [row]
    return mapped(
        row,
        reading.mapping,
        own_id,
        table=reading.table,
        are_cells=chunk.are_cells,
        has_columns=chunk.has_columns,
    )


def _entry(line: int, row: dict[str, Any], terms: Terms) -> tuple[int, LogEntry]:
    if all(row.get(name) is None for name in _TIMES):
        details = {"field": "timestamp", "value": None, "remedy": _TIME_REMEDY}
        raise Invalid(f"timestamp: there is no time; {_TIME_REMEDY}", details)
    has_id = row.get("messageId") not in (None, "")
    event: Accepted = accept(_without_sending(row), Limits())
    if not has_id:
        event = msgspec.structs.replace(event, event_id=terms.event_id(line))
    assert event.original_ts is not None, "an event without a time is refused above"
    ts_ms = min(max(event.original_ts + terms.shift_ms, INSTANT_MIN_MS), terms.now_ms)
    return ids.shard_of(event.id, terms.shards), LogEntry(0, event, ts_ms, terms.now_ms)


def _without_sending(row: dict[str, Any]) -> dict[str, Any]:
    """An event without the time of its sending, against which the API measures how far its sender's clock is off."""
    return {name: value for name, value in row.items() if name != "sentAt"}
