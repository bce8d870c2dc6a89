"""Lifting: what each event of a base contributes to a need, a column at a time.

The same operations as on single values, mapped over columns. What was lifted is kept with the base, by time, so that a
window is two bisections and a fold over a slice; columns that follow from whole numbers stay those (`event_columns`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import compress, repeat
from typing import Any, TypeAlias

from ..bases import Base, Events
from ..event_columns import Decimals, EventColumn, Instants, Millionths, Repeated
from ..ops import (
    Argument,
    Call,
    Compare,
    Constant,
    EventDay,
    EventTime,
    Expr,
    ListOf,
    Property,
    Source,
    children,
    transform,
)
from ..plan import Need
from ..rules.values import NEAR, NEAR_MAX, holds
from ..rules.windows import Zone
from .evaluate import FUNCTION, operation

#: A column of the events of one name; what sums and averages share is kept in the base's `lifted`.
Read: TypeAlias = Callable[[str | None, Events, dict[Any, Any]], EventColumn]


class Lift:
    """A source and a lift expression, compiled: from the events of a base to (times, values), nulls left out."""

    def __init__(self, need: Need, zone: Zone) -> None:
        self.source: Source = need.source
        self.key = (need.state_id, zone.name)
        argument: Expr = Constant(True) if need.source.property is None else Property(need.source.property)
        lift = _folded(transform(need.slot.lift, lambda node: argument if isinstance(node, Argument) else node))
        self._lift = _reader(lift, zone)
        self._where = None if self.source.where is None else _reader(_folded(self.source.where), zone)

    def series(self, base: Base) -> list[tuple[Sequence[int], EventColumn]]:
        """Times ascending and the lifted value of each, for each event name that the source reads; kept with the base.

        Names are not merged: no monoid minds in which order its states are.
        """
        held: list[tuple[Sequence[int], EventColumn]] | None = base.lifted.get(self.key)
        if held is None:
            name = self.source.event
            if name is None:
                held = [self._of(one, events, base.lifted) for one, events in base.events.items()]
            else:
                events = base.events.get(name)
                held = [] if events is None else [self._of(name, events, base.lifted)]
            base.lifted[self.key] = held
        return held

    def _of(self, name: str | None, events: Events, kept: dict[Any, Any]) -> tuple[Sequence[int], EventColumn]:
        times: Sequence[int] = events.ts_ms
        lifted = self._lift(name, events, kept)
        if self._where is not None:
            passed = [holds(value) for value in self._where(name, events, kept)]
            times, lifted = list(compress(times, passed)), list(compress(lifted, passed))
        if None in lifted:
            there = [value is not None for value in lifted]
            times, lifted = list(compress(times, there)), list(compress(lifted, there))
        return times, lifted


def _reader(node: Expr, zone: Zone) -> Read:
    """What a node gives for each event of a name."""
    match node:
        case Constant(value):
            return lambda name, events, kept: Repeated(value, len(events.ts_ms))
        case Property(property):
            return lambda name, events, kept: events.fields.get(property) or Repeated(None, len(events.ts_ms))
        case EventTime():
            return lambda name, events, kept: Instants(events.ts_ms)
        case EventDay():
            return lambda name, events, kept: [float(zone.day(ts)) for ts in events.ts_ms]
        case Call("days_since"):
            raise TypeError("days_since reads the clock, which no event has")
        case Call(function, (Property(property) as inner,)) if function in COLUMN:
            return _shared(COLUMN[function], function, property, _reader(inner, zone))
        case Call("if", (condition, Constant(then), Constant(otherwise))):
            chosen = _reader(condition, zone)
            return lambda name, events, kept: [
                then if value is True or holds(value) else otherwise for value in chosen(name, events, kept)
            ]
        case Compare("!=", inner, Constant(None)):
            column = _reader(inner, zone)
            return lambda name, events, kept: [value is not None for value in column(name, events, kept)]
    # All nodes whose children are constants are folded, so at least one column ends the map.
    compute = operation(node)
    columns = [_repeated(one.value) if isinstance(one, Constant) else _reader(one, zone) for one in children(node)]
    return lambda name, events, kept: list(map(compute, *[column(name, events, kept) for column in columns]))


def _repeated(value: Any) -> Callable[[str | None, Events, dict[Any, Any]], Any]:
    return lambda name, events, kept: repeat(value)


def _shared(compute: Callable[[EventColumn], EventColumn], function: str, property: str, column: Read) -> Read:
    def read(name: str | None, events: Events, kept: dict[Any, Any]) -> EventColumn:
        key = (name, function, property)
        found: EventColumn | None = kept.get(key)
        if found is None:
            found = kept[key] = compute(column(name, events, kept))
        return found

    return read


def _of_kind(python: type) -> Callable[[EventColumn], EventColumn]:
    def kept(column: EventColumn) -> EventColumn:
        if python is float and type(column) is Decimals:
            return column
        if set(map(type, column)) == {python}:
            return column
        return [value if type(value) is python else None for value in column]

    return kept


_MILLION = 1_000_000
#: Decimals of up to 15 digits are what is written of the floats nearest to them.
_EXACT_MAX = 10**15


def _size_of(whole: Sequence[int]) -> int:
    """What none of these numbers is greater than, of either sign: of an array what its items have room for, if that is
    little."""
    if isinstance(whole, array) and whole.itemsize <= 4:
        return 1 << (8 * whole.itemsize - 1)
    return max(max(whole), -min(whole)) if whole else 0


def _millionths(column: EventColumn) -> EventColumn:
    if type(column) is Decimals and _MILLION % column.scale == 0:
        units = _MILLION // column.scale
        if _size_of(column.whole) * units < _EXACT_MAX:
            return Millionths(column.whole, units)
    compute = FUNCTION["millionths"]
    return [
        near
        if type(value) is float
        and -NEAR_MAX < (scaled := value * 1_000_000.0) < NEAR_MAX
        and -NEAR < scaled - (near := round(scaled)) < NEAR
        else compute(value)
        for value in column
    ]


#: What every sum and average asks of each event, a column at a time: the same answers, without a call an event.
COLUMN: dict[str, Callable[[EventColumn], EventColumn]] = {
    "number": _of_kind(float),
    "string": _of_kind(str),
    "millionths": _millionths,
}


def _folded(node: Expr) -> Expr:
    """The expression with what is known before any event computed: `if(true != null, 1, null)` is 1."""

    def change(one: Expr) -> Expr:
        inner = list(children(one))
        if isinstance(one, Call) and one.function == "if" and isinstance(one.args[0], Constant):
            return one.args[1] if holds(one.args[0].value) else one.args[2]
        if all(isinstance(child, Constant) for child in inner) and (inner or isinstance(one, ListOf)):
            return Constant(operation(one)(*[child.value for child in inner if isinstance(child, Constant)]))
        return one

    return transform(node, change)
