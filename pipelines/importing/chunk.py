"""A chunk: some rows of a file, as columns where it has them, and any row as Python values.

A reader takes columns whole and looks only at strange rows one by one.

A run that goes on where another was cut off knows chunks by their numbers. So a chunk always has the same rows. Where
these have too many bytes it comes in parts, and these are the same in every run too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import polars as pl

#: The name of a column that a row has when it cannot be read: the value is a `Fault`.
ERROR = "__error__"
#: A part of a chunk ends when its rows have so many bytes in the file, and so many rows are read at once.
BYTES_AT_ONCE, STEP_ROWS = 16 << 20, 512

_Row = TypeVar("_Row")


class ImportRefused(ValueError):
    """The file cannot be imported as a whole; the message ends with the remedy."""


@dataclass(frozen=True)
class Fault:
    """Why a row cannot be read: a reason that many rows share, what is true of this one, and the row as it stands."""

    reason: str
    detail: str
    text: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file: the line of each, and `rows`, which reads those at some places as Python values.

    `columns` are there where the file has columns (`has_columns`) of types that Polars has. In CSV values are cells of
    text (`are_cells`). At `broken` places columns mean nothing, and `rows` gives a `Fault` under ERROR. Lines count
    from 1; in CSV the heading is line 1. `number` and `part` count from 1.
    """

    lines: Sequence[int]
    rows: Callable[[Sequence[int]], Iterable[dict[str, Any]]]
    columns: dict[str, pl.Series] | None = None
    are_cells: bool = False
    has_columns: bool = True
    broken: Collection[int] = ()
    number: int = 1
    part: int = 1
    is_last_part: bool = True

    def piece(self, start: int, stop: int) -> Chunk:
        """The rows at the places from `start` up to `stop`, which is excluded, or all up to the end."""
        return replace(
            self,
            lines=self.lines[start:stop],
            rows=lambda places: self.rows([start + at for at in places]),
            columns=self.columns and {name: column[start:stop] for name, column in self.columns.items()},
            broken=[at - start for at in self.broken if start <= at < stop],
        )


@dataclass
class Part(Generic[_Row]):
    """Rows of a chunk as the file has them; and the arguments of `Chunk` that say which part of which chunk it is."""

    rows: list[_Row]
    names: dict[str, Any]


def parts(
    steps: Callable[[int], list[_Row]],
    bytes_of: Callable[[list[_Row]], int],
    rows_at_once: int,
    bytes_at_once: int,
    rows_of: Callable[[list[_Row]], int] = len,
) -> Iterator[Part[_Row]]:
    """The rows of a file in the parts of its chunks. `steps` reads the next rows, so many at most; none at the end."""
    number, part, left, size = 1, 1, rows_at_once, 0
    rows: list[_Row] = []
    following = steps(min(STEP_ROWS, left))
    while following:
        rows += following
        left -= rows_of(following)
        size += bytes_of(following)
        following = steps(min(STEP_ROWS, left or rows_at_once))
        is_last = left == 0 or not following
        if is_last or size >= bytes_at_once:
            yield Part(rows, {"number": number, "part": part, "is_last_part": is_last})
            rows, size = [], 0
            number, part, left = (number + 1, 1, rows_at_once) if is_last else (number, part + 1, left)
