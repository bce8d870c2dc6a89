"""When an answer changes by time alone, with no new event: at an instant, never, or nobody can tell.

It does so only where an event leaves a window (or enters one, if its time is ahead of the clock), a date passes, or an
age grows by a unit. The next such instant is a bisection over the raw events of a person's bases. The next change is
found by going from instant to instant until the expression answers something else. A heavy id is raw only at the edges:
once a window would cut through a span, the search ends, and the change is not known.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ..aggregates import AGE_UNITS_MS
from ..bases import Base
from ..monoids import Tally, Union
from ..ops import Aggregation, Call, Compare, Constant, Expr, children, distinct_parts
from ..plan import Need, plan
from ..rules.values import DATE_CHARACTERS, instant_ms, same
from ..rules.windows import DAY_MS, END_MS, Zone, lower_ms
from .to_state import Compiled, Frame, Program

#: The work of one search at most, in nodes evaluated: some tens of milliseconds.
WORK_MAX = 100_000
#: So many events cost about as much to fold as one node to evaluate; numbers are added up, lists made value by value.
_EVENTS_A_NODE, _VALUES_A_NODE = 50, 1

#: From a frame to the next instant, UTC ms, at which something moves after the frame's; None where nothing will.
Watch: TypeAlias = Callable[[Frame], int | None]


@dataclass
class Work:
    """The work that is left, in nodes evaluated. All parts of one search share it."""

    left: int = WORK_MAX

    def spend(self, cost: int) -> bool:
        """Whether there was so much left; takes it away."""
        self.left -= cost
        return self.left >= 0


def fold_cost(needs: Iterable[Need], frame: Frame) -> int:
    """The work of folding these needs once. Lists and tallies are made value by value, of events and of spans."""
    cost = 0
    for need in needs:
        events = sum(events_of(need, base) for base in frame.bases)
        if isinstance(need.slot.monoid, Union | Tally):
            states = (span.states.get(need.state_id) for base in frame.bases for span in base.spans)
            cost += events // _VALUES_A_NODE + sum(len(state) for state in states if state is not None)
        else:
            cost += events // _EVENTS_A_NODE
    return cost


def lift_cost(needs: Iterable[Need], frame: Frame) -> int:
    """The work of reading from the events what nobody has read yet: a node an event, more or less."""
    return sum(
        events_of(need, base)
        for need in needs
        for base in frame.bases
        if frame.program.lift(need)[1].key not in base.lifted
    )


def events_of(need: Need, base: Base) -> int:
    """How many raw events of a base a need looks at."""
    if need.source.event is None:
        return sum(len(events.ts_ms) for events in base.events.values())
    events = base.events.get(need.source.event)
    return 0 if events is None else len(events.ts_ms)


class NoInstant(Enum):
    """What is said in the place of an instant."""

    #: time alone never changes the answer
    NEVER = "never"
    #: the bases cannot tell, or the work was spent before the change was found
    UNKNOWN = "unknown"


#: When an answer next changes by time alone, UTC ms.
NextChange: TypeAlias = int | NoInstant


def earliest(changes: Iterable[NextChange]) -> NextChange:
    """When the first of several answers changes. That is not known where it is not known of one of them."""
    found: NextChange = NoInstant.NEVER
    for change in changes:
        if change is NoInstant.UNKNOWN:
            return change
        if not isinstance(change, NoInstant):
            found = change if isinstance(found, NoInstant) else min(found, change)
    return found


def next_change_ms(node: Expr, frame: Frame, work: Work | None = None) -> NextChange:
    """The first instant after the frame's at which an inlined expression answers something else."""
    return Watched(node, frame.program).next_change_ms(frame, work)


class Watched:
    """An inlined expression of a program, with all that moves it: compiled once, for frames of the program."""

    def __init__(self, node: Expr, program: Program) -> None:
        self._program = program
        self._parts = len(distinct_parts(node))
        self._needs = plan([node]).needs
        self._compiled = program.compile(node)
        self._watches = list(_watches([node], program))

    def next_change_ms(self, frame: Frame, work: Work | None = None, upto_ms: int = END_MS) -> NextChange:
        """The first instant after the frame's at which the expression answers something else.

        NEVER: not up to `upto_ms`.
        """
        work = work or Work()
        cost = self._parts + fold_cost(self._needs, frame)
        if not work.spend(cost + lift_cost(self._needs, frame)):
            return NoInstant.UNKNOWN
        answer = start = frame.answer(self._compiled)
        while not (answer.missing or answer.straddled):
            if not same(answer.value, start.value):
                return frame.now_ms
            moves = [at for watch in self._watches if (at := watch(frame)) is not None and at > frame.now_ms]
            if not moves or min(moves) >= END_MS or min(moves) > upto_ms:
                return NoInstant.NEVER
            if not work.spend(cost):
                break
            frame = Frame(self._program, frame.bases, min(moves), frame.id)
            answer = frame.answer(self._compiled)
        return NoInstant.UNKNOWN


# ── what moves ───────────────────────────────────────────────────────────────────────────────────────────────────


class Moves:
    """All that time alone moves in some inlined expressions of a program; what several of them read counts once."""

    def __init__(self, nodes: Sequence[Expr], program: Program) -> None:
        self._watches = list(_watches(nodes, program))

    def next_ms(self, frame: Frame) -> int | None:
        """The first instant after the frame's, UTC ms, at which any of them may answer something else; None: never.

        Before it none does, if no answer at the frame's instant lacks or straddles anything.
        """
        moves = (watch(frame) for watch in self._watches)
        return min((at for at in moves if at is not None and frame.now_ms < at < END_MS), default=None)


def _watches(nodes: Sequence[Expr], program: Program) -> Iterator[Watch]:
    """A watch for each window and each age that the expressions read."""
    for need in plan(nodes).needs:
        yield _passing(need, program)
    yield from _ages(nodes, program)


def _passing(need: Need, program: Program) -> Watch:
    """The next instant at which the oldest event inside a window leaves it, or the window begins to cut a span.

    Or at which an event comes in whose time is ahead of the clock.
    """
    window, zone = need.window, program.zone
    _, lift = program.lift(need)

    def outside_ms(ts_ms: int) -> int:
        if window is None:
            return END_MS
        return zone.day_start_ms(zone.day(ts_ms) + window.length) if window.dates else ts_ms + window.ms

    def watch(frame: Frame) -> int | None:
        lower = lower_ms(window, frame.now_ms, zone)
        moves: list[int] = []
        for base in frame.bases:
            for times, _ in lift.series(base):
                oldest, coming = bisect_right(times, lower), bisect_right(times, frame.now_ms)
                if oldest < coming:
                    moves.append(outside_ms(times[oldest]))
                if coming < len(times):
                    moves.append(times[coming])
            for span in base.spans:
                if span.low_ms >= lower and span.states.get(need.state_id) is not None:
                    moves.append(outside_ms(span.low_ms + 1))
        return min(moves, default=None)

    return watch


def _ages(roots: Sequence[Expr], program: Program) -> Iterator[Watch]:
    seen: set[Expr] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        inside: Expr = node
        match node:
            case Compare(_, age, Constant(float() as number)) | Compare(_, Constant(float() as number), age):
                # A comparison with a number can change only at two of the instants at which the age grows.
                growth = _growth(age, program)
                if growth is not None:
                    yield _reaching(growth, math.floor(number))
                    inside = age
            case _:
                growth = _growth(node, program)
                if growth is not None:
                    yield _growing(growth)
        waiting += children(inside)


@dataclass(frozen=True)
class _Age:
    """An age at one instant: its number now, and when it becomes a number, UTC ms."""

    number: int
    becomes_ms: Callable[[int], int]


#: From a frame to an age there; None where there is none.
_Growth: TypeAlias = Callable[[Frame], _Age | None]


def _growth(node: Expr, program: Program) -> _Growth | None:
    """How a node grows with time; None for a node that is no age."""
    match node:
        case Aggregation(name) if name in AGE_UNITS_MS:
            (slot,) = program.slots(node).values()
            return _since_event(slot, AGE_UNITS_MS[name])
        case Call("days_since", (text,)):
            return _since_text(program.compile(text), program.zone)
    return None


def _since_event(slot: Compiled, unit_ms: int) -> _Growth:
    def growth(frame: Frame) -> _Age | None:
        at = slot(frame)
        return None if at is None else _in_units(int(at), unit_ms, frame.now_ms)

    return growth


def _since_text(text: Compiled, zone: Zone) -> _Growth:
    def growth(frame: Frame) -> _Age | None:
        value = text(frame)
        since_ms = instant_ms(value) if isinstance(value, str) else None
        if since_ms is None:
            return None
        if len(value) == DATE_CHARACTERS:
            return _in_dates(since_ms // DAY_MS, zone, frame.now_ms)
        return _in_units(since_ms, DAY_MS, frame.now_ms)

    return growth


def _in_units(since_ms: int, unit_ms: int, now_ms: int) -> _Age:
    return _Age((now_ms - since_ms) // unit_ms, lambda number: since_ms + number * unit_ms)


def _in_dates(since_day: int, zone: Zone, now_ms: int) -> _Age:
    return _Age(zone.day(now_ms) - since_day, lambda number: zone.day_start_ms(since_day + number))


def _growing(growth: _Growth) -> Watch:
    """The next instant at which an age grows by a unit."""

    def watch(frame: Frame) -> int | None:
        age = growth(frame)
        return None if age is None else age.becomes_ms(age.number + 1)

    return watch


def _reaching(growth: _Growth, number: int) -> Watch:
    """The next of two instants: the age becomes a whole number; it becomes the number after that."""

    def watch(frame: Frame) -> int | None:
        age = growth(frame)
        if age is None:
            return None
        moves = (age.becomes_ms(number), age.becomes_ms(number + 1))
        return min((at for at in moves if at > frame.now_ms), default=None)

    return watch
