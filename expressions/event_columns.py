"""Columns of what events hold or contribute, made only as far as they are read.

A window over a person's events reads a slice of a column, and most of what it asks of it (a sum, the greatest time)
follows from a few whole numbers. So these columns keep what they are made from, in arrays, and make values when those
are asked for: a person who is decided for once costs no object an event.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias


class Column(Sequence[Any]):
    """Values, each made when it is read. `total`, `least` and `greatest` are of [start, end), which is never empty."""

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
        return isinstance(other, (Column, list)) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list has none


class _Scaled(Column):
    """Numbers that follow from whole ones and a scale, none of them null."""

    __slots__ = ("scale", "whole")

    def __init__(self, whole: Sequence[int], scale: int) -> None:
        self.whole = whole
        self.scale = scale

    def __len__(self) -> int:
        return len(self.whole)

    def __contains__(self, value: object) -> bool:
        return value is not None and value in self[:]


class Decimals(_Scaled):
    """Numbers that are whole multiples of a decimal fraction: each is `whole / scale`.

    Sums start from the whole numbers, which are exact already.
    """

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            scale = self.scale
            return [number / scale for number in self.whole[at]]
        return self.whole[at] / self.scale


class Millionths(_Scaled):
    """Whole numbers, each `whole * scale`: what `Decimals` come to in millionths."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            scale = self.scale
            return [number * scale for number in self.whole[at]]
        return self.whole[at] * self.scale

    def total(self, start: int, end: int) -> int:
        return sum(self.whole[start:end]) * self.scale


class Same(Column):
    """One value so many times."""

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


class Instants(Column):
    """The times of events, ascending, as the numbers that expressions compute with."""

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


#: What events contribute, in the order of their times.
Lifted: TypeAlias = list[Any] | Column
