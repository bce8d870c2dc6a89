"""Nodes to text: the canonical way to write an expression. Reading it back gives the same tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import singledispatch

from expressions.ops import (
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

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNARY = 9
_PRIMARY = 10
_BINDS = {"==": 4, "!=": 4, "<": 5, "<=": 5, ">": 5, ">=": 5, "+": 7, "-": 7, "*": 8, "/": 8, "%": 8}


def format_expression(node: Expr) -> str:
    """The text of a tree."""
    return _written(node)[0]


def quoted(text: str) -> str:
    """A string as it is written: in double quotes, quotes and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def number_text(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@singledispatch
def _written(node: Expr) -> tuple[str, int]:
    """The text of a node and how tightly it holds together."""
    raise TypeError(f"{type(node).__name__} has no text: it stands only inside the table of aggregates")


def _inside(node: Expr, least: int) -> str:
    text, binds = _written(node)
    return text if binds >= least else f"({text})"


@_written.register
def _(node: Constant) -> tuple[str, int]:
    match node.value:
        case None:
            return "null", _PRIMARY
        case bool():
            return ("true" if node.value else "false"), _PRIMARY
        case float():
            return number_text(node.value), _PRIMARY
        case str():
            return quoted(node.value), _PRIMARY


@_written.register
def _(node: ListOf) -> tuple[str, int]:
    return f"[{', '.join(map(format_expression, node.items))}]", _PRIMARY


def _path(names: tuple[str, ...] | list[str]) -> str:
    return "".join(f".{name}" if _PLAIN.fullmatch(name) else f"[{quoted(name)}]" for name in names)


@_written.register
def _(node: Attribute) -> tuple[str, int]:
    return f"profile{_path([node.key, *node.path])}", _PRIMARY


@_written.register
def _(node: Property) -> tuple[str, int]:
    first, *rest = node.name.split(".")
    plain = _PLAIN.fullmatch(first) and first not in _KEPT_WORDS
    return (first if plain else f"`{first}`") + _path(rest), _PRIMARY


_KEPT_WORDS = frozenset({"true", "false", "null", "in", "and", "or", "not", "events", "profile"})


@_written.register
def _(node: TraitRef) -> tuple[str, int]:
    return f"trait({quoted(node.key)})", _PRIMARY


@_written.register
def _(node: SegmentRef) -> tuple[str, int]:
    return f"segment({quoted(node.key)})", _PRIMARY


@_written.register
def _(node: Aggregation) -> tuple[str, int]:
    word = node.aggregate + (f"_{node.window}" if node.window else "")
    if node.source == Source():
        return word, _PRIMARY
    where = f".where({format_expression(node.source.where)})" if node.source.where else ""
    property_ = _path(node.source.property.split(".")) if node.source.property is not None else ""
    return f"events{_path([node.source.event or ''])}{where}{property_}.{word}", _PRIMARY


@_written.register
def _(node: Not) -> tuple[str, int]:
    return f"!{_inside(node.operand, _UNARY)}", _UNARY


def _chain(mark: str, binds: int) -> Callable[[And | Or], tuple[str, int]]:
    def written(node: And | Or) -> tuple[str, int]:
        # The parser makes balanced trees of its own, so a tree of another shape keeps its shape by parentheses.
        left, right = _inside(node.left, binds + 1), _inside(node.right, binds + 1)
        return f"{left} {mark} {right}", binds

    return written


_written.register(And, _chain("&&", 2))
_written.register(Or, _chain("||", 1))


@_written.register
def _(node: Compare) -> tuple[str, int]:
    binds = _BINDS[node.op]
    return f"{_inside(node.left, binds)} {node.op} {_inside(node.right, binds + 1)}", binds


@_written.register
def _(node: In) -> tuple[str, int]:
    return f"{_inside(node.item, 6)} in {_inside(node.collection, 7)}", 6


@_written.register
def _(node: Negate) -> tuple[str, int]:
    return f"-{_inside(node.operand, _UNARY)}", _UNARY


@_written.register
def _(node: Arithmetic) -> tuple[str, int]:
    binds = _BINDS[node.op]
    return f"{_inside(node.left, binds)} {node.op} {_inside(node.right, binds + 1)}", binds


@_written.register
def _(node: Call) -> tuple[str, int]:
    return f"{node.function}({', '.join(map(format_expression, node.args))})", _PRIMARY
