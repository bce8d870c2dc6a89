"""The monoids in SQL, in the order of `monoids.py`: how the contributions of the events of an id combine.

What one pass can add up is a column of `folds`. What needs an order or a count of values is a CTE of its own: the rows
of `seen` that contribute, numbered by ROW_NUMBER, which is the same in every engine where MAX_BY and its like are not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from sqlglot import exp

from ..monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from ..rules.dtypes import Kind
from .cells import (
    Cell,
    Sql,
    all_of,
    by,
    case,
    cast,
    coalesced,
    column,
    double,
    in_order,
    is_null,
    negated,
    number_cell,
    text,
    whole,
)
from .query import Query, Reading, Tallied, place


@singledispatch
def fold(monoid: Monoid, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    """The contributions of the events inside, combined. Raises TypeError for a monoid that SQL does not know."""
    raise TypeError(f"no SQL for the monoid {type(monoid).__name__}")


@fold.register
def _(monoid: Add, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    number = lifted.get("number")
    if number is None:
        return replace(number_cell(double(0.0), always=True, most=0.0, whole=True), integer=whole(0))
    if isinstance(number, exp.Literal):
        # One each: a count, which fits every integer type.
        total = coalesced([query.fold(exp.Sum(this=case((when, whole(int(float(number.name)))))), wish), whole(0)])
        found = cast(total, "DOUBLE")
    else:
        integers = cast(number, query.engine.integers)
        total = coalesced([query.fold(exp.Sum(this=case((when, integers))), wish), whole(0)])
        found = query.engine.as_double(total)
    return replace(number_cell(found, always=True, most=2.0**127, whole=True), integer=total)


def _extreme(node: type[exp.AggFunc], query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    kinds: dict[Kind, Sql] = {
        kind: query.fold(node(this=case((when, value))), wish)
        for kind, value in lifted.kinds.items()
        if kind in ("number", "string")
    }
    assert len(kinds) <= 1, "a slot under Min or Max takes numbers or strings, not both"
    return Cell(kinds, most=lifted.most, whole=lifted.whole)


@fold.register
def _(monoid: Min, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    return _extreme(exp.Min, query, lifted, when, wish)


@fold.register
def _(monoid: Max, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    return _extreme(exp.Max, query, lifted, when, wish)


@fold.register
def _(monoid: Earliest, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    return query.first_of(wish, lifted, when, [by(column("ts")), *in_order(lifted.kinds)])


@fold.register
def _(monoid: Latest, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    order = [by(column("ts"), descending=True), *in_order(lifted.kinds, descending=True)]
    return query.first_of(wish, lifted, when, order)


@fold.register
def _(monoid: Union, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    table = _values(query, lifted, when, wish)
    distinct, items = query.names.fresh(f"{wish}_size"), query.names.fresh(f"{wish}_items")
    kept = case((column("place") <= whole(VALUES_MAX), query.engine.json_item(lifted)))
    query.add(
        f"{wish}_list",
        exp.select(
            "id",
            exp.alias_(exp.Max(this=column("place")), distinct),
            exp.alias_(query.engine.joined(kept, column("place")), items),
        )
        .from_(table)
        .group_by("id"),
        joined=[distinct, items],
    )
    query.cut(column(distinct) > whole(VALUES_MAX))
    size = exp.Least(this=column(distinct), expressions=[whole(VALUES_MAX)])
    listed = exp.DPipe(this=exp.DPipe(this=text("["), expression=column(items)), expression=text("]"))
    return Cell(
        {"list": coalesced([listed, text("[]")])},
        always=True,
        size=coalesced([cast(size, "DOUBLE"), double(0.0)]),
    )


@fold.register
def _(monoid: Tally, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    table = _values(query, lifted, when, wish)
    distinct = query.names.fresh(f"{wish}_size")
    query.add(
        f"{wish}_count",
        exp.select("id", exp.alias_(exp.Max(this=column("place")), distinct)).from_(table).group_by("id"),
        joined=[distinct],
    )
    query.cut(column(distinct) > whole(VALUES_MAX))
    least = exp.select("id", *lifted.kinds.values(), "times", "place").from_(table)
    kept = query.add(f"{wish}_least", least.where(column("place") <= whole(VALUES_MAX)))
    return Tallied(kept, lifted.kinds)


def _values(query: Query, lifted: Cell, when: Sql, wish: str) -> str:
    """A CTE with a row per id and distinct value: how many `times` it came, and its `place` in order."""
    values = list(lifted.kinds.values())
    times = exp.alias_(exp.Count(this=exp.Star()), "times")
    grouped = exp.select("id", *values, times, place(in_order(lifted.kinds))).from_("seen")
    inside = all_of([when, negated(is_null(lifted))])
    return query.add(f"{wish}_values", grouped.where(inside).group_by("id", *values))
