"""Why a definition answers what it answers: its tree with every value, and when time alone changes each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..definitions import Bound, Key, inlined
from ..ops import (
    Aggregation,
    And,
    Attribute,
    Compare,
    Constant,
    Expr,
    In,
    Not,
    Or,
    SegmentRef,
    TraitRef,
    children,
)
from ..rules.values import to_json
from ..text.format import format_expression
from .changes import Work, next_change_ms
from .to_state import Frame

_SHOWN = (Aggregation, Attribute, TraitRef, SegmentRef, And, Or, Not, Compare, In)


def explained(bounds: Mapping[Key, Bound], key: Key, frame: Frame) -> dict[str, Any]:
    """The tree of a definition for one person at one instant, as JSON.

    Each node has its `text` and `value`; a comparison the `threshold` it is compared with, a reference the tree of its
    `definition` where it stands first. `changes_at` is the next instant, UTC ms, at which that part answers something
    else with no new event; absent where there is none in sight. Of a tree that is too large to explain, the inner
    `parts` are left out.
    """
    return _Explanation(bounds, frame).definition(key)


class _Explanation:
    """One explanation in the making: what may still be spent, and which definitions were told already."""

    def __init__(self, bounds: Mapping[Key, Bound], frame: Frame) -> None:
        self.bounds = bounds
        self.frame = frame
        self.work = Work()
        self.told: set[Key] = set()

    def definition(self, key: Key) -> dict[str, Any]:
        self.told.add(key)
        return {"kind": key[0], "key": key[1], **self.node(self.bounds[key].written)}

    def node(self, node: Expr) -> dict[str, Any]:
        meant = inlined(node, self.bounds)
        value = self.frame.answer(self.frame.program.compile(meant)).value
        shown: dict[str, Any] = {"text": format_expression(node), "value": to_json(value)}
        if not self.work.spend(meant, self.frame):
            return shown
        at = next_change_ms(meant, self.frame, self.work)
        if at is not None:
            shown["changes_at"] = at
        match node:
            case TraitRef(name) if ("trait", name) not in self.told:
                shown["definition"] = self.definition(("trait", name))
            case SegmentRef(name) if ("segment", name) not in self.told:
                shown["definition"] = self.definition(("segment", name))
            case Compare(_, _, Constant(threshold)) | Compare(_, Constant(threshold), _):
                shown["threshold"] = to_json(threshold)
        parts = [self.node(part) for part in _parts(node)]
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
