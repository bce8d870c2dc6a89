"""The canonical text of an expression, in one line or in several. To parse it gives the same tree again."""

from __future__ import annotations

from functools import singledispatch

from ..errors import ExpressionError
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
from .balanced import operands_of
from .names import RESERVED, backticked, is_plain, path, quoted, root_aggregate_named
from .parse import BINDS, BINDS_UNARY

_PRIMARY = 10

#: Characters of a line of `laid_out`, and how far what is inside is indented.
WIDTH, _INDENT = 100, 4


def format_expression(node: Expr) -> str:
    """The text of a tree."""
    return _written(node)[0]


def laid_out(node: Expr) -> str:
    """The text of a tree as an editor shows it: a group that is longer than `WIDTH` has a line for each part."""
    return "\n".join(_lines(node, WIDTH))


def _lines(node: Expr, room: int) -> list[str]:
    """The lines of a node. A line may have a line break of its own, inside a text in quotes."""
    text, binds = _written(node)
    if len(text) <= room or not isinstance(node, And | Or):
        return [text]
    mark = "&&" if isinstance(node, And) else "||"
    lines: list[str] = []
    for operand in operands_of(node) or [node.left, node.right]:
        part, inside = _written(operand)
        if inside > binds:
            first, *others = _lines(operand, room - _INDENT)
            part_lines = [first, *(" " * _INDENT + line for line in others)]
        elif len(part) + 2 <= room:
            part_lines = [f"({part})"]
        else:
            part_lines = ["(", *(" " * _INDENT + line for line in _lines(operand, room - _INDENT)), ")"]
        lines += [f"{mark} {part_lines[0]}" if lines else part_lines[0], *part_lines[1:]]
    return lines


def number_text(value: float) -> str:
    """The shortest text that is read as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@singledispatch
def _written(node: Expr) -> tuple[str, int]:
    """The text of a node, and how tightly it binds."""
    raise TypeError(f"{type(node).__name__} has no text: it stands only inside the table of aggregates")


def _inside(node: Expr, least: int) -> str:
    """The text of a node inside another: in parentheses if it binds less tightly than `least`."""
    text, binds = _written(node)
    return text if binds >= least else f"({text})"


def _parts(name: str) -> list[str]:
    """The names of a dotted name. One with an empty part is a whole, since no name is empty."""
    parts = name.split(".")
    return parts if all(parts) else [name]


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


@_written.register
def _(node: Attribute) -> tuple[str, int]:
    return f"profile{path([node.key, *node.path])}", _PRIMARY


@_written.register
def _(node: Property) -> tuple[str, int]:
    first, *rest = _parts(node.name)
    return (first if is_plain(first) and first not in RESERVED else backticked(first)) + path(rest), _PRIMARY


@_written.register
def _(node: TraitRef) -> tuple[str, int]:
    return node.key if _is_trait(node.key) else f"trait({quoted(node.key)})", _PRIMARY


def _is_trait(word: str) -> bool:
    """Whether a bare word is read as a trait of that key, as the key of every saved trait is."""
    try:
        return is_plain(word) and word not in RESERVED and root_aggregate_named(word) is None
    except ExpressionError:
        return False  # such as count_0d: reads as an aggregate, only a wrong one


@_written.register
def _(node: SegmentRef) -> tuple[str, int]:
    return f"segment({quoted(node.key)})", _PRIMARY


@_written.register
def _(node: Aggregation) -> tuple[str, int]:
    word = node.aggregate + (f"_{node.window}" if node.window else "")
    if node.source == Source():
        return word, _PRIMARY
    where = f".where({format_expression(node.source.where)})" if node.source.where else ""
    property_ = path(_parts(node.source.property)) if node.source.property is not None else ""
    return f"events{path([node.source.event or ''])}{where}{property_}.{word}", _PRIMARY


@_written.register
def _(node: Not) -> tuple[str, int]:
    if isinstance(node.operand, In):
        return _membership(node.operand, "not in")
    return f"!{_inside(node.operand, BINDS_UNARY)}", BINDS_UNARY


@_written.register(And)
@_written.register(Or)
def _(node: And | Or) -> tuple[str, int]:
    mark, binds = ("&&", BINDS["and"]) if isinstance(node, And) else ("||", BINDS["or"])
    # Parentheses keep the shape of a tree that the parser would make in another one.
    operands = operands_of(node) or [node.left, node.right]
    return f" {mark} ".join(_inside(operand, binds + 1) for operand in operands), binds


@_written.register(Compare)
@_written.register(Arithmetic)
def _(node: Compare | Arithmetic) -> tuple[str, int]:
    binds = BINDS[node.op]
    return f"{_inside(node.left, binds)} {node.op} {_inside(node.right, binds + 1)}", binds


@_written.register
def _(node: In) -> tuple[str, int]:
    return _membership(node, "in")


def _membership(node: In, word: str) -> tuple[str, int]:
    binds = BINDS["in"]
    return f"{_inside(node.item, binds)} {word} {_inside(node.collection, binds + 1)}", binds


@_written.register
def _(node: Negate) -> tuple[str, int]:
    if isinstance(node.operand, Constant) and isinstance(node.operand.value, float):
        return f"-({format_expression(node.operand)})", BINDS_UNARY  # without ( ) it is read as a negative number
    return f"-{_inside(node.operand, BINDS_UNARY)}", BINDS_UNARY


@_written.register
def _(node: Call) -> tuple[str, int]:
    return f"{node.function}({', '.join(map(format_expression, node.args))})", _PRIMARY
