"""Named columns of a frame, computed step by step.

Polars has no `let`: a part that stands twice in an expression is computed twice, and nested parts would double at each
level. So it becomes a column of the frame before, and the work grows with the size of a definition, not with its depth.
"""

from __future__ import annotations

from functools import reduce

import polars as pl

from .cells import Cell


class Steps:
    """Columns computed from the rows of a frame, in as few steps as their dependencies allow.

    Columns that do not read each other are added in one step: with a step for each of hundreds Polars spends minutes,
    and gigabytes, on the names of columns.
    """

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._frame = frame
        self._selects: list[list[pl.Expr]] = []
        self._level: dict[str, int] = {}
        self._count = 0

    def let_cell(self, cell: Cell) -> Cell:
        """The cell with a column for every kind."""
        self._count += 1
        for column in cell.named(f"let{self._count}"):
            level = 1 + max((self._level.get(name, -1) for name in column.meta.root_names()), default=-1)
            self._level[column.meta.output_name()] = level
            if level == len(self._selects):
                self._selects.append([])
            self._selects[level].append(column)
        return cell.columns(f"let{self._count}")

    @property
    def frame(self) -> pl.LazyFrame:
        """The frame with all columns that were added."""
        return reduce(lambda frame, columns: frame.with_columns(columns), self._selects, self._frame)
