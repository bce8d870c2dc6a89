"""Lifting: what each event contributes to a need, as expressions over a frame of events.

A source is a mask over the rows: which events the need looks at. A lift is a cell: what each event contributes, null
where nothing. Neither reads the clock: an event contributes the same at every instant.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ..ops import Argument, EventDay, EventTime, Expr, Property, Source
from ..plan import COUNTED_KINDS, Need
from ..rules.windows import UTC_ZONE, Zone
from .cells import Cell, holds, typed_cell
from .dates import day_of
from .to_polars import Leaf, Scope, compile_cell


def property_cell(name: str) -> Cell:
    """A property of an event, by its dotted name."""
    return typed_cell(pl.col("props").map.get(name))


def source_mask(
    source: Source,
    let_cell: Callable[[Cell], Cell],
    read: Callable[[str], Cell] = property_cell,
) -> pl.Expr:
    """Which rows a source looks at. `read` gives the cell of a property: a column, where several needs read it."""
    mask = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    if source.event is not None:
        mask = mask & (pl.col("name") == source.event).fill_null(False)
    if source.where is not None:
        mask = mask & holds(compile_cell(source.where, Scope(_event_leaf(source, UTC_ZONE, read), None, let_cell)))
    return mask


def lifted_cell(
    need: Need,
    zone: Zone,
    let_cell: Callable[[Cell], Cell],
    read: Callable[[str], Cell] = property_cell,
) -> Cell:
    """What an event contributes to a need, whether its source looks at the event or not. `read` as in `source_mask`."""
    return compile_cell(need.slot.lift, Scope(_event_leaf(need.source, zone, read), None, let_cell))


def _event_leaf(source: Source, zone: Zone, read: Callable[[str], Cell]) -> Leaf:
    """The leaves of a condition and of a lift, in the order of `ops.py`."""

    def leaf(node: Expr) -> Cell | None:
        match node:
            case Property(name):
                return read(name)
            case Argument():
                return Cell({"boolean": pl.lit(True)}) if source.property is None else read(source.property)
            case EventTime():
                return Cell({"number": pl.col("ts").cast(pl.Float64)})
            case EventDay():
                return Cell({"number": day_of(pl.col("ts"), zone)})
            case _:
                return None

    return leaf
