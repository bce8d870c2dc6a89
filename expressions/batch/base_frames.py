"""From events to bases: what the batch publishes for each id.

1. events            id, kind, name, ts, props: one row an event, each event once
2. `part_numbers`    the rows of some ids at a time, all rows of each
3. `_part`           + relevant: the projection keeps the event; + kept_name: null for a name that no definition reads
4. ids               id, heavy: one row an id, sorted; its number among them is its id_index
5. rows              3 + id_index, heavy: one row an event
6. `_raw_events`     for each kept name id_index, ts and a column a field: one row a raw event, in order of id and time
7. `_span_states`    5 + span, the number of the span that the event is in: one row a relevant event of a span
                     id_index, heavy, span: one row an id and span that has such an event, sorted
   `_states_of`      for each need a list beside those: a state, None where no event added to it
8. `_profiles`       id_index -> key -> (ts, raw JSON value): the newest value of each attribute
9. `BasePart`        all of that for the ids of 4; `bases()` gives one `Base` an id

An id is heavy where the longest window reaches more than `light_events_max` of its relevant events. The cuts of light
and heavy ids are in `windows.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl

from ..bases import Base, Events, SpanState, State
from ..monoids import Add, Earliest, Latest, Max, Min, Tally, Union
from ..plan import COUNTED_KINDS, Need, Plan
from ..rules.properties import attribute_name, attribute_recency
from ..rules.values import Value, from_json, order_key
from ..rules.windows import UTC_ZONE, Cuts, Zone, heavy_cuts, light_cuts, lower_ms
from .cells import COLUMN_KINDS, is_null, item_of_key
from .folds import COLUMN_FOLDS, FRAME_FOLDS
from .lifting import lifted_cell, source_mask
from .steps import Steps

#: Ids, rows and bytes of a part: enough that a query costs little beside its rows, few enough to be small in memory.
IDS_AT_ONCE = 20_000
ROWS_AT_ONCE = 1_000_000
BYTES_AT_ONCE = 256 << 20


@dataclass(frozen=True)
class RawColumns:
    """The raw events of one name of many ids, in order of id and time.

    The i-th group has the rows from `starts[i]` to `starts[i + 1]`; they are of the id at `id_indexes[i]` of the part.
    `fields` are columns of the lake's typed values.
    """

    id_indexes: np.ndarray[Any, np.dtype[np.int64]]
    starts: np.ndarray[Any, np.dtype[np.int64]]
    ts_ms: np.ndarray[Any, np.dtype[np.int64]]
    fields: dict[str, pl.Series]

    def events(self) -> Iterator[tuple[int, Events]]:
        """(index of the id in the part, its events), one id after another."""
        bounds = self.starts.tolist()
        columns = {field: values_of_typed(column) for field, column in self.fields.items()}
        for index, start, end in zip(self.id_indexes.tolist(), bounds, bounds[1:], strict=False):
            times = array("q", self.ts_ms[start:end].tobytes())
            yield index, Events(times, {field: column[start:end] for field, column in columns.items()})


@dataclass(frozen=True)
class BasePart:
    """The bases of some ids, in columns where they can be: the part `number` of `parts`, by `part_numbers`.

    `events` are by kept name. `spans` and `profiles` are by the index of the id, and lack ids that have none.
    """

    number: int
    parts: int
    ids: list[str]
    heavy: list[bool]
    events: dict[str | None, RawColumns]
    spans: dict[int, tuple[SpanState, ...]]
    profiles: dict[int, dict[str, tuple[int, Any]]]

    def bases(self) -> Iterator[tuple[str, Base, bool]]:
        """(id, base, whether it is heavy), one id after another."""
        events: list[dict[str | None, Events]] = [{} for _ in self.ids]
        for name, raw in self.events.items():
            for index, own in raw.events():
                events[index][name] = own
        for index, (id, is_heavy) in enumerate(zip(self.ids, self.heavy, strict=True)):
            yield id, Base(events[index], self.spans.get(index, ()), self.profiles.get(index, {})), is_heavy


def base_parts(
    events: pl.LazyFrame,
    plan: Plan,
    as_of_ms: int,
    horizon_ms: int,
    light_events_max: int = 256,
    zone: Zone = UTC_ZONE,
    finer: int = 1,
) -> Iterator[BasePart]:
    """The bases of every id that has a row, some ids at a time, in no order. `events` are each there once.

    There are `finer` times as many parts as usual. Events after `as_of_ms` are kept raw: they came while the rebuild
    began.
    """
    light = light_cuts(plan.windows, as_of_ms, zone)
    heavy = heavy_cuts(plan.windows, as_of_ms, horizon_ms, zone)
    rows = events.select("id", "kind", "name", "ts", "props").collect()
    ids = rows.select(pl.col("id").approx_n_unique()).item() if len(rows) else 0
    usual = 1 + max(ids // IDS_AT_ONCE, len(rows) // ROWS_AT_ONCE, int(rows.estimated_size()) // BYTES_AT_ONCE)
    parts = usual * finer
    numbers = part_numbers(rows, parts)
    for number in range(parts):
        own = rows.filter(numbers == number) if parts > 1 else rows
        if len(own):
            yield _part(number, parts, own, plan, light, heavy, as_of_ms, light_events_max, zone)


def part_numbers(rows: pl.DataFrame, parts: int) -> pl.Series:
    """The number of the part that each row's id is in, by the id's hash.

    A pass over small numbers for each part is cheaper than to sort by id.
    """
    return rows.select((pl.col("id").hash() % parts).cast(pl.UInt32))["id"]


def _part(
    number: int,
    parts: int,
    events: pl.DataFrame,
    plan: Plan,
    light: Cuts,
    heavy: Cuts,
    as_of_ms: int,
    light_events_max: int,
    zone: Zone,
) -> BasePart:
    """Steps 3 to 9, of the rows of some ids."""
    projected = plan.projection.events
    is_counted = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    is_named = pl.col("name").is_in([name for name in projected if name is not None]).fill_null(False)
    is_relevant = is_counted & (pl.lit(True) if None in projected else is_named)
    kept_name = pl.when(is_named).then(pl.col("name"))
    marked = events.with_columns(is_relevant.alias("relevant"), kept_name.alias("kept_name"))
    is_reached = pl.col("relevant") & (pl.col("ts") > light.edges[0][0])
    ids = marked.group_by("id").agg((is_reached.sum() > light_events_max).alias("heavy")).sort("id")
    # Joined by themselves, since a join copies all that it carries.
    of_ids = marked.select("id").join(ids.with_row_index("id_index"), on="id", how="left", maintain_order="left")
    rows = marked.with_columns(of_ids["id_index"], of_ids["heavy"])
    return BasePart(
        number,
        parts,
        ids["id"].to_list(),
        ids["heavy"].to_list(),
        _raw_events(rows, projected, light, heavy),
        _span_states(rows.filter("relevant").lazy(), plan, light, heavy, as_of_ms, zone),
        _profiles(rows, plan.projection.attributes),
    )


# ── raw events ───────────────────────────────────────────────────────────────────────────────────────────────────


def _raw_events(
    rows: pl.DataFrame, projected: Mapping[str | None, frozenset[str]], light: Cuts, heavy: Cuts
) -> dict[str | None, RawColumns]:
    """Step 6: kept name -> the events at the edges of their ids, as far as there are any."""
    is_raw = pl.when("heavy").then(_within(heavy.edges)).otherwise(_within(light.edges))
    raw = rows.filter(pl.col("relevant") & is_raw)
    events: dict[str | None, RawColumns] = {}
    for name in projected:
        own = raw.filter(pl.col("kept_name").is_null() if name is None else pl.col("kept_name") == name)
        fields = sorted(projected[name])
        columns = [pl.col("props").map.get(field).alias(f"f{index}") for index, field in enumerate(fields)]
        ordered = own.select("id_index", "ts", *columns).sort("id_index", "ts")
        if len(ordered):
            indexes = ordered["id_index"].to_numpy().astype(np.int64)
            firsts = np.flatnonzero(np.diff(indexes, prepend=-1))
            events[name] = RawColumns(
                indexes[firsts],
                np.append(firsts, len(indexes)),
                ordered["ts"].to_numpy(),
                {field: ordered[f"f{index}"] for index, field in enumerate(fields)},
            )
    return events


def _within(intervals: Sequence[tuple[int, int]]) -> pl.Expr:
    inside = pl.lit(False)
    for low, high in intervals:
        inside = inside | ((pl.col("ts") > low) & (pl.col("ts") <= high))
    return inside


def values_of_typed(column: pl.Series) -> list[Value]:
    """The values of a column of the lake's typed values."""
    return [None if typed is None else from_json(_raw_value(typed)) for typed in column.to_list()]


def _raw_value(typed: Mapping[str, Any]) -> Any:
    """The JSON value of one of the lake's typed values."""
    if typed["json"] is not None:
        return msgspec.json.decode(typed["json"])
    return next((typed[kind] for kind in ("number", "string", "boolean") if typed[kind] is not None), None)


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _span_states(
    rows: pl.LazyFrame, plan: Plan, light: Cuts, heavy: Cuts, as_of_ms: int, zone: Zone
) -> dict[int, tuple[SpanState, ...]]:
    """Step 7: id_index -> its spans that have any event, oldest first, each with the states of the needs that reach it.

    `rows` are the relevant ones.
    """
    cuts = {False: light.spans, True: heavy.spans}
    number = pl.lit(None, dtype=pl.Int32)
    for is_heavy, spans in cuts.items():
        for index, (low, high) in enumerate(spans):
            is_inside = (pl.col("heavy") == is_heavy) & (pl.col("ts") > low) & (pl.col("ts") <= high)
            number = pl.when(is_inside).then(pl.lit(index, dtype=pl.Int32)).otherwise(number)
    inside = rows.with_columns(number.alias("span")).filter(pl.col("span").is_not_null()).collect().lazy()
    present = inside.select("id_index", "heavy", "span").unique().sort("id_index", "span").collect()
    if present.is_empty():
        return {}
    reached_by = {
        (is_heavy, span): {
            need.state_id for need in plan.needs if cuts[is_heavy][span][0] >= lower_ms(need.window, as_of_ms, zone)
        }
        for is_heavy, span in present.select("heavy", "span").unique().rows()
    }
    # A state does not know the window it is folded for: one need for every distinct state that a span has.
    needs = {need.state_id: need for need in plan.needs if any(need.state_id in ids for ids in reached_by.values())}
    columns = [_states_of(inside, need, present, zone) for need in needs.values()]
    state_ids = list(needs)
    spans_of: dict[int, tuple[SpanState, ...]] = {}
    for (id_index, is_heavy, span), *values in zip(present.iter_rows(), *columns, strict=True):
        low, high = cuts[is_heavy][span]
        reaching = reached_by[is_heavy, span]
        states = dict(zip(state_ids, values, strict=True))
        if len(reaching) < len(states):
            states = {state_id: state for state_id, state in states.items() if state_id in reaching}
        spans_of[id_index] = (*spans_of.get(id_index, ()), SpanState(low, high, states))
    return spans_of


def _states_of(rows: pl.LazyFrame, need: Need, present: pl.DataFrame, zone: Zone) -> list[State]:
    """The state of a need (`bases.State`) for each row of `present`, None where no event added to it."""
    # id_index, span, ts, v.<kind>…: one row for each event whose contribution is not null
    steps = Steps(rows)
    cell, mask = lifted_cell(need, zone, steps.let_cell), source_mask(need.source, steps.let_cell)
    lifted = cell.columns("v")
    contributions = steps.frame.filter(mask).select("id_index", "span", "ts", *cell.named("v"))
    own = contributions.filter(~is_null(lifted)).collect()
    # The same columns, one row an id and span; of a Union and a Tally one row an id, span and value, with its count.
    by = ["id_index", "span"]
    monoid = need.slot.monoid
    match monoid:
        case Add() | Min() | Max():
            fold = COLUMN_FOLDS[type(monoid)]
            folded = own.group_by(by).agg([fold(own[f"v.{kind}"]) for kind in lifted.kinds])
        case Earliest() | Latest() | Union() | Tally():
            folded = FRAME_FOLDS[type(monoid)](own.lazy(), by, lifted).collect()
        case _:
            raise TypeError(f"base_frames does not know {type(monoid).__name__}")
    if isinstance(monoid, Union | Tally):
        return _collections(folded, isinstance(monoid, Union), present)
    aligned = present.select(by).join(folded, on=by, how="left", maintain_order="left")
    if isinstance(monoid, Add):
        return aligned["v.number"].to_list()
    values = _values(aligned)
    if isinstance(monoid, Min | Max):
        return values
    return [None if value is None else (ts, value) for ts, value in zip(aligned["ts"].to_list(), values, strict=True)]


def _collections(folded: pl.DataFrame, is_union: bool, present: pl.DataFrame) -> list[State]:
    """The sets or tallies for each row of `present`."""
    counts: dict[tuple[int, int], dict[Any, int]] = {}
    rows = zip(folded.select("id_index", "span", "count").iter_rows(), _values(folded), strict=True)
    for (id_index, span, count), value in rows:
        counts.setdefault((id_index, span), {})[order_key(value)] = count
    states = (counts.get(key) for key in present.select("id_index", "span").iter_rows())
    return [frozenset(state) if state is not None and is_union else state for state in states]


def _values(rows: pl.DataFrame) -> list[Value]:
    """The values of the columns v.<kind>."""
    values: list[Value] = [None] * len(rows)
    for kind in COLUMN_KINDS:
        column = rows.get_column(f"v.{kind}", default=pl.Series(dtype=pl.Null))
        if column.null_count() == len(column):
            continue
        for at, value in enumerate(column.to_list()):
            if value is not None and values[at] is None:
                values[at] = tuple(map(item_of_key, value)) if kind == "list" else value  # type: ignore[arg-type]
    return values


# ── profiles ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _profiles(rows: pl.DataFrame, attributes: frozenset[str]) -> dict[int, dict[str, tuple[int, Any]]]:
    """Step 8."""
    profiles: dict[int, dict[str, tuple[int, Any]]] = {}
    identifies = rows.filter(pl.col("kind") == "identify") if attributes else rows.clear()
    for key in sorted(attributes):
        name = attribute_name(key)
        has = identifies.filter(pl.col("props").map.contains_key(name))
        for id_index, ts, typed in has.select("id_index", "ts", pl.col("props").map.get(name)).iter_rows():
            value = _raw_value(typed) if typed is not None else None
            profile = profiles.setdefault(id_index, {})
            if key not in profile or attribute_recency(ts, value) > attribute_recency(*profile[key]):
                profile[key] = (ts, value)
    return profiles
