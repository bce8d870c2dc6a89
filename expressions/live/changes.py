"""When an answer changes by time alone, with no new event.

It can do so only when an event leaves a window, a date passes, or an age grows by a unit. From what a person's bases
hold raw the next such instant is a bisection, so the next change is found by going from instant to instant until the
expression answers something else. A heavy id is raw only at the edges: where a window would cut through a span, nothing
can be said any more, and nothing is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..aggregates import AGGREGATES
from ..ops import Aggregation, Call, Compare, Constant, Expr, Now, children, extent, walk
from ..plan import Need, plan
from ..rules.values import instant_ms, same
from ..rules.windows import DAY_MS, END_MS, HOUR_MS, MINUTE_MS, Window, lower_ms
from .to_state import Evaluate, Frame, Program

#: What may be spent on one explanation, in nodes evaluated: some tens of milliseconds.
WORK_MAX = 100_000
#: Reading this many raw events costs about as much as a node.
_EVENTS_A_NODE = 50

_UNITS_MS = {"minutes": MINUTE_MS, "hours": HOUR_MS, "days": DAY_MS}

#: The next instant after a frame's at which something moves; None where nothing will.
Watch: TypeAlias = Callable[[Frame], int | None]


@dataclass
class Work:
    """What is left to spend; shared by all that is asked of one explanation."""

    left: int = WORK_MAX

    def spend(self, node: Expr, frame: Frame) -> bool:
        """Takes the cost of evaluating a node; whether there was enough left."""
        events = sum(len(held.ts_ms) for base in frame.bases for held in base.events.values())
        self.left -= extent(node)[0] * (1 + events // _EVENTS_A_NODE)
        return self.left >= 0


def next_change_ms(node: Expr, frame: Frame, work: Work | None = None) -> int | None:
    """The first instant after the frame's, UTC ms, at which an inlined expression answers something else.

    None where it never does by time alone, where that lies beyond what the bases can tell, or when the work is spent.
    """
    work = work or Work()
    program = frame.program
    evaluate = program.compile(node)
    start = frame.answer(evaluate)
    watches = list(_watches(node, program))
    while not start.missing and not start.straddled and work.spend(node, frame):
        moves = [at for watch in watches if (at := watch(frame)) is not None and at > frame.now_ms]
        if not moves or min(moves) >= END_MS:
            return None
        frame = Frame(program, frame.bases, min(moves), frame.id)
        answer = frame.answer(evaluate)
        if answer.straddled:
            return None
        if not same(answer.value, start.value):
            return frame.now_ms
    return None


# ── what moves ───────────────────────────────────────────────────────────────────────────────────────────────────


def _watches(node: Expr, program: Program) -> Iterator[Watch]:
    for need in plan([node]).needs:
        if need.window is not None:
            yield _leaving(need, need.window, program)
    yield from _ages(node, program)


def _leaving(need: Need, window: Window, program: Program) -> Watch:
    """When the oldest event still inside a window leaves it, or the window begins to cut through a span."""
    zone = program.zone
    _, lift = program.lift(need)

    def outside_ms(ts_ms: int) -> int:
        return zone.day_start_ms(zone.day(ts_ms) + window.length) if window.dates else ts_ms + window.ms

    def watch(frame: Frame) -> int | None:
        lower = lower_ms(window, frame.now_ms, zone)
        moves: list[int] = []
        for base in frame.bases:
            for times, _ in lift.series(base):
                oldest = bisect_right(times, lower)
                if oldest < len(times):
                    moves.append(outside_ms(times[oldest]))
            for span in base.spans:
                if span.low_ms >= lower and span.states.get(need.state_id) is not None:
                    moves.append(outside_ms(span.low_ms + 1))
        return min(moves, default=None)

    return watch


def _ages(node: Expr, program: Program) -> Iterator[Watch]:
    inside: Expr = node
    match node:
        case Compare(_, age, Constant(float() as number)) | Compare(_, Constant(float() as number), age):
            # Only two of the instants at which an age grows can matter to a number it is compared with.
            grows = _growth(age, program)
            if grows is not None:
                yield _reaching(grows, math.floor(number))
                inside = age
        case _:
            grows = _growth(node, program)
            if grows is not None:
                yield _growing(grows)
    for child in children(inside):
        yield from _ages(child, program)


@dataclass(frozen=True)
class _Growth:
    """Something that counts the whole units since an instant, which `since_ms` reads from a frame."""

    since_ms: Callable[[Frame], int | None]
    unit_ms: int


def _growth(node: Expr, program: Program) -> _Growth | None:
    match node:
        case Aggregation(name) if any(isinstance(part, Now) for part in walk(AGGREGATES[name].present)):
            (slot,) = program.slots(node).values()
            return _Growth(_whole(slot), _UNITS_MS[name.split("_")[2]])
        case Call("days_since", (text,)):
            return _Growth(_instant(program.compile(text)), DAY_MS)
    return None


def _whole(slot: Evaluate) -> Callable[[Frame], int | None]:
    def since_ms(frame: Frame) -> int | None:
        at = slot(frame)
        return None if at is None else int(at)

    return since_ms


def _instant(text: Evaluate) -> Callable[[Frame], int | None]:
    def since_ms(frame: Frame) -> int | None:
        value = text(frame)
        return instant_ms(value) if isinstance(value, str) else None

    return since_ms


def _growing(age: _Growth) -> Watch:
    """Each time an age grows by a unit."""

    def watch(frame: Frame) -> int | None:
        since_ms = age.since_ms(frame)
        return None if since_ms is None else since_ms + ((frame.now_ms - since_ms) // age.unit_ms + 1) * age.unit_ms

    return watch


def _reaching(age: _Growth, number: int) -> Watch:
    """When an age becomes a whole number, and when it becomes the next one."""

    def watch(frame: Frame) -> int | None:
        since_ms = age.since_ms(frame)
        if since_ms is None:
            return None
        moves = (since_ms + number * age.unit_ms, since_ms + (number + 1) * age.unit_ms)
        return min((at for at in moves if at > frame.now_ms), default=None)

    return watch
