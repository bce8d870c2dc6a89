"""Why a definition answers what it answers: its tree with every value, and when it next changes by time alone.

An answer changes with no new event only when an event leaves a window, or an age passes a number it is compared with.
Those instants can be listed from what a person's bases hold raw, so the next change is the first of them at which the
expression answers something else. For a heavy id only the edges are raw, so nothing is said beyond them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from expressions.aggregates import AGGREGATES
from expressions.definitions import Bound
from expressions.format import format_expression
from expressions.ops import (
    Aggregation,
    And,
    Attribute,
    Compare,
    Constant,
    Expr,
    In,
    Not,
    Now,
    Or,
    SegmentRef,
    TraitRef,
    children,
    transform,
    walk,
)
from expressions.plan import needs_of
from expressions.to_state import Frame, Key, Lift
from expressions.values import to_json
from expressions.windows import DAY_MS, HOUR_MS, MINUTE_MS, lower_ms

#: How many instants are tried before the next change is left unsaid.
INSTANTS_MAX = 2_000

_UNITS = {"minutes": MINUTE_MS, "hours": HOUR_MS, "days": DAY_MS}
_SHOWN = (Aggregation, Attribute, TraitRef, SegmentRef, And, Or, Not, Compare, In)


def explained(bounds: Mapping[Key, Bound], key: Key, frame: Frame) -> dict[str, Any]:
    """The tree of a definition for one person at one instant, as JSON.

    Each node has its text and value; a comparison what it is compared with, a reference its own tree. `changes_at` is
    the next instant, UTC ms, at which that part answers something else with no new event; absent where there is none
    in sight.
    """
    bound = bounds[key]
    tree = _node(bound.written, bounds, frame)
    return {"kind": key[0], "key": key[1], **tree}


def _node(node: Expr, bounds: Mapping[Key, Bound], frame: Frame) -> dict[str, Any]:
    meant = _inlined(node, bounds)
    evaluate = frame.program.compile(meant)
    value = frame.answer(evaluate).value
    shown: dict[str, Any] = {"text": format_expression(node), "value": to_json(value)}
    at = next_change_ms(meant, frame)
    if at is not None:
        shown["changes_at"] = at
    match node:
        case TraitRef(key):
            shown["definition"] = explained(bounds, ("trait", key), frame)
        case SegmentRef(key):
            shown["definition"] = explained(bounds, ("segment", key), frame)
        case Compare(_, _, Constant(threshold)):
            shown["threshold"] = threshold
    parts = [_node(child, bounds, frame) for child in _parts(node)]
    if parts:
        shown["parts"] = parts
    return shown


def _parts(node: Expr) -> Iterator[Expr]:
    """What a reader wants to see inside a node: the nearest nodes that have a meaning of their own."""
    if isinstance(node, Aggregation):
        return
    for child in children(node):
        if isinstance(child, _SHOWN):
            yield child
        else:
            yield from _parts(child)


def _inlined(node: Expr, bounds: Mapping[Key, Bound]) -> Expr:
    def change(one: Expr) -> Expr:
        match one:
            case TraitRef(key):
                return bounds[("trait", key)].expr
            case SegmentRef(key):
                return bounds[("segment", key)].expr
            case _:
                return one

    return transform(node, change)


def next_change_ms(node: Expr, frame: Frame) -> int | None:
    """The first instant after the frame's at which an inlined expression answers something else, by time alone."""
    evaluate = frame.program.compile(node)
    now = frame.answer(evaluate).value
    instants = sorted({at for at in _instants(node, frame) if at > frame.now_ms})
    for at in instants[:INSTANTS_MAX]:
        if Frame(frame.program, frame.bases, at).answer(evaluate).value != now:
            return at
    return None


def _instants(node: Expr, frame: Frame) -> Iterator[int]:
    """When a part of an expression may change: a window's event leaves, an age becomes a number that is written."""
    numbers = {one.value for one in walk(node) if isinstance(one, Constant) and isinstance(one.value, float)}
    zone, now_ms = frame.program.zone, frame.now_ms
    for one in walk(node):
        if not isinstance(one, Aggregation):
            continue
        for need in needs_of(replace(one, at=None)).values():
            lift = Lift(need, zone)
            is_age = any(isinstance(part, Now) for part in walk(AGGREGATES[one.aggregate].present))
            for base in frame.bases:
                times, _ = lift.series(base)
                inside = times[bisect_right(times, lower_ms(need.window, now_ms, zone)) : bisect_right(times, now_ms)]
                if need.window is not None and need.window.dates:
                    days = {zone.day(ts) for ts in inside}
                    yield from (zone.day_start_ms(day + need.window.length) for day in days)
                elif need.window is not None:
                    yield from (ts + need.window.ms for ts in inside)
                if is_age and inside:
                    unit = _UNITS[one.aggregate.split("_")[2]]
                    at = inside[-1] if one.aggregate.startswith("last") else inside[0]
                    passed = (now_ms - at) // unit
                    wanted = {passed + 1} | {int(number) + more for number in numbers for more in (0, 1)}
                    yield from (at + count * unit for count in wanted if 0 <= count < 10**9)
