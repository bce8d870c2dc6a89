"""Lifting: what each event of a base contributes to a need, a column at a time.

The same operations as on single values, mapped over columns. What was lifted is kept with the base, by time, so that a
window is two bisections and a fold over a slice.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, repeat
from operator import itemgetter
from typing import Any

from expressions.bases import Base, Decimals, Events, Millionths
from expressions.operations import FUNCTION, operation
from expressions.ops import (
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
from expressions.plan import Need
from expressions.values import holds
from expressions.windows import Zone


class Lift:
    """A source and a lift expression, compiled: from the events of a base to (times, values), nulls left out."""

    def __init__(self, need: Need, zone: Zone) -> None:
        self.source: Source = need.source
        self.key = (need.state_id, zone.name)
        self.zone = zone
        argument: Expr = Constant(True) if need.source.property is None else Property(need.source.property)
        self.lift = _folded(transform(need.slot.lift, lambda node: argument if isinstance(node, Argument) else node))
        self.where = None if self.source.where is None else _folded(self.source.where)

    def series(self, base: Base) -> tuple[list[int], Sequence[Any]]:
        """Times ascending, and the lifted value of each; kept with the base."""
        held = base.lifted.get(self.key)
        if held is None:
            held = base.lifted[self.key] = self._lifted(base)
        return held

    def _lifted(self, base: Base) -> tuple[list[int], Sequence[Any]]:
        if self.source.event is not None:
            events = base.events.get(self.source.event)
            return self._of(self.source.event, events, base) if events is not None else ([], [])
        parts = [self._of(name, events, base) for name, events in base.events.items()]
        if len(parts) == 1:
            return parts[0]
        merged = sorted((pair for part in parts for pair in zip(*part, strict=True)), key=itemgetter(0))
        return [ts for ts, _ in merged], [value for _, value in merged]

    def _of(self, name: str | None, events: Events, base: Base) -> tuple[list[int], Sequence[Any]]:
        read = _Columns(name, events, base.lifted, self.zone)
        times, lifted = events.ts_ms, read.column(self.lift)
        if self.where is not None:
            kept = [holds(value) for value in read.column(self.where)]
            times, lifted = list(compress(times, kept)), list(compress(lifted, kept))
        if None in lifted:
            kept = [value is not None for value in lifted]
            times, lifted = list(compress(times, kept)), list(compress(lifted, kept))
        return times, lifted


class _Columns:
    """The events of one name in a base, read a column at a time."""

    __slots__ = ("events", "kept", "name", "zone")

    def __init__(self, name: str | None, events: Events, kept: dict[Any, Any], zone: Zone) -> None:
        self.name = name
        self.events = events
        self.kept = kept
        self.zone = zone

    def column(self, node: Expr) -> Sequence[Any]:
        """What a node gives for each event. What sums and averages share is kept with the base."""
        events = self.events
        size = len(events.ts_ms)
        match node:
            case Constant(value):
                return [value] * size
            case Property(name):
                return events.fields.get(name) or [None] * size
            case EventTime():
                return list(map(float, events.ts_ms))
            case EventDay():
                return [float(self.zone.day(ts)) for ts in events.ts_ms]
            case Call("days_since"):
                raise TypeError("days_since reads the clock, which no event has")
            case Call(function, (Property(name) as inner,)) if function in COLUMN:
                key = (self.name, function, name)
                found: Sequence[Any] | None = self.kept.get(key)
                if found is None:
                    found = self.kept[key] = COLUMN[function](self.column(inner))
                return found
            case Call("if", (condition, Constant(then), Constant(otherwise))):
                chosen = self.column(condition)
                return [then if value is True or holds(value) else otherwise for value in chosen]
            case Compare("!=", inner, Constant(None)):
                return [value is not None for value in self.column(inner)]
        # All nodes whose children are constants are folded, so at least one column ends the map.
        columns: list[Iterable[Any]] = [
            repeat(child.value) if isinstance(child, Constant) else self.column(child) for child in children(node)
        ]
        return list(map(operation(node), *columns)) if size else []


def _of_kind(python: type) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def kept(column: Sequence[Any]) -> Sequence[Any]:
        if python is float and type(column) is Decimals:
            return column
        if set(map(type, column)) == {python}:
            return column
        return [value if type(value) is python else None for value in column]

    return kept


_MILLION = 1_000_000
#: Up to here a number is far closer to its whole millionths than to any tie between two of them.
_EXACT_MAX = 10**15


def _size_of(whole: Sequence[int]) -> int:
    """What none of these numbers is greater than, of either sign: of an array what its items have room for, if that is
    little."""
    if isinstance(whole, array) and whole.itemsize <= 4:
        return 1 << (8 * whole.itemsize - 1)
    return max(max(whole), -min(whole)) if whole else 0


def _millionths(column: Sequence[Any]) -> Sequence[Any]:
    if type(column) is Decimals and _MILLION % column.scale == 0:
        units = _MILLION // column.scale
        if _size_of(column.whole) * units < _EXACT_MAX:
            return Millionths(column.whole, units)
    compute = FUNCTION["millionths"]
    return [
        near
        if type(value) is float
        and -1e15 < (scaled := value * 1_000_000.0) < 1e15
        and -0.49 < scaled - (near := round(scaled)) < 0.49
        else compute(value)
        for value in column
    ]


#: What every sum and average asks of each event, a column at a time: the same answers, without a call an event.
COLUMN: dict[str, Callable[[Sequence[Any]], Sequence[Any]]] = {
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
