"""Lifting: what each event of a base contributes to a need, a column at a time.

For each event name that a need's source reads:

1. `Events`           the times, ascending, and a column a field; all of one length
2. the lift           a column of that length: what each event contributes, null where nothing
3. `where`            the times and the column, of the events for which the condition holds
4. nulls left out     (times, values) of one length, the times ascending

Nodes are computed by the evaluators of `evaluate`, mapped over columns. The last step is kept with the base, so that a
window is two bisections and a fold over a slice. Columns that follow from whole numbers stay so (`event_columns`).
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
from .evaluate import FUNCTIONS, evaluator

#: From the events of one name to a column of theirs. The last argument is the base's `lifted`, where columns are kept
#: that several needs share.
Reader: TypeAlias = Callable[[str | None, Events, dict[Any, Any]], EventColumn]


class Lift:
    """The source and the lift expression of a need, compiled."""

    def __init__(self, need: Need, zone: Zone) -> None:
        self.source: Source = need.source
        self.key = (need.state_id, zone.name)
        argument: Expr = Constant(True) if need.source.property is None else Property(need.source.property)
        lift = _folded(transform(need.slot.lift, lambda node: argument if isinstance(node, Argument) else node))
        self._lift = _reader(lift, zone)
        self._where = None if self.source.where is None else _reader(_folded(self.source.where), zone)

    def series(self, base: Base) -> list[tuple[Sequence[int], EventColumn]]:
        """(times ascending, the lifted value of each) for each event name that the source reads; kept with the base.

        Names are not merged into one series: states merge in any order.
        """
        series: list[tuple[Sequence[int], EventColumn]] | None = base.lifted.get(self.key)
        if series is None:
            event = self.source.event
            if event is None:
                series = [self._series_of(name, events, base.lifted) for name, events in base.events.items()]
            else:
                events = base.events.get(event)
                series = [] if events is None else [self._series_of(event, events, base.lifted)]
            base.lifted[self.key] = series
        return series

    def _series_of(self, name: str | None, events: Events, shared: dict[Any, Any]) -> tuple[Sequence[int], EventColumn]:
        times: Sequence[int] = events.ts_ms
        lifted = self._lift(name, events, shared)
        if self._where is not None:
            is_inside = [holds(value) for value in self._where(name, events, shared)]
            times, lifted = list(compress(times, is_inside)), list(compress(lifted, is_inside))
        if None in lifted:
            is_present = [value is not None for value in lifted]
            times, lifted = list(compress(times, is_present)), list(compress(lifted, is_present))
        return times, lifted


def _reader(node: Expr, zone: Zone) -> Reader:
    """What a node is for each event of a name. The cases before the last are shorter ways to the same column."""
    match node:
        case Constant(value):
            return lambda name, events, shared: Repeated(value, len(events.ts_ms))
        case Property(property):
            return lambda name, events, shared: events.fields.get(property) or Repeated(None, len(events.ts_ms))
        case Compare("!=", operand, Constant(None)):
            column = _reader(operand, zone)
            return lambda name, events, shared: [value is not None for value in column(name, events, shared)]
        case Call("if", (condition, Constant(then), Constant(otherwise))):
            column = _reader(condition, zone)
            return lambda name, events, shared: [
                then if value is True or holds(value) else otherwise for value in column(name, events, shared)
            ]
        case Call("days_since"):
            raise TypeError("days_since reads the clock, which no event has")
        case Call(function, (Property(property) as argument,)) if function in COLUMN_FUNCTIONS:
            return _shared(function, property, _reader(argument, zone))
        case EventTime():
            return lambda name, events, shared: Instants(events.ts_ms)
        case EventDay():
            return lambda name, events, shared: [float(zone.day(ts)) for ts in events.ts_ms]
    # A node whose children are all constants was folded, so at least one column ends the map.
    evaluate = evaluator(node)
    columns = [
        _repeated(child.value) if isinstance(child, Constant) else _reader(child, zone) for child in children(node)
    ]
    return lambda name, events, shared: list(map(evaluate, *[column(name, events, shared) for column in columns]))


def _repeated(value: Any) -> Callable[[str | None, Events, dict[Any, Any]], Any]:
    return lambda name, events, shared: repeat(value)


def _shared(function: str, property: str, column: Reader) -> Reader:
    """A function of a property, computed once a base for all needs that read it."""
    compute = COLUMN_FUNCTIONS[function]

    def read(name: str | None, events: Events, shared: dict[Any, Any]) -> EventColumn:
        key = (name, function, property)
        computed: EventColumn | None = shared.get(key)
        if computed is None:
            computed = shared[key] = compute(column(name, events, shared))
        return computed

    return read


def _of_kind(python: type) -> Callable[[EventColumn], EventColumn]:
    def of_kind(column: EventColumn) -> EventColumn:
        if python is float and type(column) is Decimals:
            return column
        if set(map(type, column)) == {python}:
            return column
        return [value if type(value) is python else None for value in column]

    return of_kind


_MILLION = 1_000_000
#: Decimals below this have at most 15 digits, so each is how its nearest float is written.
_EXACT_MAX = 10**15


def _size_of(whole: Sequence[int]) -> int:
    """A bound of these numbers without their signs: what an array's small items have room for, else the greatest."""
    if isinstance(whole, array) and whole.itemsize <= 4:
        return 1 << (8 * whole.itemsize - 1)
    return max(max(whole), -min(whole)) if whole else 0


def _millionths(column: EventColumn) -> EventColumn:
    if type(column) is Decimals and _MILLION % column.scale == 0:
        units = _MILLION // column.scale
        if _size_of(column.whole) * units < _EXACT_MAX:
            return Millionths(column.whole, units)
    compute = FUNCTIONS["millionths"]
    return [
        near
        if type(value) is float
        and -NEAR_MAX < (scaled := value * 1_000_000.0) < NEAR_MAX
        and -NEAR < scaled - (near := round(scaled)) < NEAR
        else compute(value)
        for value in column
    ]


#: The functions that sums and averages compute of every event, a column at a time: they give what `evaluate.FUNCTIONS`
#: gives, without a call an event.
COLUMN_FUNCTIONS: dict[str, Callable[[EventColumn], EventColumn]] = {
    "number": _of_kind(float),
    "string": _of_kind(str),
    "millionths": _millionths,
}


def _folded(node: Expr) -> Expr:
    """The expression with its constant parts computed: `if(true != null, 1, null)` becomes 1."""

    def change(part: Expr) -> Expr:
        inner = list(children(part))
        if isinstance(part, Call) and part.function == "if" and isinstance(part.args[0], Constant):
            return part.args[1] if holds(part.args[0].value) else part.args[2]
        if all(isinstance(child, Constant) for child in inner) and (inner or isinstance(part, ListOf)):
            return Constant(evaluator(part)(*[child.value for child in inner if isinstance(child, Constant)]))
        return part

    return transform(node, change)
