"""Names to definitions, and the check of types: what is saved has passed here.

`bind` takes all definitions at once and gives them in an order in which each comes after those it uses; `bind_one`
takes one more against those that are bound. Either way the bound tree has references replaced by what they stand for,
so no execution ever resolves a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, singledispatch
from typing import TypeAlias

from expressions import dtypes
from expressions.aggregates import AGGREGATES
from expressions.definitions import Bound, Definition, DefinitionKind
from expressions.dtypes import ANY, BOOLEAN, LIST, NULL, NUMBER, ORDERED, Dtype, nullable, present
from expressions.errors import CycleRefused, ExpressionError, TooLarge, TypeRefused, UnknownName, nearest_names
from expressions.functions import FUNCTIONS
from expressions.monoids import Add, Tally, Union
from expressions.ops import (
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
    transform,
    walk,
)
from expressions.parse import RESERVED, parse, parse_aggregate

Key: TypeAlias = tuple[DefinitionKind, str]

#: References multiply: ten traits that each use the one before twice are a thousand copies of the first.
INLINED_NODES_MAX = 20_000


@dataclass(frozen=True)
class Known:
    """Names that events and profiles have had so far: event name -> its properties, and attribute keys."""

    events: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()


def bind(definitions: Iterable[Definition], known: Known | None = None) -> dict[Key, Bound]:
    """All definitions, bound, each after those it uses. Raises the first error, which names its definition."""
    wanted = {(one.kind, one.key): one for one in definitions}
    written = {key: _parsed(one) for key, one in wanted.items()}
    bound: dict[Key, Bound] = {}
    for key in wanted:
        for following in _order(key, written, bound):
            bound[following] = _bound(wanted[following], written[following], bound, known)
    return bound


def bind_one(definition: Definition, others: Mapping[Key, Bound], known: Known | None = None) -> Bound:
    """One definition against those that are bound, one of its own key replaced. Raises `ExpressionError`."""
    key = (definition.kind, definition.key)
    written = {one: bound.written for one, bound in others.items()} | {key: _parsed(definition)}
    _order(key, written, {})
    return _bound(definition, written[key], {one: bound for one, bound in others.items() if one != key}, known)


def dependents(key: Key, bounds: Mapping[Key, Bound]) -> list[Key]:
    """What refers to a definition directly, sorted."""
    return sorted(one for one, bound in bounds.items() if key in bound.uses)


def references(node: Expr) -> list[tuple[Key, Span | None]]:
    """What an expression names, in order."""
    found: list[tuple[Key, Span | None]] = []
    for one in walk(node):
        if isinstance(one, TraitRef):
            found.append((("trait", one.key), one.at))
        elif isinstance(one, SegmentRef):
            found.append((("segment", one.key), one.at))
    return found


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parsed(definition: Definition) -> Expr:
    try:
        if definition.kind == "trait":
            _check_key(definition.key)
        return parse(definition.expression)
    except ExpressionError as error:
        raise error.of(definition.kind, definition.key).with_text(definition.expression) from None


def _check_key(key: str) -> None:
    try:
        found = parse_aggregate(key)
    except ExpressionError:
        found = ("count", None)  # such as count_0d: reads as one, only wrong
    if found is not None and AGGREGATES[found[0]].takes == "optional":
        raise UnknownName(
            f"{key} is the name of an aggregate over all events, so a trait cannot have it", expected="another key"
        )
    if key in RESERVED:
        raise UnknownName(f"{key} is a word of the language, so a trait cannot have it", expected="another key")


def _order(start: Key, written: Mapping[Key, Expr], done: Mapping[Key, Bound]) -> list[Key]:
    """What must be bound for `start`, itself last, without what is done. Raises `CycleRefused`."""
    order: list[Key] = []
    seen = set(done)
    open_: list[tuple[Key, list[Key]]] = []

    def enter(key: Key) -> None:
        open_.append((key, [one for one, _ in references(written[key]) if one in written]))

    if start not in seen:
        enter(start)
    while open_:
        key, waiting = open_[-1]
        if not waiting:
            open_.pop()
            seen.add(key)
            order.append(key)
            continue
        following = waiting.pop(0)
        path = [one for one, _ in open_]
        if following in path:
            cycle = [*path[path.index(following) :], following]
            raise CycleRefused(
                f"{' needs '.join(f'{kind} {name}' for kind, name in cycle)}",
                at=next(at for one, at in references(written[key]) if one == following),
                expected="definitions that do not need each other",
            ).of(*key)
        if following not in seen:
            enter(following)
    return order


def _bound(definition: Definition, written: Expr, others: Mapping[Key, Bound], known: Known | None) -> Bound:
    try:
        expr = _inlined(written, others)
        _check(written, others)
        dtype = dtype_of(expr)
        if definition.kind != "trait":
            _require_boolean(dtype, written.at, f"a {definition.kind}'s rule")
            if not dtype <= BOOLEAN:
                expr = Not(Not(expr))  # what S4 makes of it
        uses = frozenset(key for key, _ in references(written))
        return Bound(definition, written, expr, uses, tuple(_warnings(written, known) if known else ()))
    except ExpressionError as error:
        raise error.of(definition.kind, definition.key).with_text(definition.expression) from None


def _inlined(written: Expr, others: Mapping[Key, Bound]) -> Expr:
    """The tree with every reference replaced by what it stands for. Raises `UnknownName`, `TooLarge`."""
    size = 0
    for (kind, name), at in references(written):
        bound = others.get((kind, name))
        if bound is None:
            keys = [key for other, key in others if other == kind]
            raise UnknownName(
                f"no {kind} {name}", at=at, expected=_remedy(name, kind), nearest=nearest_names(name, keys)
            )
        size += sum(1 for _ in walk(bound.expr))
        if size > INLINED_NODES_MAX:
            raise TooLarge("too much, with all that it refers to", at=at, expected="fewer references")

    def change(node: Expr) -> Expr:
        match node:
            case TraitRef(key):
                return replace(others[("trait", key)].expr, at=node.at)
            case SegmentRef(key):
                return replace(others[("segment", key)].expr, at=node.at)
            case _:
                return node

    return transform(written, change)


def _remedy(name: str, kind: str) -> str:
    if kind == "trait" and parse_aggregate(name) is not None:
        return f"a property, as in events.EVENT.PROPERTY.{name}"
    if kind == "trait":
        return f"a trait, a root aggregate, events.… or profile.{name}"
    return "the key of a segment"


def _warnings(written: Expr, known: Known) -> Iterable[str]:
    """S9: names that were never seen are saved with a warning."""

    def unseen(what: str, name: str, names: Iterable[str]) -> str:
        nearest = nearest_names(name, names)
        return f"{what} {name} was never seen" + (f"; did you mean {' or '.join(nearest)}?" if nearest else "")

    for node in walk(written):
        if isinstance(node, Attribute) and node.key not in known.attributes:
            yield unseen("profile attribute", node.key, known.attributes)
        if isinstance(node, Aggregation) and node.source.event is not None:
            properties = known.events.get(node.source.event)
            if properties is None:
                yield unseen("event", node.source.event, known.events)
                continue
            read = (
                [one.name for one in walk(node.source.where) if isinstance(one, Property)] if node.source.where else []
            )
            for name in [*read, *([node.source.property] if node.source.property else [])]:
                if name not in properties:
                    yield unseen(f"property of {node.source.event}", name, properties)


# ── types ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check(written: Expr, others: Mapping[Key, Bound]) -> None:
    """Checks the text as written, so that an error stands where its author put it and not inside what it refers to."""
    known = {
        key: dtype_of(bound.expr) for key, bound in others.items() if key in {one for one, _ in references(written)}
    }
    _dtype(written, known)


def dtype_of(node: Expr) -> Dtype:
    """The kinds of value an inlined expression may give. Raises `TypeRefused` where none fits."""
    return _dtype(node, {})


@singledispatch
def _dtype(node: Expr, known: Mapping[Key, Dtype]) -> Dtype:
    raise TypeError(f"{type(node).__name__} has no type")


@_dtype.register
def _(node: Constant, known: Mapping[Key, Dtype]) -> Dtype:
    match node.value:
        case None:
            return NULL
        case bool():
            return BOOLEAN
        case float():
            return NUMBER
        case str():
            return dtypes.STRING


@_dtype.register
def _(node: ListOf, known: Mapping[Key, Dtype]) -> Dtype:
    return LIST


@_dtype.register
def _(node: Attribute, known: Mapping[Key, Dtype]) -> Dtype:
    return ANY


@_dtype.register
def _(node: Property, known: Mapping[Key, Dtype]) -> Dtype:
    return ANY


@_dtype.register
def _(node: TraitRef, known: Mapping[Key, Dtype]) -> Dtype:
    return known[("trait", node.key)]


@_dtype.register
def _(node: SegmentRef, known: Mapping[Key, Dtype]) -> Dtype:
    return known[("segment", node.key)]


@_dtype.register
def _(node: Aggregation, known: Mapping[Key, Dtype]) -> Dtype:
    if node.source.where is not None:
        _require_boolean(_dtype(node.source.where, known), node.source.where.at, "where(…)")
    return aggregate_dtype(node.aggregate, node.source.property is not None)


@lru_cache(maxsize=128)
def aggregate_dtype(name: str, has_property: bool) -> Dtype:
    """The kinds that an aggregate's present expression gives."""
    aggregate = AGGREGATES[name]
    slots: dict[Key, Dtype] = {}
    for slot in aggregate.slots:
        lifted = _dtype(slot.lift, {("trait", "argument"): ANY if has_property else BOOLEAN})
        match slot.monoid:
            case Add():
                slots[("trait", slot.name)] = NUMBER
            case Union():
                slots[("trait", slot.name)] = LIST
            case Tally():
                slots[("trait", slot.name)] = nullable(lifted)
            case _:
                slots[("trait", slot.name)] = nullable(lifted)
    return _dtype(aggregate.present, slots)


@_dtype.register
def _(node: Not, known: Mapping[Key, Dtype]) -> Dtype:
    _require_boolean(_dtype(node.operand, known), node.operand.at, "!")
    return BOOLEAN


@_dtype.register(And)
@_dtype.register(Or)
def _(node: And | Or, known: Mapping[Key, Dtype]) -> Dtype:
    for side in (node.left, node.right):
        _require_boolean(_dtype(side, known), side.at, "&&" if isinstance(node, And) else "||")
    return BOOLEAN


@_dtype.register
def _(node: Compare, known: Mapping[Key, Dtype]) -> Dtype:
    left, right = present(_dtype(node.left, known)), present(_dtype(node.right, known))
    if node.op not in ("==", "!=") and left and right and not left & right & ORDERED:
        raise TypeRefused(
            f"{node.op} between {dtypes.name(left)} and {dtypes.name(right)}",
            at=node.at,
            expected="two numbers or two strings",
        )
    return BOOLEAN


@_dtype.register
def _(node: In, known: Mapping[Key, Dtype]) -> Dtype:
    _dtype(node.item, known)
    _require(_dtype(node.collection, known), LIST, node.collection.at, "in")
    return BOOLEAN


@_dtype.register
def _(node: Negate, known: Mapping[Key, Dtype]) -> Dtype:
    _require(_dtype(node.operand, known), NUMBER, node.operand.at, "-")
    return nullable(NUMBER)


@_dtype.register
def _(node: Arithmetic, known: Mapping[Key, Dtype]) -> Dtype:
    for side in (node.left, node.right):
        _require(_dtype(side, known), NUMBER, side.at, node.op)
    return nullable(NUMBER)


@_dtype.register
def _(node: Call, known: Mapping[Key, Dtype]) -> Dtype:
    function = FUNCTIONS[node.function]
    given = [_dtype(arg, known) for arg in node.args]
    for index, (arg, dtype) in enumerate(zip(node.args, given, strict=True)):
        wanted = function.takes[min(index, len(function.takes) - 1)]
        if wanted == BOOLEAN:
            _require_boolean(dtype, arg.at, node.function)
        else:
            _require(dtype, wanted, arg.at, node.function)
    if node.function == "round" and len(node.args) == 2:
        _require_decimals(node.args[1])
    if function.returns is not None:
        return function.returns
    if node.function == "coalesce":
        return frozenset().union(*(present(dtype) for dtype in given)) | (
            NULL if all(map(_may_be_null, given)) else set()
        )
    return frozenset().union(*given[1:])


@_dtype.register
def _(node: Argument, known: Mapping[Key, Dtype]) -> Dtype:
    return known[("trait", "argument")]


@_dtype.register(EventTime)
@_dtype.register(EventDay)
@_dtype.register(Now)
def _(node: Expr, known: Mapping[Key, Dtype]) -> Dtype:
    return NUMBER


@_dtype.register
def _(node: SlotValue, known: Mapping[Key, Dtype]) -> Dtype:
    return known[("trait", node.name)]


def _may_be_null(dtype: Dtype) -> bool:
    return "null" in dtype


def _require(dtype: Dtype, wanted: Dtype, at: Span | None, where: str) -> None:
    """Refuses what can be nothing but null or a kind that does not fit; a null alone is let through."""
    if present(dtype) and not present(dtype) & wanted:
        raise TypeRefused(f"{where} with {dtypes.name(dtype)}", at=at, expected=dtypes.name(wanted))


def _require_boolean(dtype: Dtype, at: Span | None, where: str) -> None:
    """S4: in a boolean place a known other type is refused."""
    if present(dtype) and "boolean" not in dtype:
        raise TypeRefused(
            f"{where} with {dtypes.name(dtype)}", at=at, expected="true or false; compare it, as in x > 0 or x != null"
        )


def _require_decimals(node: Expr) -> None:
    if not isinstance(node, Constant) or node.value not in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0) or node.value is False:
        raise TypeRefused(
            "round to a number of decimals that is not fixed", at=node.at, expected="a literal from 0 to 6"
        )
