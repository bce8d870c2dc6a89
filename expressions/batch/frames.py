"""From events to traits and memberships: pure functions over frames, shared by flows, previews and notebooks.

    events  →  deduplicate (each event once)  →  states (one per id and need)  →  answers (one row per id)

Nothing here depends on the order of rows. A frame of events has the columns of `EVENT_SCHEMA`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import polars as pl

from ..aggregates import AGGREGATES
from ..definitions import Bound, Key
from ..monoids import VALUES_MAX, Add, Max, Min, Tally, Union
from ..ops import (
    Aggregation,
    Argument,
    Attribute,
    Call,
    Constant,
    EventDay,
    EventTime,
    Expr,
    Now,
    Property,
    SlotValue,
    Source,
    walk,
)
from ..plan import COUNTED_KINDS, Need, needs_of, plan
from ..rules.dtypes import Kind
from ..rules.properties import attribute_name
from ..rules.values import Value
from ..rules.windows import UTC_ZONE, Zone, lower_ms
from .cells import COLUMN_KINDS, Cell, holds, item_keys, item_of_key, typed_cell
from .folds import FRAMES, SIMPLE, least, most_frequent, percentile
from .functions import amount, day_of
from .to_polars import Lets, Scope, compile_cell

TYPED = pl.Struct({"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "json": pl.String})

#: One row an event. `seq` is null for imported ones; times are UTC milliseconds; `props` are typed fields by dotted
#: name (of an identify its attributes by `properties.attribute_name`, an explicit null with all four null).
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


# ── lifting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def property_cell(name: str) -> Cell:
    """A property of an event, by its dotted name."""
    return typed_cell(pl.col("props").map.get(name))


def source_mask(
    source: Source, now_ms: int, let: Callable[[Cell], Cell], own: Callable[[str], Cell] = property_cell
) -> pl.Expr:
    """Which rows a source looks at. `own` gives a property's cell, a column where many read it."""
    mask = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    if source.event is not None:
        mask = mask & (pl.col("name") == source.event).fill_null(False)
    if source.where is not None:
        mask = mask & holds(compile_cell(source.where, Scope(_event_leaf(source, UTC_ZONE, own), now_ms, let)))
    return mask


def lifted_cell(
    need: Need,
    zone: Zone,
    now_ms: int,
    let: Callable[[Cell], Cell],
    own: Callable[[str], Cell] = property_cell,
) -> Cell:
    """What an event contributes to a need, without regard to its source's mask. `own` as in `source_mask`."""
    return compile_cell(need.slot.lift, Scope(_event_leaf(need.source, zone, own), now_ms, let))


def _event_leaf(source: Source, zone: Zone, own: Callable[[str], Cell]) -> Any:
    def leaf(node: Expr) -> Cell | None:
        match node:
            case Property(name):
                return own(name)
            case Argument():
                return Cell({"boolean": pl.lit(True)}) if source.property is None else own(source.property)
            case EventTime():
                return Cell({"number": pl.col("ts").cast(pl.Float64)})
            case EventDay():
                return Cell({"number": day_of(pl.col("ts"), zone)})
            case _:
                return None

    return leaf


# ── states per id ────────────────────────────────────────────────────────────────────────────────────────────────


#: Joins that are planned as one query.
JOINS = 32


def _column(lets: Lets, condition: pl.Expr) -> pl.Expr:
    return lets.let(Cell({"boolean": condition})).get("boolean")


class States:
    """Every need of some definitions, folded: one frame, one row an id, and the cell that each slot reads as."""

    def __init__(
        self, events: pl.LazyFrame, needs: Iterable[Need], attributes: Iterable[Attribute], now_ms: int, zone: Zone
    ) -> None:
        self.now_ms = now_ms
        self.needs = list(dict.fromkeys(needs))
        self.at = {need: index for index, need in enumerate(self.needs)}
        self.zone = zone
        self._rows: dict[Need, pl.LazyFrame] = {}
        self._cells: dict[Need, Cell] = {}
        self._joins = 0
        self.frame = self._folded(events, list(dict.fromkeys(attributes)))

    def _folded(self, events: pl.LazyFrame, attributes: list[Attribute]) -> pl.LazyFrame:
        lets = Lets(events)
        # What several needs share is a column of its own: Polars finds equal parts of expressions, but none within one.
        read = cache(lambda name: lets.let(property_cell(name)))
        seen = cache(lambda source: _column(lets, source_mask(source, self.now_ms, lets.let, read)))
        lifted = cache(lambda need: lets.let(lifted_cell(need, self.zone, self.now_ms, lets.let, read)))
        prepared, aggregations = [], []
        for need in self.needs:
            name = f"n{self.at[need]}"
            # Whatever its window: an event contributes the same to all of them.
            cell = lifted(replace(need, window=None))
            inside = (
                seen(need.source)
                & (pl.col("ts") > lower_ms(need.window, self.now_ms, self.zone))
                & (pl.col("ts") <= self.now_ms)
            )
            masked = cell.where(inside)
            fold = SIMPLE.get(type(need.slot.monoid))
            prepared += masked.named(name)
            if fold is not None:
                aggregations += [(fold, f"{name}.{kind}") for kind in cell.kinds]
                self._cells[need] = cell.columns(name)
            else:
                self._cells[need] = Cell({kind: pl.col(f"v.{kind}") for kind in cell.kinds})
        # Lifting once, into columns, lets all simple needs share one group-by; a filter inside a group is far slower.
        columns = lets.frame.select("id", "ts", *prepared).collect()
        rows = columns.lazy()
        # Most properties are of one kind, so most columns of the other kinds hold nothing to fold.
        nothing = {one.name: pl.lit(None, dtype=one.dtype) for one in columns if one.null_count() == len(one)}
        frame = rows.group_by("id").agg(
            [nothing.get(name, fold(columns[name])).alias(name) for fold, name in aggregations]
        )
        for need in self.needs:
            if type(need.slot.monoid) in FRAMES:
                name = f"n{self.at[need]}"
                cell = Cell({kind: pl.col(f"{name}.{kind}") for kind in self._cells[need].kinds})
                own = rows.filter(~cell.is_null).select("id", "ts", *cell.named("v"))
                found = FRAMES[type(need.slot.monoid)](own, ["id"], self._cells[need])
                if isinstance(need.slot.monoid, Union | Tally):
                    self._rows[need] = found
                else:
                    renamed = found.select("id", *self._cells[need].named(name))
                    frame = self._with(frame, renamed)
                    self._cells[need] = cell
        said = events.filter((pl.col("kind") == "identify") & (pl.col("ts") <= self.now_ms))
        for index, attribute in enumerate(attributes):
            frame = self._with(frame, _attribute(said, attribute, f"a{index}"))
        self.attributes = {attribute: _attribute_cell(f"a{index}") for index, attribute in enumerate(attributes)}
        return frame

    def present(self, aggregation: Aggregation) -> tuple[Cell, pl.Expr]:
        """The value of an aggregation, and whether it is exact; joins to `frame` what that takes."""
        needs = needs_of(replace(aggregation, at=None))
        exact = pl.lit(True)
        for need in needs.values():
            if isinstance(need.slot.monoid, Union | Tally):
                exact = exact & (self._size(need) <= VALUES_MAX)

        scope = Scope(partial(self._slot_cell, needs), self.now_ms)
        return compile_cell(AGGREGATES[aggregation.aggregate].present, scope), exact

    def _slot_cell(self, needs: Mapping[str, Need], node: Expr) -> Cell | None:
        """What reads slots. A method, as a function that names itself would keep this frame until the next collection
        of garbage: gigabytes, in a process that answers one question after the other.
        """
        match node:
            case Now():
                return Cell({"number": pl.lit(float(self.now_ms))})
            case Call("length", (SlotValue(name),)):
                return Cell({"number": pl.min_horizontal(self._size(needs[name]), VALUES_MAX).cast(pl.Float64)})
            case Call("most_frequent", (SlotValue(name),)):
                return self._joined(
                    needs[name], "mode", most_frequent(self._rows[needs[name]], self._cells[needs[name]])
                )
            case Call("amount", (SlotValue(name), count)):
                shared = compile_cell(count, Scope(partial(self._slot_cell, needs), self.now_ms))
                return amount(self._total(needs[name]), shared.get("number"))
            case Call("percentile", (SlotValue(name), Constant(float() as share))):
                cell, rows = self._cells[needs[name]], self._rows[needs[name]]
                found = percentile(rows, cell, share).rename({"value": "v.number"})
                return self._joined(needs[name], f"p{share}", found)
            case SlotValue(name):
                return self._read(needs[name])
            case _:
                return None

    def _read(self, need: Need) -> Cell:
        match need.slot.monoid:
            case Add():
                return Cell({"number": self._total(need).cast(pl.Float64)})
            case Min() | Max():
                return self._cells[need]
            case Union():
                cell = self._cells[need]
                lists = least(self._rows[need], ["id"], cell, VALUES_MAX).sort("id", *cell.ordered(), nulls_last=False)
                keys = lists.group_by("id", maintain_order=True).agg(item_keys(cell).alias("v.list"))
                found = self._joined(need, "list", keys)
                return Cell({"list": found.get("list").fill_null(pl.lit([], dtype=pl.List(pl.String)))})
            case _:
                return self._cells[need]

    def _total(self, need: Need) -> pl.Expr:
        """The integers of an Add, added."""
        return pl.col(f"n{self.at[need]}.number").fill_null(0)

    def _size(self, need: Need) -> pl.Expr:
        """How many distinct values, one more than may be read at the most."""
        name = f"n{self.at[need]}.size"
        if name not in self.frame.collect_schema():
            sizes = self._rows[need].group_by("id").agg(pl.len().cast(pl.Int64).alias(name))
            self.frame = self._with(self.frame, sizes)
        return pl.col(name).fill_null(0)

    def _joined(self, need: Need, what: str, found: pl.LazyFrame) -> Cell:
        prefix = f"n{self.at[need]}.{what}"
        kinds: list[Kind] = [kind for kind in COLUMN_KINDS if f"v.{kind}" in found.collect_schema()]
        if f"{prefix}.{kinds[0]}" not in self.frame.collect_schema():
            renamed = found.select("id", *[pl.col(f"v.{kind}").alias(f"{prefix}.{kind}") for kind in kinds])
            self.frame = self._with(self.frame, renamed)
        return Cell({kind: pl.col(f"{prefix}.{kind}") for kind in kinds})

    def _with(self, frame: pl.LazyFrame, found: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with more columns. With hundreds of joins in one query Polars takes minutes to plan it, so they are
        done in parts.
        """
        joined = frame.join(found, on="id", how="left")
        self._joins += 1
        return joined if self._joins % JOINS else joined.collect().lazy()


def _attribute(identifies: pl.LazyFrame, attribute: Attribute, name: str) -> pl.LazyFrame:
    """id, and the value of an attribute by kind: of the newest identify that has the key (S8)."""
    key = attribute_name(attribute.key)
    whole = pl.col("props").map.get(key)
    own = typed_cell(whole)
    is_object = whole.struct.field("json").str.starts_with("{").fill_null(False)
    leaf = typed_cell(pl.col("props").map.get(attribute_name(attribute.key, attribute.path)))
    value = leaf if attribute.path else own
    json = whole.struct.field("json")
    rank = (
        pl.when(is_object)
        .then(9)
        .when(json.is_not_null())
        .then(4)
        .when(own.get("string").is_not_null())
        .then(3)
        .when(own.get("number").is_not_null())
        .then(2)
        .when(own.get("boolean").is_not_null())
        .then(1)
        .otherwise(0)
    )
    rows = identifies.filter(pl.col("props").map.contains_key(key)).select(
        "id",
        "ts",
        rank.alias("rank"),
        own.get("boolean").alias("k.boolean"),
        own.get("number").alias("k.number"),
        own.get("string").alias("k.string"),
        json.alias("k.json"),
        *value.named(name),
    )
    keys = ["ts", "rank", "k.boolean", "k.number", "k.string", "k.json"]
    newest = rows.sort(keys, nulls_last=False).unique(subset=["id"], keep="last", maintain_order=True)
    return newest.select("id", *[f"{name}.{kind}" for kind in value.kinds])


def _attribute_cell(name: str) -> Cell:
    return Cell({kind: pl.col(f"{name}.{kind}") for kind in COLUMN_KINDS})


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def answer_frame(events: pl.LazyFrame, bounds: Sequence[Bound], now_ms: int, zone: Zone = UTC_ZONE) -> pl.DataFrame:
    """One row for every id that has a row, with a struct for every definition, named as `column_of` says.

    A struct has the fields boolean, number, string, list (tagged keys, see `polars_cells`) and exact; of a segment or a
    flag boolean alone counts. `events` are deduplicated, and rows after `now_ms` are as if they had not come yet.
    """
    expressions = [bound.expr for bound in bounds]
    aggregations = _distinct_nodes(expressions, Aggregation)
    attributes = _distinct_nodes(expressions, Attribute)
    states = States(events, plan(expressions).needs, attributes, now_ms, zone)
    presented = {node: states.present(node) for node in aggregations}
    lets = Lets(states.frame)
    answers = []
    for bound in bounds:
        cell = compile_cell(bound.expr, Scope(lambda node: _person_leaf(node, presented, states), now_ms, lets.let))
        used = _distinct_nodes([bound.expr], Aggregation)
        exact = pl.lit(True)
        for node in used:
            exact = exact & presented[node][1]
        answers.append(
            pl.struct(*[cell.get(kind).alias(kind) for kind in COLUMN_KINDS], exact.alias("exact")).alias(
                column_of((bound.definition.kind, bound.definition.key))
            )
        )
    return lets.frame.select("id", *answers).collect()


def _person_leaf(node: Expr, presented: Mapping[Expr, tuple[Cell, pl.Expr]], states: States) -> Cell | None:
    if isinstance(node, Aggregation):
        return presented[replace(node, at=None)][0]
    if isinstance(node, Attribute):
        return states.attributes[replace(node, at=None)]
    return None


def _distinct_nodes(expressions: Iterable[Expr], kind: type[Expr]) -> list[Any]:
    found = (replace(node, at=None) for one in expressions for node in walk(one) if isinstance(node, kind))
    return list(dict.fromkeys(found))


def column_of(key: Key) -> str:
    """The column of a definition: "trait:total_spent"."""
    return f"{key[0]}:{key[1]}"


def values_of(answers: pl.DataFrame, key: Key) -> dict[str, Value]:
    """id -> value of one definition, as Python values."""
    found: dict[str, Value] = {}
    for one, answer in answers.select("id", column_of(key)).iter_rows():
        found[one] = answer["boolean"] if key[0] != "trait" else value_of(answer)
    return found


def value_of(answer: Mapping[str, Any]) -> Value:
    """The value of one answer's struct."""
    if answer["list"] is not None:
        return tuple(item_of_key(key) for key in answer["list"])  # type: ignore[misc]
    return next((answer[kind] for kind in COLUMN_KINDS if answer[kind] is not None), None)


def users_where(answers: pl.DataFrame, key: Key) -> pl.DataFrame:
    """`id` of those for whom a definition holds (S4), sorted."""
    cell = Cell({kind: pl.col(column_of(key)).struct.field(kind) for kind in COLUMN_KINDS})
    return answers.filter(holds(cell)).select("id").sort("id")


def event_frame(rows: Iterable[Mapping[str, Any]]) -> pl.LazyFrame:
    """Rows in Python as a frame of events; `props` as a mapping from name to (number, string, boolean, json)."""
    fields = ("number", "string", "boolean", "json")
    shaped = []
    for row in rows:
        props = row.get("props") or {}
        entries = [{"key": name, "value": dict(zip(fields, value, strict=True))} for name, value in props.items()]
        shaped.append({**{name: row.get(name) for name in EVENT_SCHEMA}, "props": entries})
    flat = {**EVENT_SCHEMA, "props": pl.List(pl.Struct({"key": pl.String, "value": TYPED}))}
    return pl.DataFrame(shaped, schema=flat).with_columns(pl.col("props").cast(EVENT_SCHEMA["props"])).lazy()
