"""What a value of the language is to SQL, whose columns have one type each.

A **cell** holds one SQL expression for each kind that the value may have. In any row at most one of them is not NULL;
where all are, the value is null. Kinds that cannot occur are left out, as far as types are known: a sum is one number,
and `profile.plan == "pro"` reads a string alone.

A condition is never NULL (S1). This file closes by COALESCE each test that SQL would leave unknown, so its callers may
use NOT, AND and OR as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

from sqlglot import exp

from ..rules.dtypes import KINDS, Kind

#: A node of a sqlglot tree that stands for a value.
Sql: TypeAlias = exp.Condition


@dataclass(frozen=True)
class Cell:
    """Kind -> SQL expression, for the kinds that may occur.

    `always`: never null, so exactly one expression is set in every row. `size`: how many items a list has, where that
    is known without reading the list. `integer`: the sum of an Add in the engine's widest integers. `most`: a bound of
    a number's size. `whole`: the number has no fraction. The last two only save tests for overflow.
    """

    kinds: Mapping[Kind, Sql]
    always: bool = False
    size: Sql | None = None
    integer: Sql | None = None
    most: float = math.inf
    whole: bool = False

    def get(self, kind: Kind) -> Sql | None:
        """The expression for a kind; None where the value never is one."""
        return self.kinds.get(kind)

    def only(self, *kinds: Kind) -> Cell:
        """The value where it is of these kinds, else null."""
        remaining = {kind: self.kinds[kind] for kind in KINDS if kind in kinds and kind in self.kinds}
        return replace(self, kinds=remaining, always=self.always and len(remaining) == len(self.kinds))


NULL = Cell({})


def number_cell(value: Sql, always: bool = False, most: float = math.inf, whole: bool = False) -> Cell:
    """A cell that holds a number or nothing."""
    return Cell({"number": value}, always, most=most, whole=whole)


def string_cell(value: Sql) -> Cell:
    """A cell that holds a string or nothing."""
    return Cell({"string": value})


def boolean_cell(condition: Sql) -> Cell:
    """A cell that holds a condition: true or false, never null."""
    return Cell({"boolean": condition}, always=True)


# ── literals and small calls ─────────────────────────────────────────────────────────────────────────────────────

TRUE: Sql = exp.true()
FALSE: Sql = exp.false()


def double(value: float) -> Sql:
    """A floating point literal, to the last bit; the exponent keeps engines from reading a decimal."""
    digits = repr(abs(float(value))).removesuffix(".0")
    literal = exp.Literal(this=digits if "e" in digits else f"{digits}e0", is_string=False)
    return exp.Neg(this=literal) if value < 0 else literal


def whole(value: int) -> Sql:
    """An integer literal."""
    return exp.Neg(this=exp.Literal.number(-value)) if value < 0 else exp.Literal.number(value)


def text(value: str) -> Sql:
    """A string literal."""
    return exp.Literal.string(value)


def infinity() -> Sql:
    """The number that an overflow gives."""
    return cast(text("inf"), "DOUBLE")


def column(name: str, table: str | None = None) -> exp.Column:
    """A column by name."""
    return exp.column(name, table=table)


def call(name: str, *args: Sql) -> Sql:
    """A call that every engine has under this very name; sqlglot does not rewrite it."""
    return exp.Anonymous(this=name, expressions=[arg.copy() for arg in args])


def cast(value: Sql, to: str) -> Sql:
    """CAST to a type, by its name in sqlglot's own dialect."""
    return exp.Cast(this=value.copy(), to=_data_type(to).copy())


@cache  # to parse one takes longer than all the rest of a CAST
def _data_type(name: str) -> exp.DataType:
    return exp.DataType.build(name)


def case(*branches: tuple[Sql, Sql], otherwise: Sql | None = None) -> Sql:
    """CASE WHEN … THEN … [ELSE …] END; the value alone where the first condition always holds."""
    if branches[0][0] == TRUE:
        return branches[0][1].copy()
    result = exp.Case(ifs=[exp.If(this=condition.copy(), true=value.copy()) for condition, value in branches])
    if otherwise is not None:
        result.set("default", otherwise.copy())
    return result


def coalesced(values: Sequence[Sql]) -> Sql:
    """The first that is not NULL; a single value as it is."""
    if len(values) == 1:
        return values[0]
    return exp.Coalesce(this=values[0].copy(), expressions=[value.copy() for value in values[1:]])


def finite(value: Sql) -> Sql:
    """S5: NULL where the result of one calculation on finite numbers overflowed. No such result is NaN."""
    once: Any = exp.Nullif(this=value.copy(), expression=infinity())
    return exp.Nullif(this=once, expression=exp.Neg(this=infinity()))


def one_zero(value: Sql) -> Sql:
    """The number with -0.0 as 0.0: a sum of floats is -0.0 only where both sides are. The lake has no -0.0."""
    return value + double(0.0)


# ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────


def all_of(conditions: Iterable[Sql]) -> Sql:
    """AND; conditions that are known when the SQL is made are not written."""
    rest = [condition for condition in conditions if condition != TRUE]
    if any(condition == FALSE for condition in rest):
        return FALSE
    return exp.and_(*rest) if rest else TRUE


def any_of(conditions: Iterable[Sql]) -> Sql:
    """OR; conditions that are known when the SQL is made are not written."""
    rest = [condition for condition in conditions if condition != FALSE]
    if any(condition == TRUE for condition in rest):
        return TRUE
    return exp.or_(*rest) if rest else FALSE


def negated(condition: Sql) -> Sql:
    """NOT; a double one is not written."""
    if isinstance(condition, exp.Boolean):
        return FALSE if condition == TRUE else TRUE
    if isinstance(condition, exp.Not):
        positive: Sql = condition.this
        while isinstance(positive, exp.Paren):
            positive = positive.this
        return positive
    return exp.not_(condition)


def is_null(cell: Cell) -> Sql:
    """Whether the value is null."""
    if cell.always:
        return FALSE
    return all_of(value.is_(exp.null()) for value in cell.kinds.values())


def holds(cell: Cell) -> Sql:
    """S4: what the value means in a boolean place; a list, even an empty one, is true. Never NULL."""
    tests: list[Sql] = []
    for kind, value in cell.kinds.items():
        match kind:
            case "boolean":
                tests.append(value)
            case "number":
                tests.append(value.neq(double(0.0)))
            case "string":
                tests.append(value.neq(text("")))
            case _:
                # It stands last, since it is TRUE or NULL but never FALSE.
                tests.append(case((negated(value.is_(exp.null())), TRUE)))
    if not tests:
        return FALSE
    return tests[0] if cell.always and len(tests) == 1 else coalesced([*tests, FALSE])


def same(left: Cell, right: Cell) -> Sql:
    """S1, S3: equal in type and value; null equals null. Lists must come as text that is equal for equal lists."""
    shared = [kind for kind in KINDS if kind in left.kinds and kind in right.kinds]
    if left.always or right.always:
        if not shared:
            return FALSE
        tests = [_operand(left.kinds[kind]).eq(_operand(right.kinds[kind])) for kind in shared]
        return tests[0] if _never_null(left, right) else coalesced([*tests, FALSE])
    # At most one kind is set on either side, so the values are equal where no kind tells them apart.
    alone = [cell.kinds[kind].is_(exp.null()) for cell in (left, right) for kind in cell.kinds if kind not in shared]
    return all_of([*(_not_distinct(left.kinds[kind], right.kinds[kind]) for kind in shared), *alone])


def _not_distinct(left: Sql, right: Sql) -> Sql:
    return exp.NullSafeEQ(this=_operand(left), expression=_operand(right))


def _operand(value: Sql) -> Any:
    return exp.paren(value) if isinstance(value, (exp.Binary, exp.Unary)) else value.copy()


def ordered(operator: str, left: Cell, right: Cell) -> Sql:
    """S3: < <= > or >= within numbers and within strings; false across kinds and with null."""
    build = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[operator]
    tests: list[Sql] = [
        getattr(left.kinds[kind], build)(right.kinds[kind])
        for kind in ("number", "string")
        if kind in left.kinds and kind in right.kinds
    ]
    if not tests:
        return FALSE
    return tests[0] if _never_null(left, right) else coalesced([*tests, FALSE])


def _never_null(left: Cell, right: Cell) -> bool:
    """Whether a comparison of the two never is NULL: each has one kind, and is never null."""
    return left.always and right.always and len(left.kinds) == 1 and len(right.kinds) == 1


# ── choices ──────────────────────────────────────────────────────────────────────────────────────────────────────


def chosen(condition: Sql, yes: Cell, no: Cell) -> Cell:
    """`yes` where the condition holds, else `no`. The condition is written once for each kind."""
    if isinstance(condition, exp.Boolean):
        return yes if condition == TRUE else no
    kinds = [kind for kind in KINDS if kind in yes.kinds or kind in no.kinds]
    return Cell(
        {kind: _either(condition, yes.get(kind), no.get(kind)) for kind in kinds}, always=yes.always and no.always
    )


def _either(condition: Sql, yes: Sql | None, no: Sql | None) -> Sql:
    if yes is None:
        assert no is not None, "a kind comes from one of the two"
        return case((negated(condition), no))
    return case((condition, yes), otherwise=no)


def first_present(cells: Sequence[Cell]) -> Cell:
    """The first that is not null. Every cell but the last is written once for each kind."""
    result = cells[-1]
    for cell in reversed(cells[:-1]):
        if cell.always:
            result = cell
            continue
        kinds: dict[Kind, Sql] = {}
        for kind in KINDS:
            own, rest = cell.get(kind), result.get(kind)
            if rest is not None:
                others = cell.only(*(other for other in cell.kinds if other != kind))
                is_free = is_null(others)
                rest = rest if is_free == TRUE else case((is_free, rest))
            values = [value for value in (own, rest) if value is not None]
            if values:
                kinds[kind] = coalesced(values)
        result = Cell(kinds, always=result.always)
    return result


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────


def by(value: Sql, descending: bool = False) -> exp.Ordered:
    """An item of an ORDER BY. NULL goes last, wherever the engine would put it."""
    return exp.Ordered(this=value.copy(), desc=descending, nulls_first=False)


def sort_keys(kinds: Mapping[Kind, Sql], descending: bool = False) -> list[exp.Ordered]:
    """S7: by kind, then by value; lists by their text."""
    present = [kind for kind in KINDS if kind in kinds]
    rank = [_rank_of({kind: kinds[kind] for kind in present})] if len(present) > 1 else []
    return [by(value, descending) for value in (*rank, *(kinds[kind] for kind in present))]


def place(order: Sequence[exp.Ordered]) -> exp.Expr:
    """The column `place`: the number of the row among those of its id, in the order, from 1."""
    number = exp.Window(this=exp.RowNumber(), partition_by=[column("id")], order=exp.Order(expressions=list(order)))
    return exp.alias_(number, "place", copy=False)


def _rank_of(kinds: Mapping[Kind, Sql]) -> Sql:
    """The number of the value's kind in `dtypes.KINDS`."""
    return case(*((negated(value.is_(exp.null())), whole(KINDS.index(kind))) for kind, value in kinds.items()))
