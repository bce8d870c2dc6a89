"""The execution at read time: nodes and monoids on one person's states.

A `Program` is compiled once for a catalogue; answering merges any number of bases (what the batch published, the tail,
later every member of a person) and finishes the windows at `now`.

Every operation is a function from values to a value (`operation`). Applied to values it evaluates; mapped over columns
it lifts all events of a base at once. What was lifted is kept with the base, by time, so that a window is two
bisections and a fold over a slice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce, singledispatch
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, TypeAlias

from expressions import values
from expressions.aggregates import AGGREGATES
from expressions.bases import Base, Decimals, Events, State
from expressions.definitions import Bound, DefinitionKind
from expressions.monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from expressions.ops import (
    Aggregation,
    And,
    Argument,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    EventDay,
    EventTime,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Now,
    Or,
    Property,
    SlotValue,
    Source,
    children,
    transform,
)
from expressions.plan import Need, needs_of
from expressions.properties import attribute_order_key, attribute_value
from expressions.values import Value, holds, order_key, same
from expressions.windows import UTC_ZONE, Window, Zone, lower_ms

Key: TypeAlias = tuple[DefinitionKind, str]
Operation: TypeAlias = Callable[..., Any]

#: What can be said of an answer besides its value.
INEXACT, MISSING, STRADDLED = 1, 2, 4


@dataclass(frozen=True)
class Answer:
    """A value; whether a bound was reached (`exact` is then false); whether a base lacks a state it needs (`missing`),
    or holds one that a window now cuts through (`straddled`: a base past its horizon, or older than the definition)."""

    value: Value
    exact: bool = True
    missing: bool = False
    straddled: bool = False


class Program:
    """Definitions, compiled, and free of any person's data. More expressions may be compiled later."""

    def __init__(self, bounds: Iterable[Bound], zone: Zone = UTC_ZONE) -> None:
        self.zone = zone
        self._lifts: dict[Need, tuple[int, Lift]] = {}
        self._compiled: dict[Key, Evaluate] = {}
        for bound in bounds:
            key = (bound.definition.kind, bound.definition.key)
            self._compiled[key] = self.compile(bound.expr)

    def compiled(self, key: Key) -> Evaluate:
        """A definition as a function of a `Frame`. Raises `KeyError` for one that is not of this program."""
        return self._compiled[key]

    def compile(self, expression: Expr) -> Evaluate:
        """An inlined expression as a function of a `Frame` of this program."""
        return _evaluate(expression, self)

    def slots(self, aggregation: Aggregation) -> dict[str, Evaluate]:
        """What each slot of an aggregation reads as, by name, as functions of a `Frame` of this program."""
        found: dict[str, Evaluate] = {}
        for name, need in needs_of(replace(aggregation, at=None)).items():
            found[name] = _read(*self.lift(need), need)
        return found

    def lift(self, need: Need) -> tuple[int, Lift]:
        """How events are read for a need, compiled once, and its number among the needs of this program."""
        if need not in self._lifts:
            self._lifts[need] = len(self._lifts), Lift(need, self.zone)
        return self._lifts[need]

    def evaluate(self, bases: Sequence[Base], now_ms: int, keys: Iterable[Key] | None = None) -> dict[Key, Answer]:
        """The answers of these definitions (all, if not said) for whom the bases are of, at `now_ms`."""
        frame = Frame(self, bases, now_ms)
        return {key: frame.answer(self._compiled[key]) for key in (self._compiled if keys is None else keys)}


class Frame:
    """One person at one instant: the bases, and the states that were folded so far."""

    __slots__ = ("bases", "flags", "folded", "lowers", "now_ms", "program")

    def __init__(self, program: Program, bases: Sequence[Base], now_ms: int) -> None:
        self.program = program
        self.bases = bases
        self.now_ms = now_ms
        self.flags = 0
        self.folded: dict[int, tuple[State, int]] = {}
        self.lowers: dict[Window | None, int] = {}

    def answer(self, evaluate: Evaluate) -> Answer:
        """The value of one compiled expression and what is to be said of it."""
        self.flags = 0
        value = evaluate(self)
        flags = self.flags
        return Answer(value, not flags & INEXACT, bool(flags & MISSING), bool(flags & STRADDLED))

    def state(self, index: int, need: Need, lift: Lift, monoid: Combine) -> State:
        """The merged state of a need, folded once; None where nothing was added."""
        held = self.folded.get(index)
        if held is None:
            held = self.folded[index] = self._fold(need, lift, monoid)
        self.flags |= held[1]
        return held[0]

    def _fold(self, need: Need, lift: Lift, monoid: Combine) -> tuple[State, int]:
        window, now_ms = need.window, self.now_ms
        lower = self.lowers.get(window)
        if lower is None:
            lower = self.lowers[window] = lower_ms(window, now_ms, self.program.zone)
        flags = 0
        states: list[State] = []
        for base in self.bases:
            times, lifted = lift.series(base)
            if times:
                start = 0 if times[0] > lower else bisect_right(times, lower)
                end = len(times) if times[-1] <= now_ms else bisect_right(times, now_ms)
                if start < end:
                    states.append(monoid.fold(times, lifted, start, end))
            for span in base.spans:
                if span.high_ms <= lower:
                    continue
                state = span.states.get(need.state_id, _ABSENT)
                if state is None:
                    continue
                if span.low_ms < lower:
                    flags |= STRADDLED
                if state is _ABSENT:
                    flags |= MISSING
                else:
                    states.append(state)
        return (reduce(monoid.merge, states) if states else None), flags


Evaluate: TypeAlias = Callable[[Frame], Any]
_ABSENT: Any = object()


# ── nodes as operations on values ────────────────────────────────────────────────────────────────────────────────


@singledispatch
def operation(node: Expr) -> Operation:
    """What a node does with the values of its children, in order."""
    raise TypeError(f"to_state does not know {type(node).__name__}")


@operation.register
def _(node: ListOf) -> Operation:
    return lambda *items: items


@operation.register
def _(node: Not) -> Operation:
    return lambda operand: not holds(operand)


@operation.register
def _(node: And) -> Operation:
    return lambda left, right: holds(left) and holds(right)


@operation.register
def _(node: Or) -> Operation:
    return lambda left, right: holds(left) or holds(right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Operation:
    def ordered(left: Value, right: Value) -> bool:
        kind = type(left)
        return kind is type(right) and (kind is float or kind is str) and compare(left, right)

    return ordered


_COMPARE: dict[str, Operation] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}


@operation.register
def _(node: Compare) -> Operation:
    return _COMPARE[node.op]


def _is_in(item: Value, collection: Value) -> bool:
    return isinstance(collection, tuple) and any(same(item, other) for other in collection)


@operation.register
def _(node: In) -> Operation:
    return _is_in


@operation.register
def _(node: Negate) -> Operation:
    return lambda operand: 0.0 - operand if type(operand) is float else None


def _arithmetic(compute: Callable[[float, float], float | None]) -> Operation:
    def computed(left: Value, right: Value) -> float | None:
        if type(left) is not float or type(right) is not float:
            return None
        result = compute(left, right)
        return None if result is None else values.finite(result)

    return computed


_ARITHMETIC: dict[str, Operation] = {
    "+": _arithmetic(lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right),
    "/": _arithmetic(lambda left, right: left / right if right else None),
    "%": _arithmetic(values.modulo),
}


@operation.register
def _(node: Arithmetic) -> Operation:
    return _ARITHMETIC[node.op]


def _of(python: type, compute: Callable[..., Any]) -> Operation:
    """A function of a first argument of one kind; null for any other."""
    return lambda first, *rest: compute(first, *rest) if type(first) is python else None


def _text_test(test: Callable[[str, str], bool]) -> Operation:
    return lambda text, part: type(text) is str and type(part) is str and test(text, part)


def _contains(whole: Value, part: Value) -> bool:
    if type(whole) is str:
        return type(part) is str and part in whole
    return _is_in(part, whole)


def _coalesce(*given: Value) -> Value:
    return next((value for value in given if value is not None), None)


def _most_frequent(tally: Sequence[tuple[Value, int]]) -> Value:
    """Of (value, count) pairs in the order of values: the first with the greatest count."""
    return max(tally, key=itemgetter(1))[0] if tally else None


FUNCTION: dict[str, Operation] = {
    "contains": _contains,
    "starts_with": _text_test(str.startswith),
    "ends_with": _text_test(str.endswith),
    "lower": _of(str, values.lower),
    "upper": _of(str, values.upper),
    "length": lambda whole: float(len(whole)) if type(whole) is str or type(whole) is tuple else None,
    "abs": _of(float, abs),
    "round": _of(float, lambda number, decimals=0.0: values.rounded(number, int(decimals))),
    "coalesce": _coalesce,
    "if": lambda condition, then, otherwise: then if holds(condition) else otherwise,
    "days_since": lambda text, now_ms: values.days_since(text, int(now_ms)) if type(text) is str else None,
    "floor": _of(float, lambda number: float(number // 1.0)),
    "number": lambda value: value if type(value) is float else None,
    "string": lambda value: value if type(value) is str else None,
    "scalar": lambda value: None if type(value) is tuple else value,
    "millionths": _of(float, values.millionths),
    "most_frequent": _most_frequent,
    "percentile": values.percentile,
}


@operation.register
def _(node: Call) -> Operation:
    return FUNCTION[node.function]


# ── evaluating: operations on the values of a frame ──────────────────────────────────────────────────────────────


@singledispatch
def _evaluate(node: Expr, program: Program) -> Evaluate:
    compute = operation(node)
    match [_evaluate(child, program) for child in children(node)]:
        case [one]:
            return lambda frame: compute(one(frame))
        case [left, right]:
            return lambda frame: compute(left(frame), right(frame))
        case inner:
            return lambda frame: compute(*[child(frame) for child in inner])


@_evaluate.register
def _(node: Constant, program: Program) -> Evaluate:
    value = node.value
    return lambda frame: value


@_evaluate.register
def _(node: Attribute, program: Program) -> Evaluate:
    key, path = node.key, node.path

    def read(frame: Frame) -> Value:
        found = [base.profile[key] for base in frame.bases if key in base.profile]
        if not found:
            return None
        newest = found[0] if len(found) == 1 else max(found, key=lambda held: (held[0], attribute_order_key(held[1])))
        value: Value = attribute_value(newest[1], path)
        return value

    return read


@_evaluate.register
def _(node: Aggregation, program: Program) -> Evaluate:
    return _present(AGGREGATES[node.aggregate].present, program.slots(node))


@_evaluate.register
def _(node: And, program: Program) -> Evaluate:
    left, right = _evaluate(node.left, program), _evaluate(node.right, program)
    return lambda frame: holds(left(frame)) and holds(right(frame))


@_evaluate.register
def _(node: Or, program: Program) -> Evaluate:
    left, right = _evaluate(node.left, program), _evaluate(node.right, program)
    return lambda frame: holds(left(frame)) or holds(right(frame))


@_evaluate.register
def _(node: Call, program: Program) -> Evaluate:
    compute = operation(node)
    inner = [_evaluate(child, program) for child in node.args]
    if node.function == "days_since":
        return lambda frame: compute(inner[0](frame), frame.now_ms)
    if len(inner) == 1:
        only = inner[0]
        return lambda frame: compute(only(frame))
    return lambda frame: compute(*[child(frame) for child in inner])


def _present(node: Expr, slots: Mapping[str, Evaluate]) -> Evaluate:
    """A present expression; its leaves are slots, constants and the instant."""
    match node:
        case SlotValue(name):
            return slots[name]
        case Now():
            return lambda frame: float(frame.now_ms)
        case Constant(value):
            return lambda frame: value
    compute = operation(node)
    match [_present(child, slots) for child in children(node)]:
        case [one]:
            return lambda frame: compute(one(frame))
        case [left, right]:
            return lambda frame: compute(left(frame), right(frame))
        case inner:
            return lambda frame: compute(*[child(frame) for child in inner])


def _read(index: int, lift: Lift, need: Need) -> Evaluate:
    """A slot's value as it reads inside a present expression."""
    monoid = COMBINE[type(need.slot.monoid)]

    def read(frame: Frame) -> Any:
        state = frame.state(index, need, lift, monoid)
        if monoid.is_bounded and state is not None and len(state) > VALUES_MAX:
            frame.flags |= INEXACT
        return monoid.read(state)

    return read


# ── lifting: the same operations on the columns of a base ────────────────────────────────────────────────────────


class Lift:
    """A source and a lift expression, compiled: from the events of a base to (times, values), nulls left out."""

    def __init__(self, need: Need, zone: Zone) -> None:
        self.source: Source = need.source
        self.key = (need.state_id, zone.name)
        self.zone = zone
        argument: Expr = Constant(True) if need.source.property is None else Property(need.source.property)
        self.lift = _folded(transform(need.slot.lift, lambda node: argument if isinstance(node, Argument) else node))
        self.where = None if self.source.where is None else _folded(self.source.where)

    def series(self, base: Base) -> tuple[list[int], list[Any]]:
        """Times ascending, and the lifted value of each; kept with the base."""
        held = base.lifted.get(self.key)
        if held is None:
            held = base.lifted[self.key] = self._lifted(base)
        return held

    def _lifted(self, base: Base) -> tuple[list[int], list[Any]]:
        if self.source.event is not None:
            events = base.events.get(self.source.event)
            return self._of(self.source.event, events, base) if events is not None else ([], [])
        parts = [self._of(name, events, base) for name, events in base.events.items()]
        if len(parts) == 1:
            return parts[0]
        merged = sorted((pair for part in parts for pair in zip(*part, strict=True)), key=itemgetter(0))
        return [ts for ts, _ in merged], [value for _, value in merged]

    def _of(self, name: str | None, events: Events, base: Base) -> tuple[list[int], list[Any]]:
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

    def column(self, node: Expr) -> list[Any]:
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
                found: list[Any] | None = self.kept.get(key)
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


def _of_kind(python: type) -> Callable[[list[Any]], list[Any]]:
    def kept(column: list[Any]) -> list[Any]:
        if python is float and type(column) is Decimals:
            return column
        if set(map(type, column)) == {python}:
            return column
        return [value if type(value) is python else None for value in column]

    return kept


_MILLION = 1_000_000
#: Up to here a number is far closer to its whole millionths than to any tie between two of them.
_EXACT_MAX = 10**15


def _millionths(column: list[Any]) -> list[Any]:
    if type(column) is Decimals and _MILLION % column.scale == 0:
        units = _MILLION // column.scale
        if not column or max(max(column.whole), -min(column.whole)) * units < _EXACT_MAX:
            return [number * units for number in column.whole]
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
COLUMN: dict[str, Callable[[list[Any]], list[Any]]] = {
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


# ── monoids ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Combine:
    """A monoid on Python states: fold a slice of lifted values, merge two states, read one (None: nothing added)."""

    fold: Callable[[list[int], list[Any], int, int], State]
    merge: Callable[[State, State], State]
    read: Callable[[State], Any]
    is_bounded: bool = False


def _least(keys: Iterable[Any]) -> frozenset[Any]:
    """A set within its bound: one more than may be read, so that the excess shows (S12)."""
    found = frozenset(keys)
    return found if len(found) <= VALUES_MAX + 1 else frozenset(sorted(found)[: VALUES_MAX + 1])


def _least_counts(counts: dict[Any, int]) -> dict[Any, int]:
    if len(counts) <= VALUES_MAX + 1:
        return counts
    return {key: counts[key] for key in sorted(counts)[: VALUES_MAX + 1]}


def _merged_counts(left: Mapping[Any, int], right: Mapping[Any, int]) -> dict[Any, int]:
    merged = dict(left)
    for key, count in right.items():
        merged[key] = merged.get(key, 0) + count
    return _least_counts(merged)


def _by_time_and_value(held: tuple[int, Value]) -> tuple[Any, ...]:
    return (held[0], order_key(held[1]))


def _earliest(times: list[int], lifted: list[Any], start: int, end: int) -> tuple[int, Value]:
    ties = bisect_right(times, times[start], start, end)
    return times[start], min(lifted[start:ties], key=order_key)


def _latest(times: list[int], lifted: list[Any], start: int, end: int) -> tuple[int, Value]:
    ties = bisect_left(times, times[end - 1], start, end)
    return times[end - 1], max(lifted[ties:end], key=order_key)


#: By monoid, in the order of `monoids.py`. Sets and tallies hold order keys, (rank, value): to Python True is 1.0.
COMBINE: dict[type[Monoid], Combine] = {
    Add: Combine(
        fold=lambda times, lifted, start, end: int(sum(lifted[start:end])),
        merge=lambda left, right: left + right,
        read=lambda state: float(state or 0),
    ),
    Min: Combine(fold=lambda times, lifted, start, end: min(lifted[start:end]), merge=min, read=lambda state: state),
    Max: Combine(fold=lambda times, lifted, start, end: max(lifted[start:end]), merge=max, read=lambda state: state),
    Earliest: Combine(
        fold=_earliest,
        merge=lambda left, right: min(left, right, key=_by_time_and_value),
        read=lambda state: None if state is None else state[1],
    ),
    Latest: Combine(
        fold=_latest,
        merge=lambda left, right: max(left, right, key=_by_time_and_value),
        read=lambda state: None if state is None else state[1],
    ),
    Union: Combine(
        fold=lambda times, lifted, start, end: _least(map(order_key, lifted[start:end])),
        merge=lambda left, right: _least(left | right),
        read=lambda state: tuple(value for _, value in sorted(state or ())[:VALUES_MAX]),
        is_bounded=True,
    ),
    Tally: Combine(
        fold=lambda times, lifted, start, end: _least_counts(Counter(map(order_key, lifted[start:end]))),
        merge=_merged_counts,
        read=lambda state: [(key[1], state[key]) for key in sorted(state or ())[:VALUES_MAX]],
        is_bounded=True,
    ),
}
