"""Every execution behind one door: definitions, users' events and an instant in; Python values out.

Naive        loops and ifs                          Light, Heavy   what a rebuild publishes, and a tail behind it
Polars       the batch                              StateSplit     the events dealt out to several bases
StateWhole   read time, all events in the tail      Sql            the generated SQL, in DuckDB
Instants     the batch, each row at its own instant
AsOf         the same, of what was known by then, with a person's events under two ids
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import duckdb
import msgspec
import polars as pl

from expressions.bases import Base, RawEvent, base_of
from expressions.batch.as_of import answers_as_of, known_at, known_events
from expressions.batch.base_frames import base_parts
from expressions.batch.counting import deduplicate
from expressions.batch.frames import answer_frame, column_of, event_frame, values_of
from expressions.definitions import Bound, Definition, DefinitionKind, Key
from expressions.live.to_state import Program
from expressions.plan import plan
from expressions.rules.persons_over_time import person_spans
from expressions.rules.properties import attribute_fields, event_fields, typed
from expressions.rules.values import Value, from_json
from expressions.rules.windows import BEGINNING_MS, DAY_MS, HOUR_MS, Zone
from expressions.sql.to_sql import to_sql
from expressions.text.bind import bind
from serving.store import base_codec
from tests.history import Event
from tests.oracle import judge
from tests.oracle_copies import once

Bounds: TypeAlias = Mapping[Key, Bound]
#: User -> their events in the order of arrival.
Users: TypeAlias = Mapping[str, Sequence[Event]]


class Answered(NamedTuple):
    """A value, and whether it is exact."""

    value: Value
    exact: bool


#: Definition -> user -> answer.
Found: TypeAlias = dict[Key, dict[str, Answered]]
#: Where else a user is asked for, from the instant at hand: among them edges of windows and instants before any event.
INSTANTS = (-400 * DAY_MS, 0, 1, -1, DAY_MS, -7 * DAY_MS)
Execution: TypeAlias = Callable[[Bounds, Users, int, str], Found]


def bound(*definitions: tuple[DefinitionKind, str, str]) -> dict[Key, Bound]:
    """Definitions, (kind, key, expression), bound."""
    return bind(Definition(*one) for one in definitions)


def by_oracle(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """Loops and ifs."""
    return {
        key: {user: Answered(*judge(one.expr, once(events), now, zone, user)) for user, events in users.items()}
        for key, one in bounds.items()
    }


# ── the batch ────────────────────────────────────────────────────────────────────────────────────────────────────


def frame_rows(users: Users) -> list[dict[str, Any]]:
    """Rows of the frame of events: those of all users mixed, each user's in the order of arrival."""
    waiting = {user: list(events) for user, events in users.items()}
    shuffler = random.Random(sum(map(len, waiting.values())))
    rows: list[dict[str, Any]] = []
    while waiting := {user: events for user, events in waiting.items() if events}:
        user = shuffler.choice(sorted(waiting))
        rows.append(_row(user, waiting[user].pop(0), len(rows) + 1))
    shuffler.shuffle(rows)
    return rows


def _row(user: str, event: Event, seq: int) -> dict[str, Any]:
    fields = attribute_fields(event.fields) if event.kind == "identify" else event_fields(event.fields)
    return {
        "shard": 0,
        "seq": None if event.imported else seq,
        "event_id": event.id or f"{user}-{seq}",
        "kind": event.kind,
        "id": user,
        "name": event.name,
        "ts": event.ts_ms,
        "received_at": event.came_ms,
        "props": {name: typed(value) for name, value in fields.items()},
    }


def by_polars(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """All definitions in one query over one frame."""
    events = deduplicate(event_frame(frame_rows(users)))
    answers = answer_frame(events, list(bounds.values()), now, Zone(zone))
    return _with_absent(_answered_by(answers, bounds), bounds, users, now, zone)


def by_instants(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """All definitions in one query, in which each user is asked for at instants of their own, this one among them."""
    asked = pl.DataFrame(
        [(user, now + shift * (number + 1)) for number, user in enumerate(users) for shift in INSTANTS],
        schema={"id": pl.String, "now": pl.Int64},
        orient="row",
    )
    events = deduplicate(event_frame(frame_rows(users)))
    answers = answer_frame(events, list(bounds.values()), asked, Zone(zone))
    assert len(answers) == len(INSTANTS) * sum(map(bool, users.values())), "each instant of who has a row is answered"
    return _with_absent(_answered_by(answers.filter(pl.col("now") == now), bounds), bounds, users, now, zone)


def by_as_of(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """All definitions in one query, of each user at several instants; half of a user's events are of a device's id.

    Copies of an event stay under one id. The device was the user's from the beginning.
    """
    rows = frame_rows(users)
    for row in rows:
        if sum(row["event_id"].encode()) % 2:
            row["id"] = f"anon:{row['id']}"
    links = [_row(f"anon:{user}", Event("link", user, BEGINNING_MS), -1) for user in users]
    events = event_frame([*rows, *links]).collect()
    instants = [now + shift for shift in INSTANTS]
    asked = pl.DataFrame(
        [(user, instant) for user in users for instant in instants],
        schema={"person": pl.String, "now": pl.Int64},
        orient="row",
    ).with_row_index("row")
    spans = person_spans(events.lazy(), known_at("event_time"))
    known = known_events(events, list(bounds.values()), min(instants), max(instants), "event_time", Zone(zone))
    answers = pl.concat(answers_as_of(known, asked, spans, list(bounds.values()), Zone(zone)))
    assert sorted(answers["row"]) == list(range(len(asked))), "each question has one answer"
    return _answered_by(answers.filter(pl.col("now") == now), bounds)


def _answered_by(answers: pl.DataFrame, bounds: Bounds) -> Found:
    exact = {
        key: dict(answers.select("id", pl.col(column_of(key)).struct.field("exact")).iter_rows()) for key in bounds
    }
    return {
        key: {user: Answered(value, exact[key][user]) for user, value in values_of(answers, key).items()}
        for key in bounds
    }


def by_sql(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """One SELECT a definition."""
    found: Found = {}
    with duckdb_connection() as connection:
        connection.register("events", event_frame(frame_rows(users)).collect().to_arrow())
        for (kind, key), one in bounds.items():
            rows = dict_rows(connection.execute(to_sql(one, "duckdb", now, Zone(zone))))
            read = _sql_value if kind == "trait" else lambda row: row["boolean"]
            found[kind, key] = {row["id"]: Answered(read(row), row["exact"]) for row in rows}
            assert len(rows) == len(found[kind, key]), "an id has one row"
    return _with_absent(found, bounds, users, now, zone)


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def duckdb_connection() -> duckdb.DuckDBPyConnection:
    """A connection to the one DuckDB of this process: to start another takes as long as to answer a query."""
    return _duckdb().cursor()


def dict_rows(answer: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of a query that was executed, each by the names of its columns."""
    names = [name for name, *_ in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def _sql_value(row: Mapping[str, Any]) -> Value:
    if row["json"] is not None:
        return from_json(msgspec.json.decode(row["json"]))
    return next((row[kind] for kind in ("number", "string", "boolean") if row[kind] is not None), None)


def _with_absent(found: Found, bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """A user without any row is in no frame; read time answers for them."""
    absent: Users = {user: [] for user, events in users.items() if not events}
    for key, values in by_state(bounds, absent, now, zone).items():
        assert not values.keys() & found[key].keys(), "who has no row has no answer"
        found[key] |= values
    return found


# ── read time ────────────────────────────────────────────────────────────────────────────────────────────────────


def by_state(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """All events in the tail; ingest has refused repeats before."""
    return _answered(bounds, {user: [base_of(_raw(once(events)))] for user, events in users.items()}, now, zone)


def by_parts(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
    """The events shuffled and dealt out: to raw bases, and to a light and a heavy one as a rebuild cuts them."""
    bases: dict[str, list[Base]] = {}
    for user, events in users.items():
        shuffler = random.Random(len(events))
        kept = once(events)
        shuffler.shuffle(kept)
        parts: list[list[Event]] = [[] for _ in range(4)]
        for event in kept:
            parts[shuffler.randrange(4)].append(event)
        bases[user] = [base_of(_raw(part)) for part in parts[:2]]
        for part, light_events_max in zip(parts[2:], (256, 0), strict=True):
            as_of = now - shuffler.randrange(HOUR_MS)
            bases[user] += _bases(bounds, {user: part}, as_of, zone, light_events_max)[user]
    return _answered(bounds, bases, now, zone)


def _published(light_events_max: int) -> Execution:
    def execute(bounds: Bounds, users: Users, now: int, zone: str) -> Found:
        # A base is aligned to an instant up to its horizon before the answer; what came after it is the tail.
        as_of = now - random.Random(sum(map(len, users.values()))).randrange(HOUR_MS)
        kept = {user: once(events) for user, events in users.items()}
        covered = {user: [one for one in events if one.ts_ms <= as_of] for user, events in kept.items()}
        tails = {user: [one for one in events if one.ts_ms > as_of] for user, events in kept.items()}
        bases = _bases(bounds, covered, as_of, zone, light_events_max)
        for user, tail in tails.items():
            bases[user].append(base_of(_raw(tail)))
        return _answered(bounds, bases, now, zone)

    return execute


def _bases(bounds: Bounds, users: Users, as_of: int, zone: str, light_events_max: int) -> dict[str, list[Base]]:
    """What a rebuild publishes of these events, through the bytes that Redis keeps."""
    needed = plan(one.expr for one in bounds.values())
    frame = deduplicate(event_frame(frame_rows(users)))
    bases: dict[str, list[Base]] = {user: [] for user in users}
    for part in base_parts(frame, needed, as_of, HOUR_MS, light_events_max, Zone(zone)):
        for user, base, _ in part.bases():
            bases[user].append(base_codec.decode(base_codec.encode(base)))
    return bases


def _raw(events: Sequence[Event]) -> list[RawEvent]:
    """Events whose fields are flat, as records keep them."""
    return [
        RawEvent(
            one.kind, one.name, one.ts_ms, dict(one.fields) if one.kind == "identify" else event_fields(one.fields)
        )
        for one in events
    ]


def _answered(bounds: Bounds, bases: Mapping[str, list[Base]], now: int, zone: str) -> Found:
    program = Program(bounds.values(), Zone(zone))
    found: Found = {key: {} for key in bounds}
    for user, parts in bases.items():
        for key, answer in program.evaluate(parts, now, id=user).items():
            assert not answer.missing and not answer.straddled, f"{key} is not covered"
            found[key][user] = Answered(answer.value, answer.exact)
    return found


EXECUTIONS: dict[str, Execution] = {
    "Polars": by_polars,
    "Instants": by_instants,
    "AsOf": by_as_of,
    "StateWhole": by_state,
    "StateSplit": by_parts,
    "Light": _published(256),
    "Heavy": _published(0),
    "Sql": by_sql,
}
