"""Comparisons that can never hold, though S3 gives each of them a meaning: they are warned of, as S9 warns of names.

A comparison is told when the kinds of its two sides have nothing in common, or when a value lies outside what the
other side can be: an age within 7 days is never above 30 days, `abs` is never negative, `lower` gives no capital
letter. Null is a kind here: two values that may both be null can be equal.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from ..aggregates import AGE_UNITS_MS
from ..definitions import Bound
from ..monoids import VALUES_MAX
from ..ops import Aggregation, Arithmetic, Call, Compare, Constant, Expr, In, ListOf, Not, TraitRef, walk
from ..rules.bucketing import BUCKETS
from ..rules.dtypes import SCALAR, Dtype, name, present
from .format import format_expression
from .typecheck import Names, dtype_of

#: A comparison is quoted up to this length.
QUOTED_CHARACTERS = 120

#: A comparison, seen from its other side.
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


#: The letters that the result of a function lacks (S12), as a pattern and in words.
_LACKED = {"lower": (re.compile("[A-Z]"), "A to Z"), "upper": (re.compile("[a-z]"), "a to z")}


class Range(NamedTuple):
    """What numbers a part can be: from `least` to `most`, both included; of these whole ones alone, or all."""

    least: float
    most: float
    is_whole: bool = True

    @property
    def in_words(self) -> str:
        """For messages: "a whole number, 0 to 6", "a number, 0 or more"."""
        kind = "a whole number" if self.is_whole else "a number"
        if math.isinf(self.most):
            return kind if math.isinf(self.least) else f"{kind}, {self.least:.0f} or more"
        return f"{kind}, {_digits(self.least)} to {_digits(self.most)}"


def _digits(number: float) -> str:
    return f"{number:.0f}" if float(number).is_integer() else f"{number}"


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
                opposite = "!=" if op == "==" else "=="
                # ! binds more tightly than ==
                meant = _meant(f"{quoted(left.operand)} {opposite} {quoted(right)}") if isinstance(left, Not) else ""
                return f"{quoted(node)} {outcome}: {_never_equal(*kinds)}{meant}"
            for part, other, turned in ((left, right, op), (right, left, _TURNED[op])):
                reason = _beyond(turned, part, other, bound)
                if reason is not None:
                    return f"{quoted(node)} {outcome}: {quoted(part)} {reason}"
        case In(_, ListOf(())):
            return f"{quoted(node)} is never true: the list is empty"
        case In(item, collection):
            kinds = dtype_of(item, names), _items(collection)
            if not kinds[0] & kinds[1]:
                meant = _meant(f"{quoted(item.operand)} not in {quoted(collection)}") if isinstance(item, Not) else ""
                return f"{quoted(node)} is never true: {_never_equal(*kinds)}{meant}"
            items = collection.items if isinstance(collection, ListOf) else ()
            reasons = [_beyond("==", item, of_list, bound) for of_list in items]
            if reasons and all(reasons):
                return f"{quoted(node)} is never true: {quoted(item)} {reasons[0]}"
        case Call("contains" | "starts_with" | "ends_with", (whole, part)) if _lacked(whole, part):
            return f"{quoted(node)} is never true: {quoted(whole)} {_lacked(whole, part)}"
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


# ── what a part can be ───────────────────────────────────────────────────────────────────────────────────────────


def _beyond(op: str, part: Expr, other: Expr, bound: Bound) -> str | None:
    """Why no value of a part compares so with a constant (to `!=` all do); None where one may, or where it is none."""
    if not isinstance(other, Constant):
        return None
    if op in ("==", "!=") and isinstance(other.value, str):
        return _lacked(part, other)
    limits = _range(part, bound)
    if limits is None or not isinstance(other.value, float) or not _is_beyond(op, other.value, limits):
        return None
    return f"is {limits.in_words}"


def _lacked(part: Expr, other: Expr) -> str | None:
    """Why a part is not, and does not have within it, a text with letters that its function takes out."""
    if isinstance(part, Call) and part.function in _LACKED and isinstance(other, Constant):
        letters, in_words = _LACKED[part.function]
        if isinstance(other.value, str) and letters.search(other.value):
            return f"has no letter from {in_words}"
    return None


def _range(node: Expr, bound: Bound) -> Range | None:
    """What numbers a part can be; None where nothing bounds them."""
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
        case Call("abs", (number,)):
            return Range(0.0, math.inf, _is_whole(number, bound))
        case Call("round", (_,)):
            return Range(-math.inf, math.inf)
        case Arithmetic("%", number, Constant(float() as divisor)) if divisor:
            if divisor.is_integer() and _is_whole(number, bound):
                divisor -= math.copysign(1, divisor)
                return Range(min(0.0, divisor), max(0.0, divisor))
            return Range(min(0.0, divisor), max(0.0, divisor), is_whole=False)
    return None


def _is_whole(node: Expr, bound: Bound) -> bool:
    limits = _range(node, bound)
    return limits is not None and limits.is_whole


def _is_beyond(op: str, number: float, limits: Range) -> bool:
    """Whether nothing within the limits compares so with a number; to `!=` all do."""
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
            return not limits.least <= number <= limits.most or (limits.is_whole and not number.is_integer())
