"""From events to answers: pure functions over frames, shared by flows, previews and notebooks.

1. events          the columns of `EVENT_SCHEMA`: one row an event, each event once (`counting`)
2. `States`        id, and columns for each need and attribute: one row an id
3. `answer_frame`  id, and a struct for each definition: one row an id; where rows have instants of their own
                   (`instants`), id, now and the structs: one row each
   `person_answers` the same with one row a person
4. `users_where`   id: one row for each id for whom a definition holds
   `values_of`     id -> value of a definition, in Python

Nothing here depends on the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

import polars as pl

from ..definitions import Bound, Key
from ..monoids import Tally, Union
from ..ops import Aggregation, Attribute, Expr, children, distinct_parts, shared_parts
from ..plan import needs_of, plan
from ..rules.identity import people
from ..rules.values import Value
from ..rules.windows import UTC_ZONE, Zone
from .cells import COLUMN_KINDS, Cell, holds, item_of_key
from .instants import Asked, instants_of
from .states import States
from .steps import Steps
from .to_polars import Scope, compile_cell

#: A typed field: at most one of these is not null.
TYPED = pl.Struct({"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "json": pl.String})

#: The columns of a frame of events: one row an event. `seq` is null for imported events. Times are UTC milliseconds.
#: `props` has typed fields by dotted name; an identify has its attributes there, by `properties.attribute_name`. An
#: explicit null has all four fields null.
EVENT_SCHEMA: dict[str, Any] = {
    "shard": pl.Int32,
    "seq": pl.Int64,
    "event_id": pl.String,
    "kind": pl.String,
    "id": pl.String,
    "name": pl.String,
    "ts": pl.Int64,
    "received_at": pl.Int64,
    "props": pl.Map(pl.String, TYPED),
}


def person_answers(
    events: pl.LazyFrame, bounds: Sequence[Bound], now: int | pl.DataFrame, zone: Zone = UTC_ZONE
) -> pl.DataFrame:
    """One row for every person at an instant, with the columns of `answer_frame`, from all rows that count.

    Every answer as of a time comes from here, now or then. `events` are never cut by time before: links, unlinks and
    deletes count whenever they came, and a person without an event by then has answers too.
    """
    return answer_frame(people(events), bounds, now, zone)


def answer_frame(
    events: pl.LazyFrame, bounds: Sequence[Bound], now: int | pl.DataFrame | Asked, zone: Zone = UTC_ZONE
) -> pl.DataFrame:
    """One row for every id that has a row: `id`, and a struct for each definition, in the column of `column_of`.

    `now` is the instant of all answers, UTC ms. Or it is a frame with `id` and `now`: then there is one row for each of
    its rows whose id has a row among the events, with the answers at its own instant, and the column `now` too. Or it
    is `Asked`, each row with ids of its own: then there is one row for each of its rows, and the column `row` too. What
    events contribute is read once for all instants; the memory grows with the events of an id times its instants.

    A struct has the fields boolean, number, string, list (of tagged keys, see `cells`) and exact. For a segment and a
    flag only boolean counts. `events` are each there once. Events after the instant are as if they had not come yet.
    """
    expressions = [bound.expr for bound in bounds]
    attributes = _distinct_nodes(expressions, Attribute)
    aggregations = _distinct_nodes(expressions, Aggregation)
    needs = plan(expressions).needs
    instants = instants_of(now, [need.window for need in needs], zone)
    states = States(events, needs, attributes, instants, zone)
    presented = {node: states.present(node) for node in aggregations}
    steps = Steps(states.frame)
    shared = shared_parts(*expressions)
    scope = Scope(lambda node: _person_leaf(node, presented, states), instants, steps.let_cell, shared)
    bounded = _bounded_inside(expressions)
    answers = []
    for bound in bounds:
        cell = compile_cell(bound.expr, scope)
        exact = reduce(and_, [presented[node][1] for node in bounded[bound.expr]], pl.lit(True))
        answers.append(
            pl.struct(*[cell.get(kind).alias(kind) for kind in COLUMN_KINDS], exact.alias("exact")).alias(
                column_of((bound.definition.kind, bound.definition.key))
            )
        )
    return steps.frame.select(*instants.columns, *answers).collect()


def _person_leaf(node: Expr, presented: Mapping[Expr, tuple[Cell, pl.Expr]], states: States) -> Cell | None:
    """The leaves of a definition, in the order of `ops.py`."""
    match node:
        case Attribute():
            return states.attributes[node]
        case Aggregation():
            return presented[node][0]
        case _:
            return None


def _distinct_nodes(expressions: Iterable[Expr], kind: type[Expr]) -> list[Any]:
    """The nodes of one kind, each once."""
    return [node for node in distinct_parts(*expressions) if isinstance(node, kind)]


def _bounded_inside(expressions: Sequence[Expr]) -> dict[Expr, dict[Expr, None]]:
    """For each part of some expressions the aggregations inside it that hold no more than so many values (S12)."""
    inside: dict[Expr, dict[Expr, None]] = {}
    for node in sorted(distinct_parts(*expressions), key=lambda part: part.levels):
        if isinstance(node, Aggregation):
            monoids = (need.slot.monoid for need in needs_of(node).values())
            inside[node] = {node: None} if any(isinstance(monoid, Union | Tally) for monoid in monoids) else {}
        else:
            # Mostly there are none. Each set is kept as it is where it is all there is.
            found = [inside[child] for child in children(node) if inside[child]]
            inside[node] = found[0] if len(found) == 1 else reduce(or_, found, {})
    return inside


def column_of(key: Key) -> str:
    """The column of a definition in a frame of answers: "trait:total_spent"."""
    return f"{key[0]}:{key[1]}"


def values_of(answers: pl.DataFrame, key: Key) -> dict[str, Value]:
    """id -> value of a definition, as Python values."""
    rows = answers.select("id", column_of(key)).iter_rows()
    return {id: value_of(answer) if key[0] == "trait" else answer["boolean"] for id, answer in rows}


def value_of(answer: Mapping[str, Any]) -> Value:
    """The value in the struct of an answer, as a Python value."""
    if answer["list"] is not None:
        return tuple(item_of_key(key) for key in answer["list"])  # type: ignore[misc]
    return next((answer[kind] for kind in COLUMN_KINDS if answer[kind] is not None), None)


def users_where(answers: pl.DataFrame, key: Key) -> pl.DataFrame:
    """`id` of each id for whom a definition holds (S4), sorted."""
    return answers.filter(holding(key)).select("id").sort("id")


def holding(key: Key) -> pl.Expr:
    """Whether a definition holds (S4), in a frame of answers. Never null."""
    return holds(Cell({kind: pl.col(column_of(key)).struct.field(kind) for kind in COLUMN_KINDS}))


def event_frame(rows: Iterable[Mapping[str, Any]]) -> pl.LazyFrame:
    """Rows in Python as a frame of events. `props` maps a name to (number, string, boolean, json)."""
    fields = ("number", "string", "boolean", "json")
    shaped = []
    for row in rows:
        props = row.get("props") or {}
        entries = [{"key": name, "value": dict(zip(fields, value, strict=True))} for name, value in props.items()]
        shaped.append({**{name: row.get(name) for name in EVENT_SCHEMA}, "props": entries})
    flat = {**EVENT_SCHEMA, "props": pl.List(pl.Struct({"key": pl.String, "value": TYPED}))}
    return pl.DataFrame(shaped, schema=flat).with_columns(pl.col("props").cast(EVENT_SCHEMA["props"])).lazy()
