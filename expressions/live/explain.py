"""Why a definition answers what it answers: its tree with every value, and when time alone changes each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..definitions import Bound, Key, inlined, named_by
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
    distinct_parts,
)
from ..rules.values import to_json
from ..text.format import format_expression
from .changes import NextChange, NoInstant, Work, next_change_ms
from .to_state import Frame

#: The nodes that have a part of their own in an explanation, in the order of `ops.py`.
_EXPLAINED = (Attribute, TraitRef, SegmentRef, Aggregation, Not, And, Or, Compare, In)


def explained(bounds: Mapping[Key, Bound], key: Key, frame: Frame) -> dict[str, Any]:
    """The tree of a definition for one person at one instant, as JSON.

    Each node has its `text` and its `value`. A comparison with a constant has that constant as its `threshold`. The
    first reference to a definition has the tree of that `definition`. `changes_at` is the next instant, UTC ms, at
    which a part answers something else with no new event; it is absent where none is in sight. A tree that is too large
    to explain comes without its inner `parts`.
    """
    return _Explanation(bounds, frame).definition(key)


class _Explanation:
    """One explanation in the making: the work that is left, and what was told already.

    `changes` has the next change of each distinct part, `explained` the definitions whose tree is there.
    """

    def __init__(self, bounds: Mapping[Key, Bound], frame: Frame) -> None:
        self.bounds = bounds
        self.frame = frame
        self.work = Work()
        self.explained: set[Key] = set()
        self.changes: dict[Expr, NextChange] = {}

    def definition(self, key: Key) -> dict[str, Any]:
        self.explained.add(key)
        return {"kind": key[0], "key": key[1], **self.node(self.bounds[key].written)}

    def node(self, node: Expr) -> dict[str, Any]:
        expanded = inlined(node, self.bounds)
        value = self.frame.answer(self.frame.program.compile(expanded)).value
        tree: dict[str, Any] = {"text": format_expression(node), "value": to_json(value)}
        if expanded not in self.changes:
            if not self.work.spend(len(distinct_parts(expanded)), self.frame):
                return tree
            self.changes[expanded] = next_change_ms(expanded, self.frame, self.work)
        at = self.changes[expanded]
        if not isinstance(at, NoInstant):
            tree["changes_at"] = at
        reference = named_by(node)
        if reference is not None and reference not in self.explained:
            tree["definition"] = self.definition(reference)
        match node:
            case Compare(_, _, Constant(threshold)) | Compare(_, Constant(threshold), _):
                tree["threshold"] = to_json(threshold)
        parts = [self.node(part) for part in _parts(node)]
        if parts:
            tree["parts"] = parts
        return tree


def _parts(node: Expr) -> Iterator[Expr]:
    """The nearest nodes inside a node that are explained by themselves."""
    if isinstance(node, Aggregation):
        return
    for child in children(node):
        if isinstance(child, _EXPLAINED):
            yield child
        else:
            yield from _parts(child)
