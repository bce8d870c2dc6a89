"""The monoids in SQL, in the order of `monoids.py`: how the contributions of the events of an id combine.

There are two ways to fold, and each monoid has one of them:

Add, Min, Max            a column of the CTE `folds`: all of them share one pass over `seen`
Earliest, Latest         two CTEs a need:
                         id, the kinds of the value, place: one row for each event whose contribution is not null
                         id, the kinds of the value: one row an id, the row of place 1
Union                    id, the kinds of the value, times, place: one row an id and distinct value
                         id, the number of values, their texts: one row an id
Tally                    the first of Union's; the number of values; and its rows within the bound (`query.Tallied`)

Places come from ROW_NUMBER: it is the same in every engine, which MAX_BY and its like are not.
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
    is_null,
    negated,
    number_cell,
    place,
    sort_keys,
    text,
    whole,
)
from .query import Query, Reading, Tallied
from .selects import select


@singledispatch
def fold(monoid: Monoid, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    """What a slot reads as: the contributions `lifted` of the events inside `when`, combined.

    `wish` names its columns and CTEs. Raises TypeError for a monoid that SQL does not know.
    """
    raise TypeError(f"no SQL for the monoid {type(monoid).__name__}")


@fold.register
def _(monoid: Add, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    number = lifted.get("number")
    if number is None:
        return replace(number_cell(double(0.0), always=True, most=0.0, whole=True), integer=whole(0))
    if isinstance(number, exp.Literal):
        # Each event adds the same: such a count fits every integer type.
        total = coalesced([query.fold(exp.Sum(this=case((when, whole(int(float(number.name)))))), wish), whole(0)])
        value = cast(total, "DOUBLE")
    else:
        integers = cast(number, query.engine.integers)
        total = coalesced([query.fold(exp.Sum(this=case((when, integers))), wish), whole(0)])
        value = query.engine.as_double(total)
    return replace(number_cell(value, always=True, most=2.0**127, whole=True), integer=total)


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
    return query.first_of(wish, lifted, when, [by(column("ts")), *sort_keys(lifted.kinds)])


@fold.register
def _(monoid: Latest, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    order = [by(column("ts"), descending=True), *sort_keys(lifted.kinds, descending=True)]
    return query.first_of(wish, lifted, when, order)


@fold.register
def _(monoid: Union, query: Query, lifted: Cell, when: Sql, wish: str) -> Reading:
    table = _values(query, lifted, when, wish)
    distinct, items = query.names.fresh(f"{wish}_size"), query.names.fresh(f"{wish}_items")
    item = case((column("place") <= whole(VALUES_MAX), query.engine.json_item(lifted)))
    query.add(
        f"{wish}_list",
        select(
            table,
            "id",
            exp.alias_(exp.Max(this=column("place")), distinct),
            exp.alias_(query.engine.joined(item, column("place")), items),
            by=["id"],
        ),
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
        select(table, "id", exp.alias_(exp.Max(this=column("place")), distinct), by=["id"]),
        joined=[distinct],
    )
    query.cut(column(distinct) > whole(VALUES_MAX))
    values = [value.copy() for value in lifted.kinds.values()]
    within = column("place") <= whole(VALUES_MAX)
    least = query.add(f"{wish}_least", select(table, "id", *values, "times", "place", where=within))
    return Tallied(least, lifted.kinds)


def _values(query: Query, lifted: Cell, when: Sql, wish: str) -> str:
    """The name of a CTE with one row an id and distinct value: how many `times` it came, and its `place` in order."""
    values, groups = ([value.copy() for value in lifted.kinds.values()] for _ in range(2))
    times = exp.alias_(exp.Count(this=exp.Star()), "times")
    inside = all_of([when, negated(is_null(lifted))])
    grouped = select("seen", "id", *values, times, place(sort_keys(lifted.kinds)), where=inside, by=["id", *groups])
    return query.add(f"{wish}_values", grouped)
