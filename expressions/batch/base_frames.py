"""From events to bases: what the batch publishes for each id.

    events  →  parts, some ids each  →  relevant (what the projection keeps)
            →  light or heavy, by how many the longest window still reaches
            →  raw events per name in columns, and states per id and span  →  one `BasePart`, or one `Base` an id

An id is light with at most `light_events_max` such events; see `windows.py` for the cuts of both.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl

from ..bases import Base, Events, SpanState
from ..monoids import Add, Earliest, Latest, Max, Min, Tally, Union
from ..plan import COUNTED_KINDS, Need, Plan
from ..rules.properties import attribute_name, attribute_recency
from ..rules.values import Value, from_json
from ..rules.windows import UTC_ZONE, Cuts, Zone, heavy_cuts, light_cuts, lower_ms
from .cells import COLUMN_KINDS, item_of_key
from .folds import FRAMES, SIMPLE, order_key_of
from .frames import lifted_cell, source_mask
from .to_polars import Lets

#: Ids and rows of a part: enough that a query costs little beside its rows, few enough to be small in memory.
IDS_AT_ONCE = 20_000
ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class RawColumns:
    """The raw events of one name, of many ids: in order of id and time, those of an id together.

    The i-th group are the rows from `starts[i]` to `starts[i + 1]`, of the id at `owners[i]` of the part. Fields are
    columns of the lake's typed values.
    """

    owners: np.ndarray[Any, np.dtype[np.int64]]
    starts: np.ndarray[Any, np.dtype[np.int64]]
    ts_ms: np.ndarray[Any, np.dtype[np.int64]]
    fields: dict[str, pl.Series]

    def events(self) -> Iterator[tuple[int, Events]]:
        """(place of the id in the part, its events), one id after another."""
        bounds = self.starts.tolist()
        columns = {field: values_of_typed(column) for field, column in self.fields.items()}
        for owner, start, end in zip(self.owners.tolist(), bounds, bounds[1:], strict=False):
            times = array("q", self.ts_ms[start:end].tobytes())
            yield owner, Events(times, {field: column[start:end] for field, column in columns.items()})


@dataclass(frozen=True)
class BasePart:
    """The bases of some ids, as far as that goes in columns: what is beside raw events is by place among the ids.

    It is part `number` of `parts`, by `dealt`.
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
            for at, found in raw.events():
                events[at][name] = found
        for at, (one, is_heavy) in enumerate(zip(self.ids, self.heavy, strict=True)):
            yield one, Base(events[at], self.spans.get(at, ()), self.profiles.get(at, {})), is_heavy


def base_states(
    events: pl.LazyFrame,
    plan: Plan,
    as_of_ms: int,
    horizon_ms: int,
    light_events_max: int = 256,
    zone: Zone = UTC_ZONE,
) -> Iterator[tuple[str, Base, bool]]:
    """(id, base, whether it is heavy) of every id that has a row, in no order. `events` are deduplicated."""
    for part in base_parts(events, plan, as_of_ms, horizon_ms, light_events_max, zone):
        yield from part.bases()


def base_parts(
    events: pl.LazyFrame,
    plan: Plan,
    as_of_ms: int,
    horizon_ms: int,
    light_events_max: int = 256,
    zone: Zone = UTC_ZONE,
) -> Iterator[BasePart]:
    """The bases of every id that has a row, some ids at a time, in no order. `events` are deduplicated.

    Events after `as_of_ms` are kept raw: they came while the rebuild began.
    """
    light = light_cuts(plan.windows, as_of_ms, zone)
    heavy = heavy_cuts(plan.windows, as_of_ms, horizon_ms, zone)
    rows = events.select("id", "kind", "name", "ts", "props").collect()
    ids = rows.select(pl.col("id").approx_n_unique()).item() if len(rows) else 0
    parts = 1 + max(ids // IDS_AT_ONCE, len(rows) // ROWS_AT_ONCE)
    numbers = dealt(rows, parts)
    for number in range(parts):
        mine = rows.filter(numbers == number) if parts > 1 else rows
        if len(mine):
            yield _part(number, parts, mine, plan, light, heavy, as_of_ms, light_events_max, zone)


def dealt(rows: pl.DataFrame, parts: int) -> pl.Series:
    """In which part each row's id is, by its hash: a pass over small numbers for each is cheaper than sorting by id."""
    return rows.select((pl.col("id").hash() % parts).cast(pl.UInt32))["id"]


def _part(
    number: int,
    parts: int,
    mine: pl.DataFrame,
    plan: Plan,
    light: Cuts,
    heavy: Cuts,
    as_of_ms: int,
    light_events_max: int,
    zone: Zone,
) -> BasePart:
    wanted = plan.projection.events
    is_counted = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    is_named = pl.col("name").is_in([name for name in wanted if name is not None]).fill_null(False)
    is_relevant = is_counted & (pl.lit(True) if None in wanted else is_named)
    kept = mine.with_columns(is_relevant.alias("relevant"), pl.when(is_named).then(pl.col("name")).alias("kept_name"))
    reached = pl.col("relevant") & (pl.col("ts") > light.edges[0][0])
    sizes = kept.group_by("id").agg((reached.sum() > light_events_max).alias("heavy")).sort("id")
    # Joined by themselves, since a join copies all that it carries.
    owners = kept.select("id").join(sizes.with_row_index("owner"), on="id", how="left", maintain_order="left")
    rows = kept.with_columns(owners["owner"], owners["heavy"])
    return BasePart(
        number,
        parts,
        sizes["id"].to_list(),
        sizes["heavy"].to_list(),
        _raw_events(rows, wanted, light, heavy),
        _span_states(rows.filter("relevant").lazy(), plan, light, heavy, as_of_ms, zone),
        _profiles(rows, plan.projection.attributes),
    )


def _within(cuts: Sequence[tuple[int, int]]) -> pl.Expr:
    inside = pl.lit(False)
    for low, high in cuts:
        inside = inside | ((pl.col("ts") > low) & (pl.col("ts") <= high))
    return inside


def _raw_events(
    rows: pl.DataFrame, wanted: Mapping[str | None, frozenset[str]], light: Cuts, heavy: Cuts
) -> dict[str | None, RawColumns]:
    is_raw = pl.when("heavy").then(_within(heavy.edges)).otherwise(_within(light.edges))
    raw = rows.filter(pl.col("relevant") & is_raw)
    found: dict[str | None, RawColumns] = {}
    for name in wanted:
        mine = raw.filter(pl.col("kept_name").is_null() if name is None else pl.col("kept_name") == name)
        fields = sorted(wanted[name])
        columns = [pl.col("props").map.get(field).alias(f"f{index}") for index, field in enumerate(fields)]
        ordered = mine.select("owner", "ts", *columns).sort("owner", "ts")
        if len(ordered):
            owners = ordered["owner"].to_numpy().astype(np.int64)
            firsts = np.flatnonzero(np.diff(owners, prepend=-1))
            found[name] = RawColumns(
                owners[firsts],
                np.append(firsts, len(owners)),
                ordered["ts"].to_numpy(),
                {field: ordered[f"f{index}"] for index, field in enumerate(fields)},
            )
    return found


def values_of_typed(column: pl.Series) -> list[Value]:
    """The values of entries of the lake's map."""
    return [None if typed is None else from_json(_raw(typed)) for typed in column.to_list()]


def _raw(typed: Mapping[str, Any]) -> Any:
    """The JSON value of an entry of the lake's map."""
    if typed["json"] is not None:
        return msgspec.json.decode(typed["json"])
    return next((typed[kind] for kind in ("number", "string", "boolean") if typed[kind] is not None), None)


def _profiles(rows: pl.DataFrame, attributes: frozenset[str]) -> dict[int, dict[str, tuple[int, Any]]]:
    found: dict[int, dict[str, tuple[int, Any]]] = {}
    identifies = rows.filter(pl.col("kind") == "identify") if attributes else rows.clear()
    for key in sorted(attributes):
        name = attribute_name(key)
        has = identifies.filter(pl.col("props").map.contains_key(name))
        for one, ts, typed in has.select("owner", "ts", pl.col("props").map.get(name)).iter_rows():
            value = _raw(typed) if typed is not None else None
            profile = found.setdefault(one, {})
            if key not in profile or attribute_recency(ts, value) > attribute_recency(*profile[key]):
                profile[key] = (ts, value)
    return found


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _span_states(
    rows: pl.LazyFrame, plan: Plan, light: Cuts, heavy: Cuts, as_of_ms: int, zone: Zone
) -> dict[int, tuple[SpanState, ...]]:
    """Per id its spans that have any event, oldest first, each with the states of the needs that reach it."""
    cuts = {False: light.spans, True: heavy.spans}
    number = pl.lit(None, dtype=pl.Int32)
    for is_heavy, spans in cuts.items():
        for index, (low, high) in enumerate(spans):
            mine = (pl.col("heavy") == is_heavy) & (pl.col("ts") > low) & (pl.col("ts") <= high)
            number = pl.when(mine).then(pl.lit(index, dtype=pl.Int32)).otherwise(number)
    inside = rows.with_columns(number.alias("span")).filter(pl.col("span").is_not_null()).collect().lazy()
    present = inside.select("owner", "heavy", "span").unique().sort("owner", "span").collect()
    if present.is_empty():
        return {}
    kinds = present.select("heavy", "span").unique().rows()
    reaches = {
        (is_heavy, span): {
            need.state_id for need in plan.needs if cuts[is_heavy][span][0] >= lower_ms(need.window, as_of_ms, zone)
        }
        for is_heavy, span in kinds
    }
    # A state does not know the window it is folded for: one need for every distinct state that a span has.
    needs = {need.state_id: need for need in plan.needs if any(need.state_id in ids for ids in reaches.values())}
    columns = [_states_of(inside, need, present, zone, as_of_ms) for need in needs.values()]
    state_ids = list(needs)
    found: dict[int, tuple[SpanState, ...]] = {}
    for (one, is_heavy, span), *states in zip(present.iter_rows(), *columns, strict=True):
        low, high = cuts[is_heavy][span]
        reached = reaches[is_heavy, span]
        held = dict(zip(state_ids, states, strict=True))
        if len(reached) < len(held):
            held = {state_id: state for state_id, state in held.items() if state_id in reached}
        found[one] = (*found.get(one, ()), SpanState(low, high, held))
    return found


def _states_of(rows: pl.LazyFrame, need: Need, present: pl.DataFrame, zone: Zone, now_ms: int) -> list[Any]:
    """The state of a need, as `bases.State` says, for every row of (owner, span) of `present`."""
    lets = Lets(rows)
    cell, mask = lifted_cell(need, zone, now_ms, lets.let), source_mask(need.source, now_ms, lets.let)
    lifted = cell.columns("v")
    own = lets.frame.filter(mask).select("owner", "span", "ts", *cell.named("v")).filter(~lifted.is_null).collect()
    by = ["owner", "span"]
    monoid = need.slot.monoid
    match monoid:
        case Add() | Min() | Max():
            fold = SIMPLE[type(monoid)]
            folded = own.group_by(by).agg([fold(own[f"v.{kind}"]) for kind in lifted.kinds])
        case Earliest() | Latest() | Union() | Tally():
            folded = FRAMES[type(monoid)](own.lazy(), by, lifted).collect()
        case _:
            raise TypeError(f"base_frames does not know {type(monoid).__name__}")
    if isinstance(monoid, Union | Tally):
        return _collected(folded, isinstance(monoid, Union), present)
    found = present.select(by).join(folded, on=by, how="left", maintain_order="left")
    if isinstance(monoid, Add):
        return found["v.number"].to_list()
    values = _scalars(found)
    if isinstance(monoid, Min | Max):
        return values
    return [None if value is None else (ts, value) for ts, value in zip(found["ts"].to_list(), values, strict=True)]


def _collected(folded: pl.DataFrame, is_union: bool, present: pl.DataFrame) -> list[Any]:
    """Sets or tallies, of frames with a row for every value."""
    found: dict[tuple[int, int], dict[Any, int]] = {}
    for row in folded.iter_rows(named=True):
        found.setdefault((row["owner"], row["span"]), {})[order_key_of(row)] = row["count"]
    states = (found.get(key) for key in present.select("owner", "span").iter_rows())
    return [frozenset(state) if state is not None and is_union else state for state in states]


def _scalars(rows: pl.DataFrame) -> list[Value]:
    """The values of `v.<kind>` columns."""
    values: list[Value] = [None] * len(rows)
    for kind in COLUMN_KINDS:
        column = rows.get_column(f"v.{kind}", default=pl.Series(dtype=pl.Null))
        if column.null_count() == len(column):
            continue
        for at, value in enumerate(column.to_list()):
            if value is not None and values[at] is None:
                values[at] = tuple(map(item_of_key, value)) if kind == "list" else value  # type: ignore[arg-type]
    return values
