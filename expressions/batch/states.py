"""Every need of some definitions, folded for every id, and the profile attributes beside them.

1. events                  the columns of `frames.EVENT_SCHEMA`: one row an event, each event once
2. `Steps`                 + a column for each kind of each property, condition and lift: one row an event
3. `_contributions`        id, ts, n0.<kind>, n1.<kind>…: one row an event; for each need what the event contributes,
                           null where its source, its window or its lift leaves the event out
4. `COLUMN_FOLDS`          id, n0.<kind>…: one row an id; the needs under Add, Min and Max, in one group-by
5. `FRAME_FOLDS`           a frame a need. Earliest, Latest: id, v.<kind>…: one row an id, joined to the frame of 4.
                           Union, Tally: id, v.<kind>…, count: one row an id and value, kept beside it
6. `_attribute`            id, a0.<kind>…: one row an id; an attribute each, joined too
7. `States.present`        + columns for what a present reads of sets and tallies: one row an id

The n-th need has the prefix `n<n>`, the n-th attribute `a<n>`. Where rows have instants of their own (`instants`), the
rows of step 2 are joined to those that ask for their ids, and from there on `row` stands in the place of `id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial

import polars as pl

from ..aggregates import AGGREGATES
from ..monoids import VALUES_MAX, Add, Tally, Union
from ..ops import Aggregation, Attribute, Call, Constant, Expr, Now, SlotValue
from ..plan import Need, needs_of
from ..rules.dtypes import Kind
from ..rules.properties import attribute_name
from ..rules.windows import Zone
from .cells import COLUMN_KINDS, Cell, boolean_cell, is_null, item_keys, typed_cell
from .folds import COLUMN_FOLDS, FRAME_FOLDS, least, most_frequent, percentile
from .functions import amount
from .instants import Instants
from .lifting import lifted_cell, property_cell, source_mask
from .steps import Steps
from .to_polars import Scope, compile_cell

#: So many joins are planned as one query.
JOINS = 32


class States:
    """The folded needs and the attributes of all ids: `frame` has one row an id.

    `attributes` are the cells of attributes in `frame`. `present` gives those of aggregations, and adds to `frame` what
    they read.
    """

    def __init__(
        self,
        events: pl.LazyFrame,
        needs: Iterable[Need],
        attributes: Iterable[Attribute],
        instants: Instants,
        zone: Zone,
    ) -> None:
        self._instants, self._key = instants, instants.key
        self.zone = zone
        self._prefix = {need: f"n{index}" for index, need in enumerate(dict.fromkeys(needs))}
        #: The columns of a need in `frame`; for a Union or a Tally, those of its rows.
        self._cells: dict[Need, Cell] = {}
        #: The rows of a Union or a Tally.
        self._rows: dict[Need, pl.LazyFrame] = {}
        self._joins = 0
        frame = self._folded(self._contributions(events), events)
        identifies = events.filter(pl.col("kind") == "identify")
        self.attributes: dict[Attribute, Cell] = {}
        for index, attribute in enumerate(dict.fromkeys(attributes)):
            frame = self._joined(frame, self._attribute(identifies, attribute, f"a{index}"))
            self.attributes[attribute] = _columns(f"a{index}", COLUMN_KINDS)
        self.frame = frame

    def _contributions(self, events: pl.LazyFrame) -> pl.DataFrame:
        """Steps 2 and 3. Also says for each need which kinds its values have."""
        steps = Steps(events)
        # What several needs share is a column of its own. Polars computes equal parts of several expressions once, but
        # not equal parts of one expression.
        read = cache(lambda name: steps.let_cell(property_cell(name)))
        looks_at = cache(lambda source: _let(source_mask(source, steps.let_cell, read), steps))
        lifted = cache(lambda need: steps.let_cell(lifted_cell(need, self.zone, steps.let_cell, read)))
        columns: list[pl.Expr] = []
        for need, prefix in self._prefix.items():
            # Whatever its window: an event contributes the same to all of them.
            cell = lifted(replace(need, window=None))
            inside = (
                looks_at(need.source)
                & (pl.col("ts") > self._instants.lower(need.window))
                & (pl.col("ts") <= self._instants.ms)
            )
            columns += cell.where(inside).named(prefix)
            self._cells[need] = cell.columns(prefix)
        # Lifting once, into columns, lets all column folds share one group-by; a filter inside a group is far slower.
        rows = self._instants.rows(steps.frame).select(self._key, "ts", *columns)
        return self._instants.contributing(rows).collect()

    def _folded(self, contributions: pl.DataFrame, events: pl.LazyFrame) -> pl.LazyFrame:
        """Steps 4 and 5."""
        rows = contributions.lazy()
        # Most properties are of one kind, so most columns of the other kinds hold nothing to fold.
        empty = {
            column.name: pl.lit(None, dtype=column.dtype)
            for column in contributions
            if column.null_count() == len(column)
        }
        aggregations = []
        for need, prefix in self._prefix.items():
            column_fold = COLUMN_FOLDS.get(type(need.slot.monoid))
            if column_fold is not None:
                names = [f"{prefix}.{kind}" for kind in self._cells[need].kinds]
                aggregations += [empty.get(name, column_fold(contributions[name])).alias(name) for name in names]
        frame = self._instants.every(rows.group_by(self._key).agg(aggregations), events)
        for need, prefix in self._prefix.items():
            frame_fold = FRAME_FOLDS.get(type(need.slot.monoid))
            if frame_fold is None:
                continue
            cell = self._cells[need]
            own = rows.filter(~is_null(cell)).select(self._key, "ts", *cell.named("v"))
            values = cell.columns("v")
            folded = frame_fold(own, [self._key], values)
            if isinstance(need.slot.monoid, Union | Tally):
                self._rows[need], self._cells[need] = folded, values
            else:
                frame = self._joined(frame, folded.select(self._key, *values.named(prefix)))
        return frame

    def present(self, aggregation: Aggregation) -> tuple[Cell, pl.Expr]:
        """The value of an aggregation, and whether it is exact; adds to `frame` what these read."""
        needs = needs_of(aggregation)
        exact = pl.lit(True)
        for need in needs.values():
            if isinstance(need.slot.monoid, Union | Tally):
                exact = exact & (self._size(need) <= VALUES_MAX)

        scope = Scope(partial(self._present_leaf, needs), self._instants)
        return compile_cell(AGGREGATES[aggregation.aggregate].present, scope), exact

    def _present_leaf(self, needs: Mapping[str, Need], node: Expr) -> Cell | None:
        """The leaves of a present, in the order of `ops.py`: slots, what functions read of them, and the instant.

        It is a method, since a function that names itself would keep this frame until the next collection of garbage:
        gigabytes, in a process that answers one question after the other.
        """
        match node:
            case Call("length", (SlotValue(name),)):
                return Cell({"number": pl.min_horizontal(self._size(needs[name]), VALUES_MAX).cast(pl.Float64)})
            case Call("amount", (SlotValue(name), count)):
                divisor = compile_cell(count, Scope(partial(self._present_leaf, needs), self._instants))
                return amount(self._total(needs[name]), divisor.get("number"))
            case Call("most_frequent", (SlotValue(name),)):
                need = needs[name]
                return self._added(need, "mode", most_frequent(self._rows[need], self._key, self._cells[need]))
            case Call("percentile", (SlotValue(name), Constant(float() as percent))):
                need = needs[name]
                rows = percentile(self._rows[need], self._key, self._cells[need], percent).rename({"value": "v.number"})
                return self._added(need, f"p{percent}", rows)
            case SlotValue(name):
                return self._read(needs[name])
            case Now():
                return Cell({"number": self._instants.ms.cast(pl.Float64)})
            case _:
                return None

    def _read(self, need: Need) -> Cell:
        """What a slot reads as."""
        cell = self._cells[need]
        match need.slot.monoid:
            case Add():
                return Cell({"number": self._total(need).cast(pl.Float64)})
            case Union():
                values = least(self._rows[need], [self._key], cell, VALUES_MAX)
                ordered = values.sort(self._key, *cell.sort_keys(), nulls_last=False)
                keys = ordered.group_by(self._key, maintain_order=True).agg(item_keys(cell).alias("v.list"))
                items = self._added(need, "list", keys).get("list")
                return Cell({"list": items.fill_null(pl.lit([], dtype=pl.List(pl.String)))})
            case _:
                return cell

    def _total(self, need: Need) -> pl.Expr:
        """The sum of an Add, an integer; 0 where nothing was added."""
        return pl.col(f"{self._prefix[need]}.number").fill_null(0)

    def _size(self, need: Need) -> pl.Expr:
        """How many distinct values a Union or a Tally has, at most one more than may be read."""
        name = f"{self._prefix[need]}.size"
        if name not in self.frame.collect_schema():
            sizes = self._rows[need].group_by(self._key).agg(pl.len().cast(pl.Int64).alias(name))
            self.frame = self._joined(self.frame, sizes)
        return pl.col(name).fill_null(0)

    def _added(self, need: Need, what: str, rows: pl.LazyFrame) -> Cell:
        """The columns v.<kind> of rows that are one an id, added to `frame` as n<n>.<what>.<kind>, once."""
        prefix = f"{self._prefix[need]}.{what}"
        kinds: list[Kind] = [kind for kind in COLUMN_KINDS if f"v.{kind}" in rows.collect_schema()]
        if f"{prefix}.{kinds[0]}" not in self.frame.collect_schema():
            self.frame = self._joined(self.frame, rows.select(self._key, *_columns("v", kinds).named(prefix)))
        return _columns(prefix, kinds)

    def _attribute(self, identifies: pl.LazyFrame, attribute: Attribute, name: str) -> pl.LazyFrame:
        """key, name.<kind>…: one row a row, the value of an attribute in the newest identify that has its key (S8).

        Identifies sort as `properties.attribute_recency` says.
        """
        key = attribute_name(attribute.key)
        whole = pl.col("props").map.get(key)
        own = typed_cell(whole)
        is_object = whole.struct.field("json").str.starts_with("{").fill_null(False)
        inner = typed_cell(pl.col("props").map.get(attribute_name(attribute.key, attribute.path)))
        value = inner if attribute.path else own
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
            *self._instants.read,
            rank.alias("rank"),
            own.get("boolean").alias("k.boolean"),
            own.get("number").alias("k.number"),
            own.get("string").alias("k.string"),
            json.alias("k.json"),
            *value.named(name),
        )
        keys = ["ts", "rank", "k.boolean", "k.number", "k.string", "k.json"]
        known = self._instants.rows(rows).filter(pl.col("ts") <= self._instants.ms)
        newest = known.sort(keys, nulls_last=False).unique(subset=[self._key], keep="last", maintain_order=True)
        return newest.select(self._key, *[f"{name}.{kind}" for kind in value.kinds])

    def _joined(self, frame: pl.LazyFrame, columns: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with more columns of its rows.

        With hundreds of joins in one query Polars takes minutes to plan it, so they are done in parts.
        """
        joined = frame.join(columns, on=self._key, how="left")
        self._joins += 1
        return joined if self._joins % JOINS else joined.collect().lazy()


def _let(condition: pl.Expr, steps: Steps) -> pl.Expr:
    """The condition as a column."""
    return steps.let_cell(boolean_cell(condition)).get("boolean")


def _columns(prefix: str, kinds: Iterable[Kind]) -> Cell:
    """The cell that reads the columns prefix.<kind>."""
    return Cell({kind: pl.col(f"{prefix}.{kind}") for kind in kinds})
