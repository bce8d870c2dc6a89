"""CSV: its heading, its delimiter, and its rows in chunks.

    text  →  where its rows are (`csv_records`)  →  parts of chunks  →  Polars reads the rows that are fine into columns

Polars is handed rows that are well-formed alone: it refuses a file for one row that is not, or pads it in silence. In
the place of a row with a fault it gets an empty one, so that places stay.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from pipelines.importing.chunk import ERROR, Chunk, Fault, ImportRefused, Part, parts
from pipelines.importing.csv_records import (
    BLOCK_BYTES,
    CELL_CHARACTERS_MAX,
    FINE,
    LONE_QUOTE,
    LONG_CELL,
    LONG_ROW,
    NOT_TEXT,
    OPEN_QUOTE,
    ROW_BYTES_MAX,
    Records,
    records,
)
from pipelines.importing.terms import Reading
from pipelines.importing.texts import Text, proposal

#: Delimiters that are looked for, in this order.
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
#: Excel begins some files with a line that names their delimiter.
_EXCEL = re.compile(rb"\A(?:\"?)sep=(.)(?:\"?)\r?\n", re.DOTALL)

_REASONS = {
    LONE_QUOTE: "a quote stands alone: double it, and put quotes around its cell (--no-quotes: quotes mean nothing)",
    OPEN_QUOTE: "a quote is never closed: close it, or double it (--no-quotes: quotes mean nothing)",
    LONG_CELL: f"a cell has more than {CELL_CHARACTERS_MAX:,} characters: shorten it",
    LONG_ROW: f"a row has more than {ROW_BYTES_MAX:,} bytes: shorten it",
}


class CsvFile:
    """An opened CSV: `names` are those of its columns, and it says how it was read. Raises `ImportRefused`."""

    def __init__(self, file: BinaryIO, name: str, wanted: Collection[str], reading: Reading) -> None:
        self._text = Text(file, reading.encoding)
        self.encoding = self._text.encoding
        self._has_quotes = reading.has_quotes
        self._lines_only_returns = False
        begin = self._text.read(BLOCK_BYTES)
        if b"\n" not in begin and b"\r" in begin:
            self._lines_only_returns = True
            begin = begin.replace(b"\r", b"\n")
        if b"\0" in begin.partition(b"\n")[0] and self.encoding == "utf-8":
            order = "be" if begin[:1] == b"\0" else "le"
            raise ImportRefused(f"{name} is no UTF-8: it has zero bytes; try --encoding utf-16-{order}")
        excel = _EXCEL.match(begin)
        self._first_line = 1
        if excel:
            begin, self._first_line = begin[excel.end() :], 2
        stated = reading.delimiter or (excel[1].decode("ascii", "ignore") if excel else "")
        self.delimiter = stated or found_delimiter(begin, wanted, self._has_quotes)
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n':
            raise ImportRefused(f"--delimiter {self.delimiter!r} is not one character of ASCII beside a quote")
        self._begin = begin
        self._records = self._all_records()
        self.names, self._rest = self._heading(name, list(reading.names))

    def chunks(self, rows_at_once: int, bytes_at_once: int) -> Generator[Chunk, None, None]:
        """The rows behind the heading, so many at a time."""
        waiting = [self._rest] if len(self._rest) else []

        def step(count: int) -> list[Records]:
            part = waiting.pop() if waiting else next(self._records, None)
            if part is None:
                return []
            if len(part) > count:
                waiting.append(part.part(count, len(part)))
            return [part.part(0, count)]

        for part in parts(step, _bytes_of, rows_at_once, bytes_at_once, lambda some: sum(map(len, some))):
            yield self._chunk(part)

    def _read(self, size: int) -> bytes:
        if self._begin:
            begin, self._begin = self._begin, b""
            return begin
        block = self._text.read(size)
        return block.replace(b"\r", b"\n") if self._lines_only_returns else block

    def _all_records(self) -> Iterator[Records]:
        for part in records(self._read, self.delimiter, has_quotes=self._has_quotes):
            part.lines[:] += self._first_line - 1
            yield part

    def _heading(self, name: str, stated: list[str]) -> tuple[list[str], Records]:
        """The names of the columns, and the rows behind them. A file whose names are `stated` needs no heading."""
        first = next(self._records, None)
        if stated and first is not None:
            is_heading = first.faults[0] == FINE and first.text(0).decode().rstrip("\r\n") == self.delimiter.join(
                stated
            )
            return stated, first.part(int(is_heading), len(first))
        if first is None:
            raise ImportRefused(f"{name} is empty: it needs a heading with the names of its columns")
        if first.faults[0] != FINE:
            fault = self._fault(first, 0, 0)
            raise ImportRefused(f"{name}: the heading cannot be read: {fault.reason} {fault.detail}".rstrip())
        names = next(_reader(first.text(0).decode(), self.delimiter, self._has_quotes))
        twice = sorted({one for one in names if names.count(one) > 1})
        if "" in twice:
            places = [str(at) for at, one in enumerate(names, 1) if not one]
            raise ImportRefused(f"{name}: columns {', '.join(places)} have no name: name them, or take them out")
        if twice:
            raise ImportRefused(f"{name} has two columns {', '.join(twice)}: give each a name of its own")
        return names, first.part(1, len(first))

    def _chunk(self, whole: Part[Records]) -> Chunk:
        size = len(self.names)
        pieces = whole.rows
        faults = np.concatenate([piece.faults for piece in pieces])
        is_bad = (faults != FINE) | (np.concatenate([piece.cells for piece in pieces]) != size)
        empty = (self.delimiter * (size - 1) if size > 1 else '""' if self._has_quotes else "-").encode() + b"\n"
        text: list[bytes] = []
        at = 0
        for piece in pieces:
            text += _rows_that_are_fine(piece, is_bad[at : at + len(piece)], empty)
            at += len(piece)
        frame = pl.read_csv(
            b"".join(text),
            has_header=False,
            schema={f"{place}": pl.String() for place in range(size)},
            separator=self.delimiter,
            quote_char='"' if self._has_quotes else None,
            empty_string_is_null=False,
        )
        assert len(frame) == len(is_bad), "Polars reads as many rows as it is handed"
        columns = {name: column.alias(name) for name, column in zip(self.names, frame.get_columns(), strict=True)}
        firsts = np.cumsum([0, *map(len, pieces)])

        def rows(places: Sequence[int]) -> Iterator[dict[str, Any]]:
            cells = frame[np.array(places, dtype=np.int64)].iter_rows() if len(places) else iter(())
            for place, row in zip(places, cells, strict=True):
                if is_bad[place]:
                    number = int(np.searchsorted(firsts, place, side="right")) - 1
                    yield {ERROR: self._fault(pieces[number], int(place - firsts[number]), size)}
                else:
                    yield dict(zip(self.names, row, strict=True))

        lines = np.concatenate([piece.lines for piece in pieces]).tolist()
        return Chunk(lines, rows, columns, are_cells=True, broken=np.flatnonzero(is_bad).tolist(), **whole.names)

    def _fault(self, piece: Records, at: int, size: int) -> Fault:
        """Why a row cannot be read."""
        row = piece.text(at)
        text = row.decode("utf-8", "backslashreplace")
        fault = int(piece.faults[at])
        if fault == NOT_TEXT:
            detail = proposal(row) if self.encoding == "utf-8" else ""
            return Fault(f"not {self.encoding}: say what it is by --encoding", detail, text)
        if fault != FINE:
            return Fault(_REASONS[fault], "", text)
        count, breaks = int(piece.cells[at]), row.count(b"\n")
        detail = f"{count} cells under {size} names"
        if breaks:
            line = int(piece.lines[at])
            detail += f", in lines {line} to {line + breaks}"
        few = "few" if count < size else "many"
        return Fault(f"too {few} cells: give a row as many as the heading has names", detail, text)


def _bytes_of(pieces: list[Records]) -> int:
    return sum(int((piece.ends - piece.starts).sum()) for piece in pieces)


def _rows_that_are_fine(piece: Records, is_bad: Any, empty: bytes) -> Iterator[bytes]:
    """The rows of a piece as they stand, as few slices as can be; for each bad one an empty row."""
    if not len(piece):
        return
    breaks = np.flatnonzero(is_bad[:-1] | is_bad[1:] | (piece.after[:-1] != piece.starts[1:])) + 1
    starts = [0, *breaks.tolist()]
    for first, last in zip(starts, [*starts[1:], len(piece)], strict=True):
        if is_bad[first]:
            yield empty
        else:
            yield piece.data[piece.starts[first] : piece.after[last - 1]]


def _reader(text: str, delimiter: str, has_quotes: bool) -> Iterator[list[str]]:
    if not has_quotes:
        return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def found_delimiter(begin: bytes, wanted: Collection[str], has_quotes: bool = True) -> str:
    """The delimiter of a file that begins so: the one whose heading has the wanted names, else most names."""
    text = begin[: 1 << 16].decode("utf-8", "replace")
    found: dict[str, list[str]] = {}
    for delimiter in DELIMITERS:
        try:
            found[delimiter] = next(filter(None, _reader(text, delimiter, has_quotes)), [])
        except csv.Error:
            found[delimiter] = []
    return max(DELIMITERS, key=lambda one: (len({*wanted} & {*found[one]}), len(found[one])))
