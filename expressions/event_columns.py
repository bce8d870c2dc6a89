"""Columns with one value for each event of a name, whose values are made when they are read.

A window over a person's events reads a slice of a column. Most questions about the slice (a sum, the greatest time)
follow from a few whole numbers. So a lazy column keeps its numbers in arrays and makes a value when it is read: a
single decision about a person then makes no object per event.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias


class LazyColumn(Sequence[Any]):
    """Values that are each made when they are read.

    `total`, `least` and `greatest` are of the rows [start, end), which are never empty.
    """

    __slots__ = ()

    def total(self, start: int, end: int) -> Any:
        """The sum."""
        return sum(self[start:end])

    def least(self, start: int, end: int) -> Any:
        """The least value."""
        return min(self[start:end])

    def greatest(self, start: int, end: int) -> Any:
        """The greatest value."""
        return max(self[start:end])

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (LazyColumn, list)) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list has none


class _Scaled(LazyColumn):
    """Numbers that follow from whole numbers and a scale. None of them is null."""

    __slots__ = ("scale", "whole")

    def __init__(self, whole: Sequence[int], scale: int) -> None:
        self.whole = whole
        self.scale = scale

    def __len__(self) -> int:
        return len(self.whole)

    def __contains__(self, value: object) -> bool:
        return value is not None and value in self[:]


class Decimals(_Scaled):
    """Decimal numbers: each is `whole / scale`.

    Exact sums start from the whole numbers (`Millionths`), since the quotients are rounded.
    """

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            scale = self.scale
            return [number / scale for number in self.whole[at]]
        return self.whole[at] / self.scale


class Millionths(_Scaled):
    """Whole numbers: each is `whole * scale`. `Decimals` in millionths have this form."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            scale = self.scale
            return [number * scale for number in self.whole[at]]
        return self.whole[at] * self.scale

    def total(self, start: int, end: int) -> int:
        return sum(self.whole[start:end]) * self.scale


class Repeated(LazyColumn):
    """One value, `size` times."""

    __slots__ = ("size", "value")

    def __init__(self, value: Any, size: int) -> None:
        self.value = value
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self.value] * len(range(*at.indices(self.size)))
        return self.value

    def __contains__(self, value: object) -> bool:
        return self.size > 0 and (value is self.value or value == self.value)

    def total(self, start: int, end: int) -> Any:
        return self.value * (end - start)

    def least(self, start: int, end: int) -> Any:
        return self.value

    def greatest(self, start: int, end: int) -> Any:
        return self.value


class Instants(LazyColumn):
    """The times of events, ascending, as the numbers (floats) that expressions compute with."""

    __slots__ = ("ts_ms",)

    def __init__(self, ts_ms: array[int]) -> None:
        self.ts_ms = ts_ms

    def __len__(self) -> int:
        return len(self.ts_ms)

    def __getitem__(self, at: Any) -> Any:
        return list(map(float, self.ts_ms[at])) if isinstance(at, slice) else float(self.ts_ms[at])

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and value in self[:]

    def least(self, start: int, end: int) -> float:
        return float(self.ts_ms[start])

    def greatest(self, start: int, end: int) -> float:
        return float(self.ts_ms[end - 1])


#: One value an event, in the order of the events' times.
EventColumn: TypeAlias = list[Any] | LazyColumn
