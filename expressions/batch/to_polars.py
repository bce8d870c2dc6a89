"""The execution in Polars: nodes as expressions over a frame.

A node becomes a *cell* (`cells`), computed where a `Scope` says. `functions` has what calls and arithmetic compute,
`lifting` what events contribute, `folds` how contributions combine, `states` one state a need and id, and `frames` the
answers.

The nodes stand in the order of `ops.py`. Those that are missing here are leaves: `lifting`, `states` and `frames` give
their cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import TypeAlias

import polars as pl

from ..ops import (
    And,
    Arithmetic,
    Call,
    Compare,
    Constant,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Or,
)
from ..rules.dtypes import Kind
from ..rules.values import Value
from .cells import Cell, any_of, boolean_cell, finite_cell, holds, holds_item, is_null, item_key, same
from .functions import ARITHMETIC, FUNCTIONS, bucket, coalesce, days_since, matches, rounded
from .instants import Instants

#: The cell of a leaf; None for a node that is none.
Leaf: TypeAlias = Callable[[Expr], "Cell | None"]

#: So many levels of an expression are computed as one.
LEVELS = 4


@dataclass(frozen=True)
class Scope:
    """Where an expression is computed: the rows of one frame.

    `leaf` gives the cells of leaves. `instants` say what the clock shows; None where nothing may read it. `let_cell`
    makes columns of a cell and gives the cell that reads them.

    The node around a cell may read it several times (S1 alone does so twice: equal, or both null), which doubles the
    work with each level. A column is computed once. So every few levels become columns, and so does every calculation:
    a remainder of a rounded number was once a query of gigabytes. So do the parts of `shared`, which are used more than
    once. `cells` has what was compiled here: each distinct part once.
    """

    leaf: Leaf
    instants: Instants | None
    let_cell: Callable[[Cell], Cell] = lambda cell: cell
    shared: frozenset[Expr] = frozenset()
    cells: dict[Expr, Cell] = field(default_factory=dict)


def compile_cell(node: Expr, scope: Scope) -> Cell:
    """An expression as a cell. Raises TypeError for a node that Polars does not know there."""
    leaf = scope.leaf(node)
    if leaf is not None:
        return leaf
    cell = scope.cells.get(node)
    if cell is None:
        cell = _compiled(node, scope)
        is_heavy = node.levels > 1 and isinstance(node, (Arithmetic, Call))  # rounding reads its number a dozen times
        if is_heavy or node.levels % LEVELS == 0 or node in scope.shared:
            cell = scope.let_cell(cell)
        scope.cells[node] = cell
    return cell


# ── nodes, in the order of ops.py ────────────────────────────────────────────────────────────────────────────────


@singledispatch
def _compiled(node: Expr, scope: Scope) -> Cell:
    raise TypeError(f"to_polars does not know {type(node).__name__} here")


@_compiled.register
def _(node: Constant, scope: Scope) -> Cell:
    match node.value:
        case None:
            return Cell({})
        case bool():
            return Cell({"boolean": pl.lit(node.value)})
        case float():
            return Cell({"number": pl.lit(node.value, dtype=pl.Float64)})
        case str():
            return Cell({"string": pl.lit(node.value, dtype=pl.String)})


@_compiled.register
def _(node: ListOf, scope: Scope) -> Cell:
    return Cell({"list": pl.lit([item_key(value) for value in _constants(node)], dtype=pl.List(pl.String))})


def _constants(node: ListOf) -> list[Value]:
    return [item.value for item in node.items if isinstance(item, Constant)]


@_compiled.register
def _(node: Not, scope: Scope) -> Cell:
    return boolean_cell(~holds(compile_cell(node.operand, scope)))


@_compiled.register
def _(node: And, scope: Scope) -> Cell:
    return boolean_cell(holds(compile_cell(node.left, scope)) & holds(compile_cell(node.right, scope)))


@_compiled.register
def _(node: Or, scope: Scope) -> Cell:
    return boolean_cell(holds(compile_cell(node.left, scope)) | holds(compile_cell(node.right, scope)))


_ORDER: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@_compiled.register
def _(node: Compare, scope: Scope) -> Cell:
    left, right = compile_cell(node.left, scope), compile_cell(node.right, scope)
    if node.op in ("==", "!="):
        return boolean_cell(same(left, right) if node.op == "==" else ~same(left, right))
    kinds: list[Kind] = [kind for kind in left.kinds if kind in right.kinds and kind in ("number", "string")]
    compare = _ORDER[node.op]
    return boolean_cell(any_of(compare(left.kinds[kind], right.kinds[kind]).fill_null(False) for kind in kinds))


@_compiled.register
def _(node: In, scope: Scope) -> Cell:
    return boolean_cell(_is_in(compile_cell(node.item, scope), node.collection, scope))


def _is_in(item: Cell, collection: Expr, scope: Scope) -> pl.Expr:
    if not isinstance(collection, ListOf):
        return holds_item(compile_cell(collection, scope), item)
    constants = _constants(collection)
    tests = [is_null(item)] if None in constants else []
    kinds: tuple[tuple[Kind, type], ...] = (("boolean", bool), ("number", float), ("string", str))
    for kind, python in kinds:
        literals = [value for value in constants if type(value) is python]
        if literals and kind in item.kinds:
            tests.append(item.kinds[kind].is_in(pl.lit(pl.Series(literals)).implode()).fill_null(False))
    return any_of(tests)


@_compiled.register
def _(node: Negate, scope: Scope) -> Cell:
    return finite_cell(-compile_cell(node.operand, scope).get("number"))


@_compiled.register
def _(node: Arithmetic, scope: Scope) -> Cell:
    left = compile_cell(node.left, scope).get("number")
    right = compile_cell(node.right, scope).get("number")
    return finite_cell(ARITHMETIC[node.op](left, right))


@_compiled.register
def _(node: Call, scope: Scope) -> Cell:
    arguments = [compile_cell(argument, scope) for argument in node.args]
    match node.function:
        case "round":
            decimals = node.args[1] if len(node.args) == 2 else Constant(0.0)
            assert isinstance(decimals, Constant) and isinstance(decimals.value, float), "round takes a literal"
            return Cell({"number": rounded(arguments[0].get("number"), int(decimals.value))})
        case "coalesce":
            return coalesce(arguments, scope.let_cell)
        case "days_since":
            assert scope.instants is not None, "an event has no clock"
            return days_since(arguments[0], scope.instants)
        case "matches":
            return matches(arguments[0], _literal(node.args[1]))
        case "bucket":
            return bucket(_literal(node.args[0]))
        case function:
            return FUNCTIONS[function](*arguments)


def _literal(node: Expr) -> str:
    assert isinstance(node, Constant) and isinstance(node.value, str), "patterns and salts are literals"
    return node.value
