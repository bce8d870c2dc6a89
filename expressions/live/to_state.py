"""The execution at read time: nodes and monoids on one person's states.

A `Program` is compiled once for a catalogue. A `Frame` is one person at one instant. It answers from any number of
bases, such as the base and the tail of every id of the person, and finishes the windows at `now`:

1. `Lift.series(base)`    (times, values) of each event name that the need reads; kept with the base
2. `Frame._fold`          a state of each slice of values inside the window, and of each span
3. merge                  one state a need, None where nothing was added; kept in the frame
4. `_read`                one value a slot
5. `_present`             one value an aggregation
6. `_compiled`            one value an expression; of a part that is used more than once kept in the frame
7. `Frame.answer`         an `Answer`: that value, and what is not certain of it

`evaluate` says what nodes compute, `lifting` what events contribute, `monoids` how states combine. This file puts them
together. The nodes stand in the order of `ops.py`; those that are missing here only compute with their children's
values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce, singledispatch
from itertools import count
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
    shared_parts,
)
from ..plan import Need, needs_of
from ..rules.properties import attribute_recency, attribute_value
from ..rules.values import Value, holds
from ..rules.windows import UTC_ZONE, Zone, lower_ms
from .evaluate import Evaluator, evaluator, literal_items
from .lifting import Lift
from .monoids import MONOIDS, StateMonoid

#: The flags of an answer: what is not certain of it.
INEXACT, MISSING, STRADDLED = 1, 2, 4


class Answer(NamedTuple):
    """A value, and what is not certain of it.

    `exact` is false where a list or a tally reached its bound. `missing`: a base lacks a state that the value needs.
    `straddled`: a window now cuts through a span, since the base is past its horizon or older than the definition.
    """

    value: Value
    exact: bool = True
    missing: bool = False
    straddled: bool = False


class Program:
    """Definitions, compiled. It holds no person's data. More expressions may be compiled later, by any thread."""

    def __init__(self, bounds: Iterable[Bound], zone: Zone = UTC_ZONE) -> None:
        self.zone = zone
        self._keeps_all = False
        self._numbers = count()  # two threads never get the same number
        self._lifts: dict[Need, tuple[int, Lift]] = {}
        self._parts: dict[Expr, Compiled] = {}
        expressions = {(bound.definition.kind, bound.definition.key): bound.expr for bound in bounds}
        self._shared = shared_parts(*expressions.values())
        self._compiled = {key: self.part(expression) for key, expression in expressions.items()}

    def compiled(self, key: Key) -> Compiled:
        """A definition of this program. Raises KeyError for any other."""
        return self._compiled[key]

    def compile(self, expression: Expr) -> Compiled:
        """An inlined expression, to be computed in frames of this program."""
        if expression not in self._parts:
            self._shared |= shared_parts(expression)
        return self.part(expression)

    def part(self, node: Expr) -> Compiled:
        """A part of this program's expressions, compiled once. A frame computes a part once that is used more often."""
        compiled = self._parts.get(node)
        if compiled is None:
            compiled = _compiled(node, self)
            if node in self._shared or (self._keeps_all and not isinstance(node, Constant | ListOf)):
                compiled = _once(next(self._numbers), compiled)
            self._parts[node] = compiled
        return compiled

    def part_by_part(self) -> Program:
        """An empty program with what this one reads of events. Its frames keep the value of every part.

        So the parts of an expression are answered one by one in the time of the whole.
        """
        program = Program((), self.zone)
        program._keeps_all, program._lifts, program._numbers = True, self._lifts, self._numbers
        return program

    def slots(self, aggregation: Aggregation) -> dict[str, Compiled]:
        """Slot name -> what the slot of this aggregation reads as, to be computed in frames of this program."""
        needs = needs_of(aggregation)
        return {name: _read(*self.lift(need), need) for name, need in needs.items()}

    def lift(self, need: Need) -> tuple[int, Lift]:
        """The number of a need in this program, and its lift; a need is compiled once."""
        lift = self._lifts.get(need)
        if lift is None:
            lift = self._lifts.setdefault(need, (next(self._numbers), Lift(need, self.zone)))
        return lift

    def evaluate(
        self, bases: Sequence[Base], now_ms: int, keys: Iterable[Key] | None = None, id: str = ""
    ) -> dict[Key, Answer]:
        """Key -> answer at `now_ms` of the person whose bases these are; of all definitions where `keys` is None.

        `id` is the person's own, namespaced; without one `bucket` is null. Raises KeyError for a key of no definition
        of this program.
        """
        frame = Frame(self, bases, now_ms, id)
        return {key: frame.answer(self._compiled[key]) for key in (self._compiled if keys is None else keys)}


class Frame:
    """One person at one instant: the id, the bases, and the states that were folded so far.

    `folded` is by the number of the need; `computed` has the values of parts that are used more than once, with their
    flags, by the number of the part. `flags` are those of the answer that is being computed.
    """

    __slots__ = ("bases", "computed", "flags", "folded", "id", "now_ms", "program")

    def __init__(self, program: Program, bases: Sequence[Base], now_ms: int, id: str = "") -> None:
        self.id = id
        self.program = program
        self.bases = bases
        self.now_ms = now_ms
        self.flags = 0
        self.folded: dict[int, tuple[State, int]] = {}
        self.computed: dict[int, tuple[Any, int]] = {}

    def answer(self, compiled: Compiled) -> Answer:
        """The value of one compiled expression, and what is not certain of it."""
        self.flags = 0
        value = compiled(self)
        flags = self.flags
        if not flags:  # as nearly always
            return Answer(value)
        return Answer(value, not flags & INEXACT, bool(flags & MISSING), bool(flags & STRADDLED))

    def state(self, index: int, need: Need, lift: Lift, monoid: StateMonoid) -> State:
        """The merged state of a need, folded once; None where nothing was added."""
        folded = self.folded.get(index)
        if folded is None:
            folded = self.folded[index] = self._fold(need, lift, monoid)
        self.flags |= folded[1]
        return folded[0]

    def _fold(self, need: Need, lift: Lift, monoid: StateMonoid) -> tuple[State, int]:
        """The state of a need over all bases, and the flags that come with it."""
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


#: A compiled expression: from a frame to its value there.
Compiled: TypeAlias = Callable[[Frame], Any]
_ABSENT: Any = object()


def _once(number: int, compute: Compiled) -> Compiled:
    """What the part of this number computes, computed once a frame."""

    def read(frame: Frame) -> Any:
        known = frame.computed.get(number)
        if known is None:
            before, frame.flags = frame.flags, 0
            value = compute(frame)
            known = frame.computed[number] = value, frame.flags
            frame.flags |= before
        else:
            frame.flags |= known[1]
        return known[0]

    return read


def _applied(evaluate: Evaluator, arguments: list[Compiled]) -> Compiled:
    """The evaluator applied to what these compute. One and two arguments are called without a list: most nodes are."""
    match arguments:
        case [argument]:
            return lambda frame: evaluate(argument(frame))
        case [left, right]:
            return lambda frame: evaluate(left(frame), right(frame))
        case _:
            return lambda frame: evaluate(*[argument(frame) for argument in arguments])


# ── nodes, in the order of ops.py ────────────────────────────────────────────────────────────────────────────────


@singledispatch
def _compiled(node: Expr, program: Program) -> Compiled:
    return _applied(evaluator(node), [program.part(child) for child in children(node)])


@_compiled.register
def _(node: Constant, program: Program) -> Compiled:
    value = node.value
    return lambda frame: value


@_compiled.register
def _(node: ListOf, program: Program) -> Compiled:
    value = literal_items(node)
    assert value is not None, "a list holds constants"
    return lambda frame: value


@_compiled.register
def _(node: Attribute, program: Program) -> Compiled:
    key, path = node.key, node.path

    def read(frame: Frame) -> Value:
        entries = [base.profile[key] for base in frame.bases if key in base.profile]
        if not entries:
            return None
        newest = entries[0] if len(entries) == 1 else max(entries, key=lambda entry: attribute_recency(*entry))
        value: Value = attribute_value(newest[1], path)
        return value

    return read


@_compiled.register
def _(node: Aggregation, program: Program) -> Compiled:
    return _present(AGGREGATES[node.aggregate].present, program.slots(node))


@_compiled.register
def _(node: And, program: Program) -> Compiled:
    left, right = program.part(node.left), program.part(node.right)
    return lambda frame: holds(left(frame)) and holds(right(frame))


@_compiled.register
def _(node: Or, program: Program) -> Compiled:
    left, right = program.part(node.left), program.part(node.right)
    return lambda frame: holds(left(frame)) or holds(right(frame))


@_compiled.register
def _(node: Call, program: Program) -> Compiled:
    evaluate = evaluator(node)
    arguments = [program.part(argument) for argument in node.args]
    match node.function, arguments:
        case "days_since", [text]:
            zone = program.zone
            return lambda frame: evaluate(text(frame), frame.now_ms, zone)
        case "bucket", [salt]:
            return lambda frame: evaluate(salt(frame), frame.id)
    return _applied(evaluate, arguments)


# ── aggregations ─────────────────────────────────────────────────────────────────────────────────────────────────


def _present(node: Expr, slots: Mapping[str, Compiled]) -> Compiled:
    """A present expression. Its leaves are constants, slots and the instant of the answer."""
    match node:
        case Constant(value):
            return lambda frame: value
        case SlotValue(name):
            return slots[name]
        case Now():
            return lambda frame: float(frame.now_ms)
    return _applied(evaluator(node), [_present(child, slots) for child in children(node)])


def _read(index: int, lift: Lift, need: Need) -> Compiled:
    """What a slot reads as inside a present expression."""
    monoid = MONOIDS[type(need.slot.monoid)]

    def read(frame: Frame) -> Any:
        state = frame.state(index, need, lift, monoid)
        if monoid.is_bounded and state is not None and len(state) > VALUES_MAX:
            frame.flags |= INEXACT
        return monoid.read(state)

    return read
