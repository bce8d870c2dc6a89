"""Why a definition answers what it answers: its tree with every value, and when time alone changes each part.

Whoever may ask for a decision may ask for its explanation, so the work of one is bounded. Values come first, each part
computed once; then the changes, outermost first. Where the work ends before the tree does, the tree says so there, in
`not_explained_further`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from ..definitions import Bound, Key, named_by
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
from ..plan import needs_of
from ..rules.values import Value, to_json
from ..text.format import format_expression
from .changes import NextChange, NoInstant, Work, fold_cost, lift_cost, next_change_ms
from .to_state import Answer, Frame

#: The work of one explanation at most, in nodes evaluated: some tens of milliseconds.
WORK_MAX = 100_000
#: What takes as long as so many nodes: to write a node as text, to compile a part, to make a part ready to be watched.
_TEXT, _PART, _WATCH = 8, 25, 40
#: A node is at least so many characters of text, nearly always.
_CHARACTERS_A_PART = 4
#: So many characters of a value are told in the time of a node.
_CHARACTERS_A_NODE = 10
#: Items of a list that are told.
ITEMS_MAX = 100
#: Characters of a definition's text where there is no work left to explain it at all.
_TEXT_CHARACTERS_MAX = 100

#: What `not_explained_further` says.
PARTS_LEFT_OUT = "some parts and values: the work for one explanation was spent"
CHANGES_LEFT_OUT = "when it changes: the work for one explanation was spent"
TURN_LEFT_OUT = "anything: others were being explained, ask again"

#: The nodes that have a part of their own in an explanation, in the order of `ops.py`.
_EXPLAINED = (Attribute, TraitRef, SegmentRef, Aggregation, Not, And, Or, Compare, In)


def explained(
    bounds: Mapping[Key, Bound], key: Key, frame: Frame, work: Work | None = None, answer: Answer | None = None
) -> dict[str, Any]:
    """The tree of a definition for one person at one instant, as JSON. `answer` is its own, where that is known.

    Each node has its `text` and its `value`; of a list the first `ITEMS_MAX` items, and `left_out` says how many more
    there are. A comparison with a constant has that constant as its `threshold`. The first reference to a definition
    has the tree of that `definition`. `changes_at` is the next instant, UTC ms, at which a part answers something else
    with no new event; it is absent where none is in sight. A node whose inner parts, value or changes were too much to
    tell has the sentence `not_explained_further`.
    """
    explanation = _Explanation(bounds, frame, work or Work(WORK_MAX), answer)
    tree = explanation.definition(key, 0)
    explanation.add_changes()
    return tree


def text_alone(bounds: Mapping[Key, Bound], key: Key, work: Work) -> dict[str, Any]:
    """The tree of a definition that nobody asked for a value: what it is, and its text as `explained` writes it."""
    bound = bounds[key]
    if not work.spend(_TEXT * len(bound.definition.expression) // _CHARACTERS_A_PART):
        return unexplained(bound, PARTS_LEFT_OUT)
    return {"kind": key[0], "key": key[1], "text": format_expression(bound.written)}


def unexplained(bound: Bound, why: str) -> dict[str, Any]:
    """What stands in the place of a definition's tree where there is no time for it: the beginning of its text."""
    definition, text = bound.definition, bound.definition.expression
    if len(text) > _TEXT_CHARACTERS_MAX:
        text = f"{text[: _TEXT_CHARACTERS_MAX - 1]}…"
    return {"kind": definition.kind, "key": definition.key, "text": text, "not_explained_further": why}


class _Explanation:
    """One explanation in the making: the work that is left, and what was told already.

    The parts are compiled in a program of its own, whose frame keeps what every part gives. `paid` are the parts whose
    work was taken, `told` the definitions whose tree is there, `waiting` the nodes whose change is to be looked for,
    with their level.
    """

    def __init__(self, bounds: Mapping[Key, Bound], frame: Frame, work: Work, answer: Answer | None) -> None:
        self.bounds = bounds
        self.outer, self.answer = frame, answer
        self.frame = Frame(frame.program.part_by_part(), frame.bases, frame.now_ms, frame.id)
        self.whole = work
        self.work = Work(work.left // 2)  # half of it is for the changes
        self.given = self.work.left
        self.paid: set[Expr] = set()
        self.told: set[Key] = set()
        self.sizes: dict[int, int] = {}
        self.waiting: list[tuple[int, Expr, dict[str, Any]]] = []

    def definition(self, key: Key, level: int) -> dict[str, Any]:
        self.told.add(key)
        bound = self.bounds[key]
        head: dict[str, Any] = {"kind": key[0], "key": key[1]}
        tree = self.node(bound.written, bound.expr, level, head) if self._measure(bound.written) else None
        return unexplained(bound, PARTS_LEFT_OUT) if tree is None else tree

    def node(
        self, written: Expr, expr: Expr, level: int, head: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The tree of a node, which begins with `head`; None where it is too much.

        The node comes as it is written, and as it is with every reference replaced: both have the same shape down to
        the references.
        """
        if not self.work.spend(_TEXT * self.sizes[id(written)]):
            return None
        tree: dict[str, Any] = {**(head or {}), "text": format_expression(written)}
        if self._pay(expr):
            tree |= _told(self.frame.answer(self.frame.program.compile(expr)).value)
            self.work.spend(len(repr(tree["value"])) // _CHARACTERS_A_NODE)
        else:
            tree["not_explained_further"] = PARTS_LEFT_OUT
            if level == 0:  # what the definition answers is told in any case: what is left out is why
                answer = self.answer or self.outer.answer(self.outer.program.compile(expr))
                tree |= _told(answer.value)
        self.waiting.append((level, expr, tree))
        reference = named_by(written)
        if reference is not None and reference not in self.told:
            tree["definition"] = self.definition(reference, level + 1)
        match written:
            case Compare(_, _, Constant(threshold)) | Compare(_, Constant(threshold), _):
                tree["threshold"] = to_json(threshold)
        parts = [self.node(part, inside, level + 1) for part, inside in _parts(written, expr)]
        if None in parts:
            tree["not_explained_further"] = PARTS_LEFT_OUT
        if any(parts):
            tree["parts"] = [part for part in parts if part is not None]
        return tree

    def add_changes(self) -> None:
        """Adds to each node when it changes by time alone, outermost first, as far as the work goes."""
        self.whole.left -= self.given - self.work.left
        changes: dict[Expr, NextChange | None] = {}
        for _, expr, tree in sorted(self.waiting, key=itemgetter(0)):
            if expr not in changes:
                changes[expr] = self._change(expr)
            at = changes[expr]
            if at is None:
                tree.setdefault("not_explained_further", CHANGES_LEFT_OUT)
            elif not isinstance(at, NoInstant):
                tree["changes_at"] = at

    def _change(self, expr: Expr) -> NextChange | None:
        """The next change of a part; None where there was too little work left to find it."""
        if not self.whole.spend(_WATCH * _count(expr, self.whole.left // _WATCH + 1)):
            return None
        change = next_change_ms(expr, self.frame, self.whole)
        return None if self.whole.left < 0 else change

    def _measure(self, root: Expr) -> bool:
        """Whether there was work left to count the nodes inside each node of a tree as it is written."""

        def size(node: Expr) -> int:
            count = self.sizes[id(node)] = 1 + sum(map(size, children(node)))
            return count

        return self.work.left > 0 and self.work.spend(size(root))

    def _pay(self, root: Expr) -> bool:
        """Whether there is work left to compute what is not computed yet of a part; takes it away.

        Each part is paid for once, and so is what it reads of the events.
        """
        fresh: set[Expr] = set()
        waiting, cost = [root], 0
        while waiting:
            part = waiting.pop()
            if part in self.paid or part in fresh:
                continue
            fresh.add(part)
            cost += _PART
            if isinstance(part, Aggregation):
                needs = needs_of(part).values()
                cost += lift_cost(needs, self.frame) + fold_cost(needs, self.frame)
            else:
                waiting += children(part)
            if cost > self.work.left:
                self.work.spend(_TEXT * len(fresh))  # the search for what is too much is work too
                return False
        self.paid |= fresh
        return self.work.spend(cost)


def _count(root: Expr, count_max: int) -> int:
    """How many distinct parts an expression has; it is not counted further than this."""
    seen: set[Expr] = set()
    waiting = [root]
    while waiting and len(seen) < count_max:
        part = waiting.pop()
        if part not in seen:
            seen.add(part)
            waiting += children(part)
    return len(seen)


def _told(value: Value) -> dict[str, Any]:
    """A value as an explanation has it."""
    if not isinstance(value, tuple) or len(value) <= ITEMS_MAX:
        return {"value": to_json(value)}
    return {"value": to_json(value[:ITEMS_MAX]), "left_out": len(value) - ITEMS_MAX}


def _parts(written: Expr, expr: Expr) -> Iterator[tuple[Expr, Expr]]:
    """The nearest nodes inside a node that are explained by themselves: as written, and with references replaced."""
    if isinstance(written, Aggregation) or named_by(written) is not None:
        return
    for child, inside in zip(children(written), children(expr), strict=True):
        if isinstance(child, _EXPLAINED):
            yield child, inside
        else:
            yield from _parts(child, inside)
