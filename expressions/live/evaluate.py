"""How each node and function is evaluated: the whole of what expressions mean, on Python values.

`evaluator(node)` is a function from the values of a node's children to the node's value. `to_state` applies it to the
values of one person. `lifting` maps it over columns, which lifts all events of a base at once.

The nodes stand in the order of `ops.py`. Those that are missing here are leaves, which `to_state` and `lifting` read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from operator import itemgetter
from typing import Any, TypeAlias

from ..ops import And, Arithmetic, Call, Compare, Constant, Expr, In, ListOf, Negate, Not, Or
from ..rules import values
from ..rules.bucketing import bucket_of
from ..rules.patterns import searcher
from ..rules.values import Value, holds, same

#: From the values of a node's children, in order, to its value.
Evaluator: TypeAlias = Callable[..., Any]


@singledispatch
def evaluator(node: Expr) -> Evaluator:
    """The function that computes a node from the values of its children. Raises TypeError for a node without one."""
    raise TypeError(f"evaluate does not know {type(node).__name__}")


# ── nodes, in the order of ops.py ────────────────────────────────────────────────────────────────────────────────


@evaluator.register
def _(node: ListOf) -> Evaluator:
    return lambda *items: items


@evaluator.register
def _(node: Not) -> Evaluator:
    return lambda operand: not holds(operand)


@evaluator.register
def _(node: And) -> Evaluator:
    return lambda left, right: holds(left) and holds(right)


@evaluator.register
def _(node: Or) -> Evaluator:
    return lambda left, right: holds(left) or holds(right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Evaluator:
    def ordered(left: Value, right: Value) -> bool:
        kind = type(left)
        return kind is type(right) and (kind is float or kind is str) and compare(left, right)

    return ordered


_COMPARE: dict[str, Evaluator] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}


@evaluator.register
def _(node: Compare) -> Evaluator:
    return _COMPARE[node.op]


@evaluator.register
def _(node: In) -> Evaluator:
    items = literal_items(node.collection)
    if items is None:
        return _is_in
    keys = frozenset((type(value), value) for value in items)  # equal by S3, and no slower for a long list
    return lambda item, collection: (type(item), item) in keys


def _is_in(item: Value, collection: Value) -> bool:
    return isinstance(collection, tuple) and any(same(item, other) for other in collection)


def literal_items(node: Expr) -> tuple[Any, ...] | None:
    """The items of a list of constants; None for any other node."""
    if isinstance(node, ListOf) and all(isinstance(item, Constant) for item in node.items):
        return tuple(item.value for item in node.items if isinstance(item, Constant))
    value: Any = node.value if isinstance(node, Constant) else None  # a list is a constant once a lift is folded
    return value if type(value) is tuple else None


@evaluator.register
def _(node: Negate) -> Evaluator:
    return lambda operand: 0.0 - operand if type(operand) is float else None


def _arithmetic(compute: Callable[[float, float], float | None]) -> Evaluator:
    def computed(left: Value, right: Value) -> float | None:
        if type(left) is not float or type(right) is not float:
            return None
        result = compute(left, right)
        return None if result is None else values.finite(result)

    return computed


ARITHMETIC: dict[str, Evaluator] = {
    "+": _arithmetic(lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right),
    "/": _arithmetic(lambda left, right: left / right if right else None),
    "%": _arithmetic(values.modulo),
}


@evaluator.register
def _(node: Arithmetic) -> Evaluator:
    return ARITHMETIC[node.op]


@evaluator.register
def _(node: Call) -> Evaluator:
    return FUNCTIONS[node.function]


# ── functions, in the order of functions.py ──────────────────────────────────────────────────────────────────────


def _contains(whole: Value, part: Value) -> bool:
    if type(whole) is str:
        return type(part) is str and part in whole
    return _is_in(part, whole)


def _text_test(test: Callable[[str, str], bool]) -> Evaluator:
    return lambda text, part: type(text) is str and type(part) is str and test(text, part)


def _of(python: type, compute: Callable[..., Any]) -> Evaluator:
    """A function of a first argument of one kind; null for any other kind."""
    return lambda first, *rest: compute(first, *rest) if type(first) is python else None


def _coalesce(*arguments: Value) -> Value:
    return next((value for value in arguments if value is not None), None)


def _most_frequent(tally: Sequence[tuple[Value, int]]) -> Value:
    """The value of the first pair (value, count) with the greatest count; pairs come in the order of values."""
    return max(tally, key=itemgetter(1))[0] if tally else None


FUNCTIONS: dict[str, Evaluator] = {
    "contains": _contains,
    "starts_with": _text_test(str.startswith),
    "ends_with": _text_test(str.endswith),
    "lower": _of(str, values.lower),
    "upper": _of(str, values.upper),
    "length": lambda whole: float(len(whole)) if type(whole) is str or type(whole) is tuple else None,
    "abs": _of(float, abs),
    "round": _of(float, lambda number, decimals=0.0: values.rounded(number, int(decimals))),
    "coalesce": _coalesce,
    "if": lambda condition, then, otherwise: then if holds(condition) else otherwise,
    "days_since": lambda text, now_ms, zone: values.days_since(text, now_ms, zone) if type(text) is str else None,
    "matches": lambda text, pattern: type(text) is str and searcher(pattern).search(text) is not None,
    "bucket": lambda salt, id: float(bucket_of(salt, id)) if id else None,
    "floor": _of(float, lambda number: float(number // 1.0)),
    "number": lambda value: value if type(value) is float else None,
    "string": lambda value: value if type(value) is str else None,
    "scalar": lambda value: None if type(value) is tuple else value,
    "millionths": _of(float, values.millionths),
    "amount": values.amount,
    "most_frequent": _most_frequent,
    "percentile": values.percentile,
}
