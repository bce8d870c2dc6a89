"""Named columns, computed step by step.

SQL has no `let`: an expression that is read twice would be written twice, and nested ones would double at each level.
So it becomes a column of the SELECT before, and the text grows with the size of a definition, not with its depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlglot import exp

from .cells import Cell, Sql, column
from .selects import select


class Names:
    """The names of a query: each is given once, whatever its case."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {name.lower() for name in taken}

    def fresh(self, wish: str) -> str:
        """The wish as an identifier, with a number behind it where the name was given before."""
        stem = re.sub(r"[^a-z0-9]+", "_", wish.lower()).strip("_")[:50].strip("_") or "value"
        stem = f"_{stem}" if stem[0].isdigit() else stem
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


class Steps:
    """Columns computed from a row, in as few SELECTs as their dependencies allow."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._level: dict[str, int] = {}
        self._known: dict[str, str] = {}
        self._selects: list[list[exp.Expr]] = []

    def let(self, value: Sql, wish: str = "step") -> Sql:
        """A column that holds the expression; a literal or a column stays as it is."""
        if isinstance(value, (exp.Column, exp.Literal, exp.Null, exp.Boolean)):
            return value
        key = value.sql(copy=False)
        if key not in self._known:
            level = 1 + max((self._level.get(read.name, -1) for read in value.find_all(exp.Column)), default=-1)
            name = self._names.fresh(wish)
            self._known[key], self._level[name] = name, level
            if level == len(self._selects):
                self._selects.append([])
            self._selects[level].append(exp.alias_(value, name))
        return column(self._known[key])

    def let_cell(self, cell: Cell, wish: str = "step") -> Cell:
        """The cell with a column for every kind."""
        kinds = {kind: self.let(value, f"{wish}_{kind}") for kind, value in cell.kinds.items()}
        return replace(cell, kinds=kinds)

    def over(self, source: exp.Query, name: str) -> dict[str, exp.Query]:
        """CTEs from the source to one of that name. The last has the columns of the source and all that were added."""
        names = [*(self._names.fresh(name) for _ in self._selects), name]
        ctes: dict[str, exp.Query] = {names[0]: source}
        for before, after, added in zip(names[:-1], names[1:], self._selects, strict=True):
            ctes[after] = select(before, exp.Star(), *added)
        return ctes


def without_unread(ctes: Mapping[str, exp.Query], read: frozenset[str]) -> tuple[dict[str, exp.Query], frozenset[str]]:
    """The CTEs that are read, cut in place to the columns that are read after them; and all names that are read then.

    `read` has the names that are read after all of them. Names decide what is read: within a query a name means one
    column, also where later CTEs pass it on.
    """
    trimmed: dict[str, exp.Query] = {}
    for name in reversed(list(ctes)):
        query = ctes[name]
        if name in read:
            if isinstance(query, exp.Select):
                columns = [
                    item for item in query.expressions if isinstance(item, exp.Star) or item.alias_or_name in read
                ]
                # A row may count even where none of its columns does.
                query.set("expressions", columns or query.expressions[:1])
            trimmed[name] = query
            read |= read_by(query)
    return {name: trimmed[name] for name in ctes if name in trimmed}, read


def read_by(query: exp.Query) -> frozenset[str]:
    """The names of the columns and CTEs that a query reads."""
    return frozenset(node.name for node in query.find_all(exp.Column, exp.Table))
