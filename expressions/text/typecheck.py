"""The type check: the kinds of value that an expression may give, and the refusal of what cannot fit (S3, S4, S9, S10).

An operation is refused when none of the kinds that its operand may have fits it. Null fits everywhere and behaves as
the numbered semantics say. So `profile.age > 41` passes, since an attribute may be a number, and `"a" > 1` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, singledispatch
from types import MappingProxyType
from typing import TypeAlias

from ..aggregates import AGGREGATES
from ..errors import SyntaxRefused, TooLarge, TypeRefused
from ..functions import FUNCTIONS
from ..monoids import Add, Union
from ..ops import (
    Aggregation,
    And,
    Argument,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    EventDay,
    EventTime,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Now,
    Or,
    Property,
    SegmentRef,
    SlotValue,
    Span,
    TraitRef,
)
from ..rules import dtypes
from ..rules.bucketing import SALT_CHARACTERS_MAX
from ..rules.dtypes import ANY, BOOLEAN, LIST, NULL, NUMBER, ORDERED, STRING, Dtype, nullable, present
from ..rules.patterns import PatternRefused, portable

#: The types of names: ("trait", key), ("segment", key), and inside aggregates ("slot", name), ("argument", "").
Names: TypeAlias = Mapping[tuple[str, str], Dtype]

_NO_NAMES: Names = MappingProxyType({})

#: The decimals that `round` takes.
DECIMALS = frozenset({0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0})


def dtype_of(node: Expr, names: Names = _NO_NAMES) -> Dtype:
    """The kinds of value that an expression may give. Raises `TypeRefused` at a part that cannot fit.

    An inlined expression needs no names. An expression as written needs those of all traits and segments that it refers
    to. A bad pattern or salt raises `SyntaxRefused` or `TooLarge`.
    """
    return _dtype(node, names)


def require_boolean(dtype: Dtype, at: Span | None, where: str) -> None:
    """S4: refuses a type without booleans in a boolean place, where null is false."""
    if present(dtype) and "boolean" not in dtype:
        raise TypeRefused(
            f"{where} with {dtypes.name(dtype)}",
            at=at,
            expected="true or false; a value is compared, as in x > 0 or x != null",
        )


@lru_cache(maxsize=128)
def aggregate_dtype(name: str, has_property: bool) -> Dtype:
    """The kinds that an aggregate may give, by its slots and its present expression."""
    aggregate = AGGREGATES[name]
    argument: Names = {("argument", ""): ANY if has_property else BOOLEAN}
    slots: dict[tuple[str, str], Dtype] = {}
    for slot in aggregate.slots:
        match slot.monoid:
            case Add():
                slots["slot", slot.name] = NUMBER
            case Union():
                slots["slot", slot.name] = LIST
            case _:
                slots["slot", slot.name] = nullable(_dtype(slot.lift, argument))
    return _dtype(aggregate.present, slots)


# ── by node, in the order of `ops` ───────────────────────────────────────────────────────────────────────────────


@singledispatch
def _dtype(node: Expr, names: Names) -> Dtype:
    raise AssertionError(f"every node has a type, and {type(node).__name__} was forgotten")


@_dtype.register
def _(node: Constant, names: Names) -> Dtype:
    match node.value:
        case None:
            return NULL
        case bool():
            return BOOLEAN
        case float():
            return NUMBER
        case str():
            return STRING


@_dtype.register
def _(node: ListOf, names: Names) -> Dtype:
    return LIST


@_dtype.register(Attribute)
@_dtype.register(Property)
def _(node: Attribute | Property, names: Names) -> Dtype:
    return ANY


@_dtype.register
def _(node: TraitRef, names: Names) -> Dtype:
    return names["trait", node.key]


@_dtype.register
def _(node: SegmentRef, names: Names) -> Dtype:
    return names["segment", node.key]


@_dtype.register
def _(node: Aggregation, names: Names) -> Dtype:
    where = node.source.where
    if where is not None:
        require_boolean(_dtype(where, names), where.at, "where(…)")
    return aggregate_dtype(node.aggregate, node.source.property is not None)


@_dtype.register
def _(node: Not, names: Names) -> Dtype:
    require_boolean(_dtype(node.operand, names), node.operand.at, "!")
    return BOOLEAN


@_dtype.register(And)
@_dtype.register(Or)
def _(node: And | Or, names: Names) -> Dtype:
    for side in (node.left, node.right):
        require_boolean(_dtype(side, names), side.at, "&&" if isinstance(node, And) else "||")
    return BOOLEAN


@_dtype.register
def _(node: Compare, names: Names) -> Dtype:
    left, right = _dtype(node.left, names), _dtype(node.right, names)
    if node.op not in ("==", "!=") and not _have_order(left, right):
        given = f"{dtypes.name(left)} and {dtypes.name(right)}"
        raise TypeRefused(f"{node.op} between {given}", at=node.at, expected="two numbers or two strings")
    return BOOLEAN


@_dtype.register
def _(node: In, names: Names) -> Dtype:
    _dtype(node.item, names)
    collection = _dtype(node.collection, names)
    remedy = "; contains(text, part) looks inside a string" if present(collection) == STRING else ""
    _require(collection, LIST, node.collection.at, "in", remedy)
    return BOOLEAN


@_dtype.register
def _(node: Negate, names: Names) -> Dtype:
    _require(_dtype(node.operand, names), NUMBER, node.operand.at, "-")
    return nullable(NUMBER)


@_dtype.register
def _(node: Arithmetic, names: Names) -> Dtype:
    for side in (node.left, node.right):
        _require(_dtype(side, names), NUMBER, side.at, node.op)
    return nullable(NUMBER)


@_dtype.register
def _(node: Call, names: Names) -> Dtype:
    function = FUNCTIONS[node.function]
    given = [_dtype(arg, names) for arg in node.args]
    for index, (arg, dtype) in enumerate(zip(node.args, given, strict=True)):
        wanted = function.takes[min(index, len(function.takes) - 1)]
        if wanted == BOOLEAN:
            require_boolean(dtype, arg.at, function.name)
        else:
            _require(dtype, wanted, arg.at, function.name)
    if function.name == "round" and len(node.args) == 2:
        _require_decimals(node.args[1])
    if function.name in ("matches", "bucket"):
        _require_literal(node)
    if function.returns is not None:
        return function.returns
    values = given[1:] if function.name == "if" else given
    kinds: Dtype = frozenset().union(*values)
    if function.name == "coalesce" and not all("null" in dtype for dtype in values):
        return present(kinds)
    return kinds


@_dtype.register
def _(node: Argument, names: Names) -> Dtype:
    return names["argument", ""]


@_dtype.register(EventTime)
@_dtype.register(EventDay)
@_dtype.register(Now)
def _(node: EventTime | EventDay | Now, names: Names) -> Dtype:
    return NUMBER


@_dtype.register
def _(node: SlotValue, names: Names) -> Dtype:
    return names["slot", node.name]


def _have_order(left: Dtype, right: Dtype) -> bool:
    """Whether values of these kinds may be ordered. Null alone compares to false, which is no mistake of types."""
    left, right = present(left), present(right)
    if left and right:
        return bool(left & right & ORDERED)
    return not (left or right) or bool((left | right) & ORDERED)


def _require(dtype: Dtype, wanted: Dtype, at: Span | None, where: str, remedy: str = "") -> None:
    """Refuses a type whose kinds, null aside, all do not fit."""
    if present(dtype) and not present(dtype) & wanted:
        raise TypeRefused(f"{where} with {dtypes.name(dtype)}", at=at, expected=dtypes.name(wanted) + remedy)


def _require_literal(node: Call) -> None:
    """Refuses a pattern or a salt that is computed or too long, and a pattern that engines do not read alike."""
    literal = node.args[-1]
    if not isinstance(literal, Constant) or not isinstance(literal.value, str):
        what = "pattern" if node.function == "matches" else "salt"
        raise TypeRefused(f"{node.function} with a {what} that is computed", at=literal.at, expected="a text in quotes")
    if node.function == "matches":
        try:
            portable(literal.value)
        except PatternRefused as error:
            raise SyntaxRefused(str(error), at=literal.at, expected=error.remedy) from None
    elif len(literal.value) > SALT_CHARACTERS_MAX:
        raise TooLarge("a salt that long", at=literal.at, expected=f"at most {SALT_CHARACTERS_MAX} characters")


def _require_decimals(node: Expr) -> None:
    """Refuses decimals that are computed, or that `round` does not take."""
    if not isinstance(node, Constant) or isinstance(node.value, bool) or node.value not in DECIMALS:
        raise TypeRefused("decimals that round cannot keep", at=node.at, expected="a literal from 0 to 6")
