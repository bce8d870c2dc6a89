"""SELECTs, put together in place.

sqlglot's own way would read each name as SQL, and copy the query each time that something is added: of a definition's
query that was most of the work.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from .cells import Sql, column


def select(
    source: str, *values: str | exp.Expr, where: Sql | None = None, by: Iterable[str | exp.Expr] = ()
) -> exp.Select:
    """SELECT values FROM source WHERE where GROUP BY by. A text is the name of a column.

    The query takes the values as they are: what stands in another place too must come as a copy.
    """
    query = exp.Select().select(*_columns(values), copy=False).from_(exp.table_(source), copy=False)
    if where is not None:
        query.where(where, copy=False)
    if groups := _columns(by):
        query.group_by(*groups, copy=False)
    return query


def _columns(values: Iterable[str | exp.Expr]) -> list[exp.Expr]:
    return [column(value) if isinstance(value, str) else value for value in values]


def cross_join(query: exp.Select, table: str) -> None:
    """Joins each row of the table to each row of the query, in place."""
    query.join(exp.Join(this=exp.table_(table), kind="CROSS"), copy=False)
