"""Every node and function as an operation on values: the whole of what expressions mean, on Python values.

`operation(node)` is a function from the values of a node's children to its value. Applied to values it evaluates;
mapped over columns it lifts all events of a base at once (`expressions.live.lifting`).
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

Operation: TypeAlias = Callable[..., Any]


@singledispatch
def operation(node: Expr) -> Operation:
    """What a node does with the values of its children, in order."""
    raise TypeError(f"operations does not know {type(node).__name__}")


@operation.register
def _(node: ListOf) -> Operation:
    return lambda *items: items


@operation.register
def _(node: Not) -> Operation:
    return lambda operand: not holds(operand)


@operation.register
def _(node: And) -> Operation:
    return lambda left, right: holds(left) and holds(right)


@operation.register
def _(node: Or) -> Operation:
    return lambda left, right: holds(left) or holds(right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Operation:
    def ordered(left: Value, right: Value) -> bool:
        kind = type(left)
        return kind is type(right) and (kind is float or kind is str) and compare(left, right)

    return ordered


_COMPARE: dict[str, Operation] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
}


@operation.register
def _(node: Compare) -> Operation:
    return _COMPARE[node.op]


def _is_in(item: Value, collection: Value) -> bool:
    return isinstance(collection, tuple) and any(same(item, other) for other in collection)


def listed(node: Expr) -> tuple[Any, ...] | None:
    """The items of a list that is known as it is written."""
    if isinstance(node, ListOf) and all(isinstance(item, Constant) for item in node.items):
        return tuple(item.value for item in node.items if isinstance(item, Constant))
    value: Any = node.value if isinstance(node, Constant) else None  # a list too, once a lift is folded
    return value if type(value) is tuple else None


@operation.register
def _(node: In) -> Operation:
    known = listed(node.collection)
    if known is None:
        return _is_in
    held = frozenset((type(one), one) for one in known)  # by S3, and no slower for a long list
    return lambda item, collection: (type(item), item) in held


@operation.register
def _(node: Negate) -> Operation:
    return lambda operand: 0.0 - operand if type(operand) is float else None


def _arithmetic(compute: Callable[[float, float], float | None]) -> Operation:
    def computed(left: Value, right: Value) -> float | None:
        if type(left) is not float or type(right) is not float:
            return None
        result = compute(left, right)
        return None if result is None else values.finite(result)

    return computed


_ARITHMETIC: dict[str, Operation] = {
    "+": _arithmetic(lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right),
    "/": _arithmetic(lambda left, right: left / right if right else None),
    "%": _arithmetic(values.modulo),
}


@operation.register
def _(node: Arithmetic) -> Operation:
    return _ARITHMETIC[node.op]


def _of(python: type, compute: Callable[..., Any]) -> Operation:
    """A function of a first argument of one kind; null for any other."""
    return lambda first, *rest: compute(first, *rest) if type(first) is python else None


def _text_test(test: Callable[[str, str], bool]) -> Operation:
    return lambda text, part: type(text) is str and type(part) is str and test(text, part)


def _contains(whole: Value, part: Value) -> bool:
    if type(whole) is str:
        return type(part) is str and part in whole
    return _is_in(part, whole)


def _coalesce(*given: Value) -> Value:
    return next((value for value in given if value is not None), None)


def _most_frequent(tally: Sequence[tuple[Value, int]]) -> Value:
    """Of (value, count) pairs in the order of values: the first with the greatest count."""
    return max(tally, key=itemgetter(1))[0] if tally else None


FUNCTION: dict[str, Operation] = {
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
    "days_since": lambda text, now_ms: values.days_since(text, int(now_ms)) if type(text) is str else None,
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


@operation.register
def _(node: Call) -> Operation:
    return FUNCTION[node.function]
