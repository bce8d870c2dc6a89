"""From events to bases: what the batch publishes for each id.

    events  →  relevant (what the projection keeps)  →  light or heavy, by how many the longest window still reaches
            →  raw events per id and name, and states per id and span  →  one `Base` an id

An id is light with at most `light_events_max` such events; see `windows.py` for the cuts of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from expressions.bases import Base, Events, SpanState
from expressions.frames import lifted_cell, source_mask
from expressions.monoids import Add, Earliest, Latest, Max, Min, Tally, Union
from expressions.plan import COUNTED_KINDS, Need, Plan
from expressions.properties import attribute_order_key
from expressions.to_polars import FRAMES, SIMPLE, Cell, Lets, order_key_of, scalar_of
from expressions.values import Value, from_json
from expressions.windows import UTC_ZONE, Cuts, Zone, heavy_cuts, light_cuts, lower_ms

#: Ids that are turned into Python at a time.
IDS_AT_ONCE = 20_000


def base_states(
    events: pl.LazyFrame,
    plan: Plan,
    as_of_ms: int,
    horizon_ms: int,
    light_events_max: int = 256,
    zone: Zone = UTC_ZONE,
) -> Iterator[tuple[str, Base, bool]]:
    """(id, base, whether it is heavy) of every id that has a row, in no order. `events` are deduplicated.

    Events after `as_of_ms` are kept raw: they came while the rebuild began.
    """
    projection = plan.projection
    light = light_cuts(plan.windows, as_of_ms, zone)
    heavy = heavy_cuts(plan.windows, as_of_ms, horizon_ms, zone)
    named = [name for name in projection.events if name is not None]
    is_counted = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    is_named = pl.col("name").is_in(named).fill_null(False)
    is_relevant = is_counted & (pl.lit(True) if None in projection.events else is_named)
    kept = events.with_columns(
        is_relevant.alias("relevant"), pl.when(is_named).then(pl.col("name")).alias("kept_name")
    ).collect()
    reached = pl.col("relevant") & (pl.col("ts") > light.edges[0][0])
    sizes = kept.group_by("id").agg(reached.sum().alias("raw"))
    sizes = sizes.with_columns((pl.col("raw") > light_events_max).alias("heavy")).sort("id")
    for part in sizes.iter_slices(IDS_AT_ONCE):
        rows = kept.join(part.select("id", "heavy"), on="id", how="inner")
        raw = _raw_events(rows, projection.events, light, heavy)
        spans = _span_states(rows.filter("relevant").lazy(), plan, light, heavy, as_of_ms, zone)
        profiles = _profiles(rows, projection.attributes)
        for one, is_heavy in part.select("id", "heavy").iter_rows():
            yield one, Base(raw.get(one, {}), spans.get(one, ()), profiles.get(one, {})), is_heavy


def _within(cuts: Sequence[tuple[int, int]]) -> pl.Expr:
    inside = pl.lit(False)
    for low, high in cuts:
        inside = inside | ((pl.col("ts") > low) & (pl.col("ts") <= high))
    return inside


def _raw_events(
    rows: pl.DataFrame, wanted: Mapping[str | None, frozenset[str]], light: Cuts, heavy: Cuts
) -> dict[str, dict[str | None, Events]]:
    is_raw = pl.when("heavy").then(_within(heavy.edges)).otherwise(_within(light.edges))
    raw = rows.filter(pl.col("relevant") & is_raw)
    found: dict[str, dict[str | None, Events]] = {}
    for name in wanted:
        mine = raw.filter(pl.col("kept_name").is_null() if name is None else pl.col("kept_name") == name)
        fields = sorted(wanted[name])
        columns = [pl.col("props").map.get(field).alias(f"f{index}") for index, field in enumerate(fields)]
        grouped = mine.select("id", "ts", *columns).sort("id", "ts").group_by("id", maintain_order=True).agg(pl.all())
        for one, times, *values in grouped.iter_rows():
            held = found.setdefault(one, {})
            held[name] = Events(times, {field: _values(column) for field, column in zip(fields, values, strict=True)})
    return found


def _values(column: list[dict[str, Any] | None]) -> list[Value]:
    return [None if typed is None else _value(typed) for typed in column]


def _value(typed: Mapping[str, Any]) -> Value:
    return from_json(_raw(typed))


def _raw(typed: Mapping[str, Any]) -> Any:
    """The JSON value of an entry of the lake's map."""
    if typed["json"] is not None:
        return msgspec.json.decode(typed["json"])
    return next((typed[kind] for kind in ("number", "string", "boolean") if typed[kind] is not None), None)


def _profiles(rows: pl.DataFrame, attributes: frozenset[str]) -> dict[str, dict[str, tuple[int, Any]]]:
    found: dict[str, dict[str, tuple[int, Any]]] = {}
    identifies = rows.filter(pl.col("kind") == "identify") if attributes else rows.clear()
    for key in sorted(attributes):
        has = identifies.filter(pl.col("props").map.contains_key(key))
        for one, ts, typed in has.select("id", "ts", pl.col("props").map.get(key)).iter_rows():
            value = _raw(typed) if typed is not None else None
            held = found.setdefault(one, {}).get(key)
            if held is None or (ts, attribute_order_key(value)) > (held[0], attribute_order_key(held[1])):
                found[one][key] = (ts, value)
    return found


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _span_states(
    rows: pl.LazyFrame, plan: Plan, light: Cuts, heavy: Cuts, as_of_ms: int, zone: Zone
) -> dict[str, tuple[SpanState, ...]]:
    """Per id its spans that have any event, oldest first, each with the states of the needs that reach it."""
    cuts = {False: light.spans, True: heavy.spans}
    number = pl.lit(None, dtype=pl.Int32)
    for is_heavy, spans in cuts.items():
        for index, (low, high) in enumerate(spans):
            mine = (pl.col("heavy") == is_heavy) & (pl.col("ts") > low) & (pl.col("ts") <= high)
            number = pl.when(mine).then(pl.lit(index, dtype=pl.Int32)).otherwise(number)
    inside = rows.with_columns(number.alias("span")).filter(pl.col("span").is_not_null()).collect().lazy()
    present = inside.select("id", "heavy", "span").unique().sort("id", "span").collect()
    if present.is_empty():
        return {}
    states: dict[tuple[str, int], dict[str, Any]] = {}
    reaches: dict[tuple[bool, int], list[str]] = {}
    for need in _distinct_states(plan.needs):
        for (one, span), state in _states_of(inside, need, zone, as_of_ms).items():
            states.setdefault((one, span), {})[need.state_id] = state
    for is_heavy, spans in cuts.items():
        for index, (low, _) in enumerate(spans):
            reaches[(is_heavy, index)] = list(
                dict.fromkeys(need.state_id for need in plan.needs if low >= lower_ms(need.window, as_of_ms, zone))
            )
    found: dict[str, list[SpanState]] = {}
    for one, is_heavy, span in present.iter_rows():
        held = states.get((one, span), {})
        low, high = cuts[is_heavy][span]
        wanted = {state_id: held.get(state_id) for state_id in reaches[(is_heavy, span)]}
        found.setdefault(one, []).append(SpanState(low, high, wanted))
    return {one: tuple(spans) for one, spans in found.items()}


def _distinct_states(needs: Sequence[Need]) -> list[Need]:
    """One need for every distinct state: a state does not know the window it is folded for."""
    return list({need.state_id: need for need in needs}.values())


def _states_of(rows: pl.LazyFrame, need: Need, zone: Zone, now_ms: int) -> dict[tuple[str, int], Any]:
    """(id, span) -> the state of a need, as `bases.State` says."""
    lets = Lets(rows)
    cell, mask = lifted_cell(need, zone, now_ms, lets.let), source_mask(need.source, now_ms, lets.let)
    own = lets.frame.filter(mask).select("id", "span", "ts", *cell.named("v"))
    lifted = Cell({kind: pl.col(f"v.{kind}") for kind in cell.kinds})
    own = own.filter(~lifted.is_null)
    by = ["id", "span"]
    monoid = need.slot.monoid
    if type(monoid) in SIMPLE:
        fold = SIMPLE[type(monoid)]
        folded = own.group_by(by).agg([fold(one).alias(f"v.{kind}") for kind, one in lifted.kinds.items()])
    else:
        folded = FRAMES[type(monoid)](own, by, lifted)
    states: dict[tuple[str, int], Any] = {}
    for row in folded.collect().iter_rows(named=True):
        key = (row["id"], row["span"])
        match monoid:
            case Add():
                states[key] = int(row["v.number"])
            case Min() | Max():
                states[key] = scalar_of(row)
            case Earliest() | Latest():
                states[key] = (row["ts"], scalar_of(row))
            case Union():
                states.setdefault(key, set()).add(order_key_of(row))
            case Tally():
                states.setdefault(key, {})[order_key_of(row)] = row["count"]
            case _:
                raise TypeError(f"base_frames does not know {type(monoid).__name__}")
    if isinstance(monoid, Union):
        return {key: frozenset(state) for key, state in states.items()}
    return states
