"""Every execution behind one door: definitions, one user's events and an instant in; Python values out."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb
import msgspec

from expressions.base_frames import base_states
from expressions.bases import Base, RawEvent, base_of
from expressions.bind import bind
from expressions.definitions import Bound, Definition, DefinitionKind
from expressions.frames import answer_frame, deduplicate, event_frame, values_of
from expressions.plan import plan
from expressions.properties import attribute_fields, event_fields, typed
from expressions.to_sql import to_sql
from expressions.to_state import Program
from expressions.values import Value, from_json
from expressions.windows import HOUR_MS, Zone
from serving import codec
from tests.oracle import naive

Key = tuple[DefinitionKind, str]
Execution = Callable[[Mapping[Key, Bound], Sequence[RawEvent], int, str], dict[Key, Value]]
USER = "user:ada"


def bound(*definitions: tuple[DefinitionKind, str, str]) -> dict[Key, Bound]:
    """Definitions, (kind, key, expression), bound."""
    return bind(Definition(*one) for one in definitions)


def raw_events(events: Sequence[RawEvent]) -> list[RawEvent]:
    """Events whose fields are flat, as records and the lake keep them."""
    flat = []
    for event in events:
        fields = dict(event.fields) if event.kind == "identify" else event_fields(event.fields)
        flat.append(RawEvent(event.kind, event.name, event.ts_ms, fields))
    return flat


def frame_rows(events: Sequence[RawEvent], user: str = USER) -> list[dict[str, Any]]:
    """Rows of the frame of events, seqs in the order given."""
    rows = []
    for seq, event in enumerate(events, 1):
        fields = attribute_fields(event.fields) if event.kind == "identify" else event_fields(event.fields)
        rows.append(
            {
                "shard": 0,
                "seq": seq,
                "event_id": f"e{seq}",
                "kind": event.kind,
                "id": user,
                "name": event.name,
                "ts": event.ts_ms,
                "received_at": event.ts_ms,
                "props": {name: typed(value) for name, value in fields.items()},
            }
        )
    return rows


def by_oracle(bounds: Mapping[Key, Bound], events: Sequence[RawEvent], now: int, zone: str) -> dict[Key, Value]:
    """Loops and ifs."""
    return {key: naive(one.expr, raw_events(events), now, zone) for key, one in bounds.items()}


def by_polars(bounds: Mapping[Key, Bound], events: Sequence[RawEvent], now: int, zone: str) -> dict[Key, Value]:
    """The batch."""
    answers = answer_frame(deduplicate(event_frame(frame_rows(events))), list(bounds.values()), now, Zone(zone))
    if answers.is_empty():
        return by_state(bounds, [], now, zone)
    return {key: values_of(answers, key)[USER] for key in bounds}


def by_state(bounds: Mapping[Key, Bound], events: Sequence[RawEvent], now: int, zone: str) -> dict[Key, Value]:
    """Read time, all events in the tail."""
    return _answered(bounds, [base_of(raw_events(events))], now, zone)


def by_parts(bounds: Mapping[Key, Bound], events: Sequence[RawEvent], now: int, zone: str) -> dict[Key, Value]:
    """Read time, the events shuffled and split over several bases."""
    shuffler = random.Random(len(events))
    shuffled = raw_events(events)
    shuffler.shuffle(shuffled)
    parts: list[list[RawEvent]] = [[] for _ in range(3)]
    for event in shuffled:
        parts[shuffler.randrange(3)].append(event)
    return _answered(bounds, [codec.decode(codec.encode(base_of(part))) for part in parts], now, zone)


def _published(light_events_max: int) -> Execution:
    def execute(bounds: Mapping[Key, Bound], events: Sequence[RawEvent], now: int, zone: str) -> dict[Key, Value]:
        # The base is aligned to an instant up to an hour before the answer; what came after it is the tail.
        as_of = now - random.Random(len(events)).randrange(HOUR_MS)
        covered = [event for event in events if event.ts_ms <= as_of or event.ts_ms > now]
        tail = [event for event in events if as_of < event.ts_ms <= now]
        needed = plan(one.expr for one in bounds.values())
        frame = deduplicate(event_frame(frame_rows(covered)))
        bases = [base for _, base, _ in base_states(frame, needed, as_of, HOUR_MS, light_events_max, Zone(zone))]
        parts: list[Base] = [codec.decode(codec.encode(base)) for base in bases]
        return _answered(bounds, [*parts, base_of(raw_events(tail))], now, zone)

    return execute


def _answered(bounds: Mapping[Key, Bound], bases: list[Base], now: int, zone: str) -> dict[Key, Value]:
    answers = Program(list(bounds.values()), Zone(zone)).evaluate(bases, now)
    for key, answer in answers.items():
        assert not answer.missing and not answer.straddled, f"{key} is not covered"
    return {key: answer.value for key, answer in answers.items()}


def by_sql(bounds: Mapping[Key, Bound], events: Sequence[RawEvent], now: int, zone: str) -> dict[Key, Value]:
    """Generated SQL in DuckDB."""
    if not events:
        return by_state(bounds, [], now, zone)
    found: dict[Key, Value] = {}
    with duckdb.connect() as connection:
        connection.register("events", event_frame(frame_rows(events)).collect().to_arrow())
        for key, one in bounds.items():
            rows = connection.sql(to_sql(one, "duckdb", now, Zone(zone))).to_arrow_table().to_pylist()
            (row,) = rows
            found[key] = row["boolean"] if key[0] != "trait" else _sql_value(row)
    return found


def _sql_value(row: Mapping[str, Any]) -> Value:
    if row["json"] is not None:
        return from_json(msgspec.json.decode(row["json"]))
    return next((row[kind] for kind in ("number", "string", "boolean") if row[kind] is not None), None)


EXECUTIONS: dict[str, Execution] = {
    "polars": by_polars,
    "state": by_state,
    "parts": by_parts,
    "light": _published(256),
    "heavy": _published(0),
    "sql": by_sql,
}
