"""The batch execution: nodes as Polars expressions.

The nodes of the other executions, in the same order. A node becomes a *cell* (`polars_cells`), what is calculated is in
`polars_functions`, and how a slot's contributions fold in `polars_folds`; `frames` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce, singledispatch

import polars as pl

from ..ops import (
    Aggregation,
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
    children,
)
from ..rules.dtypes import Kind
from ..rules.patterns import portable
from ..rules.values import Value
from .cells import Cell, any_of, holds, holds_item, item_key, number_cell, same, truth_cell
from .functions import ARITHMETIC, FUNCTION, buckets, coalesce, days_since, rounded

Leaf = Callable[[Expr], "Cell | None"]

#: How many levels of an expression are computed as one.
LEVELS = 4


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: `leaf` gives the cell of a node that names columns (None: it names none), `let` makes
    columns of a cell and gives the cell that reads them.

    A cell may be used several times by the node around it (S1 alone asks twice: equal, or both null), which doubles the
    work with each level; what has become a column is computed once. So every few levels become columns, and all that
    is calculated: a remainder of a rounded number was once a query of gigabytes.
    """

    leaf: Leaf
    now_ms: int
    let: Callable[[Cell], Cell] = lambda cell: cell


def compile_cell(node: Expr, scope: Scope) -> Cell:
    """An expression as a cell."""
    found = scope.leaf(node)
    if found is not None:
        return found
    cell = _compiled(node, scope)
    height = _height(node)
    is_heavy = height > 1 and isinstance(node, (Arithmetic, Call))  # rounding uses its number a dozen times
    return scope.let(cell) if is_heavy or height % LEVELS == 0 else cell


def _height(node: Expr) -> int:
    """How many levels are below a node, itself included, down to what names columns."""
    inner = [] if isinstance(node, Aggregation) else [_height(child) for child in children(node)]
    return 1 + max(inner, default=0)


class Lets:
    """A frame to which cells are added as columns, and its `let`.

    Columns that do not read each other are added together: with a step for each of hundreds Polars spends minutes, and
    gigabytes, on the names of columns.
    """

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._frame = frame
        self._steps: list[list[pl.Expr]] = []
        self._step: dict[str, int] = {}
        self._count = 0

    def let(self, cell: Cell) -> Cell:
        """The cell as columns of the frame."""
        self._count += 1
        for one in cell.named(f"let{self._count}"):
            step = 1 + max((self._step.get(name, -1) for name in one.meta.root_names()), default=-1)
            self._step[one.meta.output_name()] = step
            if step == len(self._steps):
                self._steps.append([])
            self._steps[step].append(one)
        return cell.columns(f"let{self._count}")

    @property
    def frame(self) -> pl.LazyFrame:
        """The frame with all columns that were let."""
        return reduce(lambda frame, columns: frame.with_columns(columns), self._steps, self._frame)


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
    return Cell({"list": pl.lit([item_key(one) for one in _constants(node)], dtype=pl.List(pl.String))})


def _constants(node: ListOf) -> list[Value]:
    return [one.value for one in node.items if isinstance(one, Constant)]


@_compiled.register
def _(node: Not, scope: Scope) -> Cell:
    return truth_cell(~holds(compile_cell(node.operand, scope)))


@_compiled.register
def _(node: And, scope: Scope) -> Cell:
    return truth_cell(holds(compile_cell(node.left, scope)) & holds(compile_cell(node.right, scope)))


@_compiled.register
def _(node: Or, scope: Scope) -> Cell:
    return truth_cell(holds(compile_cell(node.left, scope)) | holds(compile_cell(node.right, scope)))


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
        return truth_cell(same(left, right) if node.op == "==" else ~same(left, right))
    kinds: list[Kind] = [kind for kind in left.kinds if kind in right.kinds and kind in ("number", "string")]
    compare = _ORDER[node.op]
    return truth_cell(any_of(compare(left.kinds[kind], right.kinds[kind]).fill_null(False) for kind in kinds))


@_compiled.register
def _(node: In, scope: Scope) -> Cell:
    return truth_cell(_is_in(compile_cell(node.item, scope), node.collection, scope))


def _is_in(item: Cell, collection: Expr, scope: Scope) -> pl.Expr:
    if not isinstance(collection, ListOf):
        items = compile_cell(collection, scope)
        return holds_item(items, item)
    constants = _constants(collection)
    tests = [item.is_null] if None in constants else []
    for kind, python in (("boolean", bool), ("number", float), ("string", str)):
        wanted = [one for one in constants if type(one) is python]
        if wanted and kind in item.kinds:
            one = item.kinds[kind]  # type: ignore[index]
            tests.append(one.is_in(pl.lit(pl.Series(wanted)).implode()).fill_null(False))
    return any_of(tests)


@_compiled.register
def _(node: Negate, scope: Scope) -> Cell:
    return number_cell(-compile_cell(node.operand, scope).get("number"))


@_compiled.register
def _(node: Arithmetic, scope: Scope) -> Cell:
    left = compile_cell(node.left, scope).get("number")
    right = compile_cell(node.right, scope).get("number")
    return number_cell(ARITHMETIC[node.op](left, right))


@_compiled.register
def _(node: Call, scope: Scope) -> Cell:
    args = [compile_cell(arg, scope) for arg in node.args]
    if node.function == "days_since":
        return Cell({"number": days_since(args[0].get("string"), scope.now_ms)})
    if node.function == "bucket":
        return Cell({"number": pl.col("id").map_batches(partial(buckets, _literal(node.args[0])), pl.Float64)})
    if node.function == "matches":
        found = args[0].get("string").str.contains(portable(_literal(node.args[1])))
        return truth_cell(found.fill_null(False))
    if node.function == "coalesce":
        return coalesce(args, scope.let)
    if node.function == "round":
        decimals = node.args[1] if len(node.args) == 2 else Constant(0.0)
        assert isinstance(decimals, Constant) and isinstance(decimals.value, float), "round takes a literal"
        return Cell({"number": rounded(args[0].get("number"), int(decimals.value))})
    return FUNCTION[node.function](*args)


def _literal(node: Expr) -> str:
    assert isinstance(node, Constant) and isinstance(node.value, str), "patterns and salts are literals"
    return node.value
