"""Comparisons that can never hold, though S3 gives each of them a meaning: they are warned of, as S9 warns of names.

A comparison is told when the kinds of its two sides have nothing in common, or when a number lies outside what the
other side can be: an age within 7 days is never above 30 days. Null is a kind here: two values that may both be null
can be equal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..aggregates import AGE_UNITS_MS
from ..definitions import Bound
from ..monoids import VALUES_MAX
from ..ops import Aggregation, Call, Compare, Constant, Expr, In, ListOf, Not, TraitRef, walk
from ..rules.bucketing import BUCKETS
from ..rules.dtypes import SCALAR, Dtype, name, present
from .format import format_expression
from .typecheck import Names, dtype_of

#: A comparison is quoted up to this length.
QUOTED_CHARACTERS = 120

#: A comparison, seen from its other side.
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Range(NamedTuple):
    """What whole numbers a part can be: from `least` to `most`, both included."""

    least: float
    most: float

    @property
    def in_words(self) -> str:
        """For messages: "0 to 6", "0 or more"."""
        return f"{self.least:.0f} or more" if math.isinf(self.most) else f"{self.least:.0f} to {self.most:.0f}"


def contradictions(bound: Bound) -> list[str]:
    """A sentence for each comparison of a definition that is never true, or always, from left to right."""
    names: Names = {key: used.dtype for key, used in bound.used.items()}
    sentences = (_sentence(node, bound, names) for node in walk(bound.written))
    return list(dict.fromkeys(sentence for sentence in sentences if sentence is not None))


def _sentence(node: Expr, bound: Bound, names: Names) -> str | None:
    def quoted(part: Expr) -> str:
        return _quoted(part, bound.definition.expression)

    match node:
        case Compare(op, left, right):
            outcome = "is always true" if op == "!=" else "is never true"
            kinds = dtype_of(left, names), dtype_of(right, names)
            if op in ("==", "!=") and not kinds[0] & kinds[1]:
                other = "!=" if op == "==" else "=="
                # ! binds more tightly than ==
                meant = _meant(f"{quoted(left.operand)} {other} {quoted(right)}") if isinstance(left, Not) else ""
                return f"{quoted(node)} {outcome}: {_never_equal(*kinds)}{meant}"
            for part, number, turned in ((left, right, op), (right, left, _TURNED[op])):
                limits = _range(part, bound)
                if limits is not None and _is_beyond(turned, number, limits):
                    return f"{quoted(node)} {outcome}: {quoted(part)} is a whole number, {limits.in_words}"
        case In(_, ListOf(())):
            return f"{quoted(node)} is never true: the list is empty"
        case In(item, collection):
            kinds = dtype_of(item, names), _items(collection)
            if not kinds[0] & kinds[1]:
                other = f"{quoted(item.operand)} not in {quoted(collection)}" if isinstance(item, Not) else ""
                return f"{quoted(node)} is never true: {_never_equal(*kinds)}{_meant(other) if other else ''}"
        case Call("contains", (whole, part)):
            kinds = dtype_of(whole, names), dtype_of(part, names)
            if "list" not in kinds[0] and "string" not in kinds[1]:
                return f"{quoted(node)} is never true: a string never contains a {name(kinds[1])}"
    return None


def _meant(text: str) -> str:
    return f"; did you mean {text}?"


def _quoted(node: Expr, text: str) -> str:
    """The text of a node as its author wrote it, in one line."""
    line = " ".join(text[node.at.start : node.at.end].split()) if node.at else format_expression(node)
    return line if len(line) <= QUOTED_CHARACTERS else f"{line[:QUOTED_CHARACTERS]}…"


# ── kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _items(collection: Expr) -> Dtype:
    """The kinds that the items of a list may have: a list is no item of a list."""
    if not isinstance(collection, ListOf):
        return SCALAR
    return frozenset().union(*map(dtype_of, collection.items))


def _never_equal(left: Dtype, right: Dtype) -> str:
    if not present(left) or not present(right):
        return f"{name(left | right)} is never null"
    return f"{name(left)} and {name(right)} are never equal"


# ── ranges ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _range(node: Expr, bound: Bound) -> Range | None:
    """What whole numbers a part can be; None where nothing bounds them."""
    match node:
        case TraitRef(key):
            used = bound.used["trait", key]
            return _range(used.written, used)
        case Aggregation(aggregate, _, window):
            if aggregate in AGE_UNITS_MS:
                return Range(0.0, math.inf if window is None else (window.ms - 1) // AGE_UNITS_MS[aggregate])
            if aggregate == "unique_days" and window is not None:
                return Range(0.0, window.length)
            if aggregate in ("unique", "unique_days"):
                return Range(0.0, VALUES_MAX)
            return Range(0.0, math.inf) if aggregate == "count" else None
        case Call("length", _):
            return Range(0.0, math.inf)
        case Call("bucket", _):
            return Range(0.0, BUCKETS - 1)
    return None


def _is_beyond(op: str, other: Expr, limits: Range) -> bool:
    """Whether no whole number within the limits compares so with the other side, which is a number; to `!=` all do."""
    if not isinstance(other, Constant) or not isinstance(other.value, float):
        return False
    number = other.value
    match op:
        case "<":
            return number <= limits.least
        case "<=":
            return number < limits.least
        case ">":
            return number >= limits.most
        case ">=":
            return number > limits.most
        case _:
            return not limits.least <= number <= limits.most or not number.is_integer()
