"""The execution at read time: nodes and monoids on one person's states.

A `Program` is compiled once for a catalogue; answering merges any number of bases (what the batch published, the tail,
later every member of a person) and finishes the windows at `now`.

What nodes mean is `expressions.live.evaluate`, what events contribute `expressions.live.lifting`, how states combine
`expressions.live.monoids`; here they are put together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce, singledispatch
from typing import Any, NamedTuple, TypeAlias

from ..aggregates import AGGREGATES
from ..bases import Base, State
from ..definitions import Bound, Key
from ..monoids import VALUES_MAX
from ..ops import (
    Aggregation,
    And,
    Attribute,
    Call,
    Constant,
    Expr,
    ListOf,
    Now,
    Or,
    SlotValue,
    children,
)
from ..plan import Need, needs_of
from ..rules.properties import attribute_order_key, attribute_value
from ..rules.values import Value, holds
from ..rules.windows import UTC_ZONE, Zone, lower_ms
from .evaluate import listed, operation
from .lifting import Lift
from .monoids import COMBINE, Combine

#: What can be said of an answer besides its value.
INEXACT, MISSING, STRADDLED = 1, 2, 4


class Answer(NamedTuple):
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

    def evaluate(
        self, bases: Sequence[Base], now_ms: int, keys: Iterable[Key] | None = None, id: str = ""
    ) -> dict[Key, Answer]:
        """The answers of these definitions (all, if not said) for whom the bases are of, at `now_ms`.

        `id`: the person's own, namespaced; without one `bucket` is null.
        """
        frame = Frame(self, bases, now_ms, id)
        return {key: frame.answer(self._compiled[key]) for key in (self._compiled if keys is None else keys)}


class Frame:
    """One person at one instant: the id, the bases, and the states that were folded so far."""

    __slots__ = ("bases", "flags", "folded", "id", "now_ms", "program")

    def __init__(self, program: Program, bases: Sequence[Base], now_ms: int, id: str = "") -> None:
        self.id = id
        self.program = program
        self.bases = bases
        self.now_ms = now_ms
        self.flags = 0
        self.folded: dict[int, tuple[State, int]] = {}

    def answer(self, evaluate: Evaluate) -> Answer:
        """The value of one compiled expression and what is to be said of it."""
        self.flags = 0
        value = evaluate(self)
        flags = self.flags
        if not flags:  # as nearly always
            return Answer(value)
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
        lower = lower_ms(window, now_ms, self.program.zone)
        flags = 0
        states: list[State] = []
        for base in self.bases:
            for times, lifted in lift.series(base):
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
def _(node: ListOf, program: Program) -> Evaluate:
    value = listed(node)
    assert value is not None, "a list holds constants"
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
    if node.function == "bucket":
        return lambda frame: compute(inner[0](frame), frame.id)
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
