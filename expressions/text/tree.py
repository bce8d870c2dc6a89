"""The tree of an expression as plain JSON, both ways: editors underline by it, and visual builders make it.

Each node is an object whose `node` says what it is:

    value      value: null, true, a number, a string        list       items: [value …]
    attribute  key, path: [name …]                          property   name (dotted); only inside `where`
    trait      key                                          segment    key
    aggregate  aggregate, event, property, where, window    each but the first null where it does not apply
    compare    op, left, right                              in         item, collection
    and, or    parts: [node, node …]                        not        part
    arithmetic op, left, right                              negate     part
    call       function, args: [node …]

A tree that is given also has the place of each node in its text, `start` and `end`; they are not read back. `and` and
`or` hold as many parts as stand behind each other. So a group of the same kind inside a group is given as one group
where that is the same tree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any, TypeAlias

from ..aggregates import AGGREGATES
from ..errors import ExpressionError, TooLarge, TreeRefused
from ..ops import (
    Aggregation,
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Or,
    Property,
    SegmentRef,
    Source,
    TraitRef,
)
from ..rules.values import GAPS_FROM
from .balanced import balanced, operands_of
from .format import laid_out
from .names import aggregate_named
from .parse import DEPTH_MAX, NODES_MAX, parse

Json: TypeAlias = dict[str, Any]

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_OPERATIONS = ("+", "-", "*", "/", "%")


# ── to JSON, in the order of `ops` ───────────────────────────────────────────────────────────────────────────────


def tree_of(node: Expr) -> Json:
    """The JSON of a tree, each node with its place where it has one."""
    place = {} if node.at is None else {"start": node.at.start, "end": node.at.end}
    return {**_told(node), **place}


@singledispatch
def _told(node: Expr) -> Json:
    raise TypeError(f"{type(node).__name__} has no JSON: it stands only inside the table of aggregates")


@_told.register
def _(node: Constant) -> Json:
    value = node.value
    # A whole number is written as one, as authors write it.
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < GAPS_FROM
    return {"node": "value", "value": int(value) if is_whole else value}  # type: ignore[arg-type]


@_told.register
def _(node: ListOf) -> Json:
    return {"node": "list", "items": [tree_of(item) for item in node.items]}


@_told.register
def _(node: Attribute) -> Json:
    return {"node": "attribute", "key": node.key, "path": list(node.path)}


@_told.register
def _(node: Property) -> Json:
    return {"node": "property", "name": node.name}


@_told.register
def _(node: TraitRef) -> Json:
    return {"node": "trait", "key": node.key}


@_told.register
def _(node: SegmentRef) -> Json:
    return {"node": "segment", "key": node.key}


@_told.register
def _(node: Aggregation) -> Json:
    source = node.source
    return {
        "node": "aggregate",
        "aggregate": node.aggregate,
        "event": source.event,
        "property": source.property,
        "where": None if source.where is None else tree_of(source.where),
        "window": None if node.window is None else str(node.window),
    }


@_told.register
def _(node: Not) -> Json:
    return {"node": "not", "part": tree_of(node.operand)}


@_told.register(And)
@_told.register(Or)
def _(node: And | Or) -> Json:
    operands = operands_of(node) or [node.left, node.right]
    return {"node": "and" if isinstance(node, And) else "or", "parts": [tree_of(operand) for operand in operands]}


@_told.register(Compare)
@_told.register(Arithmetic)
def _(node: Compare | Arithmetic) -> Json:
    kind = "compare" if isinstance(node, Compare) else "arithmetic"
    return {"node": kind, "op": node.op, "left": tree_of(node.left), "right": tree_of(node.right)}


@_told.register
def _(node: In) -> Json:
    return {"node": "in", "item": tree_of(node.item), "collection": tree_of(node.collection)}


@_told.register
def _(node: Negate) -> Json:
    return {"node": "negate", "part": tree_of(node.operand)}


@_told.register
def _(node: Call) -> Json:
    return {"node": "call", "function": node.function, "args": [tree_of(arg) for arg in node.args]}


# ── the common shapes ────────────────────────────────────────────────────────────────────────────────────────────

_READ = (Aggregation, Attribute, TraitRef, SegmentRef)


def beyond_shapes(tree: Expr) -> Expr | None:
    """The first part that is no common shape; None where a builder can show all.

    The shapes are: groups of conditions by and, or, not; a condition is an aggregate, an attribute, a trait or a
    segment, alone or compared with a constant, or `in` a list of constants. A `where` holds the same, of properties.
    """
    return _beyond(tree, _READ)


def _beyond(node: Expr, read: tuple[type[Expr], ...]) -> Expr | None:
    match node:
        case And(left, right) | Or(left, right):
            return _beyond(left, read) or _beyond(right, read)
        case Not(operand):
            return _beyond(operand, read)
        case Compare(_, left, right):
            return _operand(left, read) or (None if isinstance(right, Constant) else right)
        case In(item, collection):
            return _operand(item, read) or (None if isinstance(collection, ListOf) else collection)
        case Constant(bool()):
            return None
        case _:
            return _operand(node, read)


def _operand(node: Expr, read: tuple[type[Expr], ...]) -> Expr | None:
    if not isinstance(node, read):
        return node
    if isinstance(node, Aggregation) and node.source.where is not None:
        return _beyond(node.source.where, (Property,))
    return None


# ── from JSON ────────────────────────────────────────────────────────────────────────────────────────────────────


def text_of(tree: object) -> str:
    """The canonical text of a tree that came as JSON.

    Raises `TreeRefused`, which names the part by its way from the root, as in `tree.parts[1].left`; `TooLarge`, and
    what `parse` raises, with its place in the text.
    """
    expr = _Reader().node(tree, "tree", is_in_where=False)
    text = laid_out(expr)
    try:
        read = parse(text)
    except ExpressionError as error:
        raise error.with_text(text) from None
    if read != expr:
        raise TreeRefused("this tree has no text", "tree", "a tree as `validate` gives it")
    return text


class _Reader:
    """Reads nodes, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def node(self, json: object, way: str, *, is_in_where: bool, level: int = 1) -> Expr:
        """The node that an object says, at this way from the root."""
        if not isinstance(json, Mapping):
            raise TreeRefused("a part that is no object", way, 'an object such as {"node": "value", "value": 5}')
        self.count += 1
        if self.count > NODES_MAX:
            raise TooLarge(f"more than {NODES_MAX} parts", expected="a trait of its own for a part")
        if level > DEPTH_MAX:
            raise TooLarge(f"more than {DEPTH_MAX} levels", expected="a trait of its own for a part")
        read = _NODES.get(_text(json, "node", way))
        if read is None:
            raise TreeRefused(f"no node {json['node']}", f"{way}.node", f"one of {', '.join(_NODES)}")
        return read(_Part(self, json, way, is_in_where, level))


class _Part:
    """An object of a tree, and its fields by kind."""

    def __init__(self, reader: _Reader, json: Mapping[str, Any], way: str, is_in_where: bool, level: int) -> None:
        self.reader, self.json, self.way, self.is_in_where, self.level = reader, json, way, is_in_where, level

    def child(self, field: str) -> Expr:
        return self._node(self.json.get(field), f"{self.way}.{field}")

    def where(self) -> Expr | None:
        json = self.json.get("where")
        if json is None:
            return None
        way = f"{self.way}.where"
        return self.reader.node(json, way, is_in_where=True, level=self.level + 1)

    def children(self, field: str) -> list[Expr]:
        items = self.json.get(field)
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise TreeRefused(f"{field} is no list", f"{self.way}.{field}", "a list of nodes")
        return [self._node(item, f"{self.way}.{field}[{index}]") for index, item in enumerate(items)]

    def text(self, field: str) -> str:
        return _text(self.json, field, self.way)

    def text_or_none(self, field: str) -> str | None:
        return None if self.json.get(field) is None else self.text(field)

    def one_of(self, field: str, allowed: Sequence[str]) -> str:
        value = self.text(field)
        if value not in allowed:
            raise TreeRefused(f"no {field} {value}", f"{self.way}.{field}", f"one of {', '.join(allowed)}")
        return value

    def refused(self, message: str, expected: str, field: str = "") -> TreeRefused:
        return TreeRefused(message, f"{self.way}.{field}" if field else self.way, expected)

    def _node(self, json: object, way: str) -> Expr:
        return self.reader.node(json, way, is_in_where=self.is_in_where, level=self.level + 1)


def _text(json: Mapping[str, Any], field: str, way: str) -> str:
    value = json.get(field)
    if not isinstance(value, str):
        raise TreeRefused(f"{field} is no text", f"{way}.{field}", "a text")
    return value


def _value(part: _Part) -> Expr:
    value = part.json.get("value", ...)
    match value:
        case None | bool() | str():
            return Constant(value)
        case int() | float() if abs(value) <= sys.float_info.max:
            return Constant(float(value))
    raise part.refused("no value of the language", "null, true, false, a number or a string", "value")


def _list(part: _Part) -> Expr:
    return ListOf(tuple(part.children("items")))


def _attribute(part: _Part) -> Expr:
    path = part.json.get("path") or []
    if not isinstance(path, list) or not all(isinstance(name, str) for name in path):
        raise part.refused("path is no list of names", "a list of names, or none", "path")
    return Attribute(part.text("key"), tuple(path))


def _property(part: _Part) -> Expr:
    if not part.is_in_where:
        raise part.refused("a property outside of where", "an attribute, a trait or an aggregate")
    return Property(part.text("name"))


def _reference(node: type[TraitRef] | type[SegmentRef]) -> Callable[[_Part], Expr]:
    def read(part: _Part) -> Expr:
        if part.is_in_where:
            raise part.refused(f"a {part.json['node']} inside where", "properties of the event")
        return node(part.text("key"))

    return read


def _aggregation(part: _Part) -> Expr:
    name = part.one_of("aggregate", tuple(AGGREGATES))
    event, property_, window = (part.text_or_none(field) for field in ("event", "property", "window"))
    where = part.where()
    if event is None and (property_ is not None or where is not None):
        raise part.refused("a property or a condition without an event", "the event's name, or neither", "event")
    if AGGREGATES[name].takes == "required" and property_ is None:
        raise part.refused(f"{name} needs a property", "the name of a property of the event", "property")
    try:
        read = aggregate_named(f"{name}_{window}") if window is not None else (name, None)
    except ExpressionError as error:
        raise part.refused(error.message, error.expected, "window") from None
    if read is None or read[0] != name:
        raise part.refused(f"no window {window}", "a window such as 30d, or null for all time", "window")
    return Aggregation(name, Source(event, where, property_), read[1])


def _group(node: type[And] | type[Or]) -> Callable[[_Part], Expr]:
    def read(part: _Part) -> Expr:
        parts = part.children("parts")
        if not parts:
            raise part.refused("a group without parts", "one part or more", "parts")
        return balanced(node, parts)

    return read


def _call(part: _Part) -> Expr:
    return Call(part.text("function"), tuple(part.children("args")))


_NODES: dict[str, Callable[[_Part], Expr]] = {
    "value": _value,
    "list": _list,
    "attribute": _attribute,
    "property": _property,
    "trait": _reference(TraitRef),
    "segment": _reference(SegmentRef),
    "aggregate": _aggregation,
    "not": lambda part: Not(part.child("part")),
    "and": _group(And),
    "or": _group(Or),
    "compare": lambda part: Compare(part.one_of("op", _COMPARISONS), part.child("left"), part.child("right")),  # type: ignore[arg-type]
    "in": lambda part: In(part.child("item"), part.child("collection")),
    "negate": lambda part: Negate(part.child("part")),
    "arithmetic": lambda part: Arithmetic(part.one_of("op", _OPERATIONS), part.child("left"), part.child("right")),  # type: ignore[arg-type]
    "call": _call,
}
