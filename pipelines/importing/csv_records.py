"""The rows of a CSV as places in its bytes, whatever stands in it: a row that cannot be read costs no other row.

    blocks of bytes  →  where rows begin and end, whole blocks at a time  →  from the first fault on, row by row

Quotes stand around a cell, and two inside it are one. A quote anywhere else, and one that is not closed, is a fault of
its line alone: reading goes on in the next line. A reader that believes the quote would swallow the rows up to the next
one. `faults` says what is wrong with a row, and a row of too many or too few cells is told by `cells`.

In memory are a block, a row that goes on behind it, and the places of its rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

#: Bytes that are read at once.
BLOCK_BYTES = 4 << 20
#: Characters of a cell, and bytes of a row.
CELL_CHARACTERS_MAX, ROW_BYTES_MAX = 131_072, 4 << 20

FINE, NOT_TEXT, LONE_QUOTE, OPEN_QUOTE, LONG_CELL, LONG_ROW = range(6)

_Numbers: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
#: A character has at most so many bytes.
_CHARACTER_BYTES = 4


@dataclass(frozen=True)
class Records:
    """Some rows: in `data` a row is [start, end), and the next one begins at `after`, or behind blank lines.

    `lines` are the lines in which they begin, `cells` says how many each has, `faults` what is wrong with it.
    """

    data: bytes
    starts: _Numbers
    ends: _Numbers
    after: _Numbers
    lines: _Numbers
    cells: _Numbers
    faults: _Numbers

    def __len__(self) -> int:
        return len(self.starts)

    def part(self, start: int, stop: int) -> Records:
        """The rows at the places from `start` up to `stop`, which is excluded."""
        at = slice(start, stop)
        return Records(
            self.data,
            self.starts[at],
            self.ends[at],
            self.after[at],
            self.lines[at],
            self.cells[at],
            self.faults[at],
        )

    def text(self, at: int) -> bytes:
        """A row as it stands in the file, without the end of its line."""
        return self.data[self.starts[at] : self.ends[at]]


def records(
    read: Callable[[int], bytes], delimiter: str, *, has_quotes: bool = True, block_bytes: int = BLOCK_BYTES
) -> Iterator[Records]:
    """The rows of a file that `read` gives, in UTF-8, so many bytes at a time, and none at its end. Blank lines are no
    rows. The rows are the same for blocks of any size.
    """
    grammar = _Grammar(delimiter.encode(), has_quotes)
    left, line, is_last, skips = b"", 1, False, False
    while not is_last:
        block = read(block_bytes)
        is_last = not block
        if skips:  # the rest of a row that was too long
            at = block.find(b"\n")
            if at < 0 and not is_last:
                continue
            line, block, skips = line + 1, block[at + 1 :] if at >= 0 else b"", False
        data = left + block
        if is_last and data and not data.endswith(b"\n"):
            data += b"\n"
        found, at = _rows_of(data, grammar, line, is_last)
        left = data[at:]
        line += data.count(b"\n", 0, at)
        if len(left) > ROW_BYTES_MAX + 2 and not is_last and b"\n" not in left:
            # A row ends behind the bytes that are read. What is kept of it shows what it was.
            yield from [found] if len(found) else []
            size = len(left)
            long = [np.array([value]) for value in (0, size, size, line, 1, LONG_ROW)]
            yield Records(left, *long)
            left, skips = b"", True
        elif len(found):
            yield found


class _Grammar:
    """The delimiter and the quotes of a file; reads one row at a place."""

    def __init__(self, delimiter: bytes, has_quotes: bool) -> None:
        self.delimiter = delimiter[0]
        self.has_quotes = has_quotes
        self._plain = re.compile(b"[^\n%s%s]*+" % (re.escape(delimiter), b'"' if has_quotes else b""))
        self._quoted = re.compile(b'"[^"]*+(?:""[^"]*+)*+')

    def row(self, data: bytes, start: int, is_last: bool) -> tuple[int, int, int] | None:
        """Where the row that begins at `start` ends, and behind its line; how many cells it has; and its fault.

        None where it goes on behind the data.
        """
        at, cells = start, 0
        while True:
            cell, cells = at, cells + 1
            if at == len(data):
                return None
            if self.has_quotes and data[at] == _QUOTE:
                until = at + CELL_CHARACTERS_MAX * _CHARACTER_BYTES + 2
                at = self._quoted.match(data, at, until).end()  # type: ignore[union-attr]
                if at >= min(until, len(data)):
                    if at < until and not is_last:
                        return None
                    return self._line(data, start, OPEN_QUOTE)
                at += 1
                if at == len(data) or (data[at] == _RETURN and at + 1 == len(data)):
                    return None  # a line end always comes, by the last block at the latest
                if data[at] == _RETURN and data[at + 1] == _NEWLINE:
                    at += 1
                elif data[at] not in (self.delimiter, _NEWLINE):
                    return self._line(data, start, LONE_QUOTE)
            else:
                at = self._plain.match(data, at).end()  # type: ignore[union-attr]
                if at == len(data):
                    return None
                if data[at] == _QUOTE and self.has_quotes:
                    return self._line(data, start, LONE_QUOTE)
            if at - cell > CELL_CHARACTERS_MAX and _is_long(data[cell:at]):
                return self._line(data, start, LONG_CELL)
            if at - start > ROW_BYTES_MAX:
                return self._line(data, start, LONG_ROW)
            if data[at] == _NEWLINE:
                return at, cells, FINE
            at += 1

    def _line(self, data: bytes, start: int, fault: int) -> tuple[int, int, int] | None:
        """The line alone: what a row with a fault is."""
        end = data.find(b"\n", start)
        return None if end < 0 else (end, 1, fault if end - start <= ROW_BYTES_MAX else LONG_ROW)


def _is_long(cell: bytes) -> bool:
    return len(cell.decode("utf-8", "replace")) > CELL_CHARACTERS_MAX


def _rows_of(data: bytes, grammar: _Grammar, line: int, is_last: bool) -> tuple[Records, int]:
    """The rows that end in the data, the first of which begins it in a line; and where the row begins that does not."""
    nothing = np.zeros(0, np.int64)
    newlines, ends, cells = _well_formed(data, grammar) if data else (nothing, nothing, nothing)
    at = int(ends[-1]) + 1 if len(ends) else 0
    faults = np.zeros(len(ends), np.int8)
    if at < len(data) and (len(data) - at > CELL_CHARACTERS_MAX or _begins_a_row(newlines, at)):
        alone: list[tuple[int, int, int]] = []
        while at < len(data) and (row := grammar.row(data, at, is_last)) is not None:
            alone.append(row)
            at = row[0] + 1
        if alone:
            more = np.array(alone, np.int64)
            ends, cells = np.concatenate([ends, more[:, 0]]), np.concatenate([cells, more[:, 1]])
            faults = np.concatenate([faults, more[:, 2]]).astype(np.int8)
    starts = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1])
    numbers = np.frombuffer(data, np.uint8)
    after = ends + 1
    ends = ends - ((ends > starts) & (numbers[np.maximum(ends - 1, 0)] == _RETURN))
    lines = line + np.searchsorted(newlines, starts)
    rows = np.flatnonzero(ends > starts)  # no blank lines
    found = Records(data, *(column[rows] for column in (starts, ends, after, lines, cells, faults)))
    _mark_what_is_no_text(found)
    return found, at


def _begins_a_row(newlines: _Numbers, at: int) -> bool:
    """Whether a line ends behind a place: then what stands there is a row by itself, or one that has a fault."""
    return bool(len(newlines)) and int(newlines[-1]) >= at


def _well_formed(data: bytes, grammar: _Grammar) -> tuple[_Numbers, _Numbers, _Numbers]:
    """Where lines end; where rows end, up to the first that has to be read by itself; and how many cells these have."""
    numbers = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(numbers == _NEWLINE)
    is_delimiter = numbers == grammar.delimiter
    ends = newlines
    if grammar.has_quotes and b'"' in data:
        is_quote = numbers == _QUOTE
        is_inside = (np.cumsum(is_quote, dtype=np.uint8) & 1).view(bool)
        ends = newlines[~is_inside[newlines]]
        is_delimiter &= ~is_inside
        fault = _first_fault(numbers, np.flatnonzero(is_quote), grammar.delimiter)
        if fault is not None:
            ends = ends[: np.searchsorted(ends, fault)]
    lengths = np.diff(ends, prepend=-1)
    long = np.flatnonzero(lengths > CELL_CHARACTERS_MAX)
    if len(long):
        ends = ends[: long[0]]
    cells = np.diff(np.searchsorted(np.flatnonzero(is_delimiter), ends), prepend=0) + 1
    return newlines, ends, cells


def _first_fault(numbers: _Numbers, quotes: _Numbers, delimiter: int) -> int | None:
    """The place of the first quote that stands where none may, if each quote before it is right; None if all are.

    The first quote of a pair stands behind a delimiter, the end of a line, or the second one of the pair before: two
    quotes inside a cell. Behind the second one is a delimiter, the end of the line, or such a quote.
    """
    size = len(numbers)
    opening, closing = quotes[::2], quotes[1::2]
    before = numbers[np.maximum(opening - 1, 0)]
    is_right = (opening == 0) | (before == delimiter) | (before == _NEWLINE) | (before == _QUOTE)
    behind, further = (numbers[np.minimum(closing + step, size - 1)] for step in (1, 2))
    is_closed = (behind == delimiter) | (behind == _NEWLINE) | (behind == _QUOTE)
    is_closed |= (behind == _RETURN) & ((further == _NEWLINE) | (closing + 2 >= size))
    is_closed |= closing + 1 >= size
    faults = np.concatenate([opening[~is_right][:1], closing[~is_closed][:1]])
    return int(faults.min()) if len(faults) else None


def _mark_what_is_no_text(found: Records) -> None:
    """Notes a fault for rows with bytes that are no UTF-8."""
    if not len(found):
        return
    try:
        found.data[int(found.starts[0]) : int(found.ends[-1])].decode()
    except UnicodeDecodeError:
        high = np.flatnonzero(np.frombuffer(found.data, np.uint8) >= 128)
        rows = np.unique(np.searchsorted(found.ends, high, side="right"))
        for at in rows[rows < len(found)].tolist():
            try:
                found.text(at).decode()
            except UnicodeDecodeError:
                found.faults[at] = NOT_TEXT
