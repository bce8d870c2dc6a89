"""JSONL: an object a line, in chunks."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

import msgspec

from pipelines.importing.chunk import BYTES_AT_ONCE, ERROR, Chunk, Fault, parts
from pipelines.importing.csv_records import ROW_BYTES_MAX
from pipelines.importing.terms import Reading
from pipelines.importing.texts import Text, proposal

#: Rows that are looked at for the names of columns; fewer where these have `BYTES_AT_ONCE`.
FIRST_ROWS = 1_000


class JsonlFile:
    """An opened file of JSON lines: `names` are those of its first rows."""

    def __init__(self, file: BinaryIO, reading: Reading) -> None:
        self._text = Text(file, reading.encoding)
        self.encoding = self._text.encoding
        self._lines = _numbered(_lines(self._text))
        self._first = _first_rows(self._lines)
        names: dict[str, None] = {}
        for _, line in self._first:
            row = self._row(line)
            if ERROR not in row:
                names.update(dict.fromkeys(row))
        self.names = list(names)

    def chunks(self, rows_at_once: int, bytes_at_once: int) -> Generator[Chunk, None, None]:
        """The rows, so many at a time."""

        def step(count: int) -> list[tuple[int, bytes]]:
            first, self._first = self._first[:count], self._first[count:]
            return [*first, *islice(self._lines, count - len(first))]

        def size(rows: list[tuple[int, bytes]]) -> int:
            return sum(len(line) for _, line in rows)

        for part in parts(step, size, rows_at_once, bytes_at_once):
            rows = [self._row(line) for _, line in part.rows]
            yield Chunk([number for number, _ in part.rows], partial(_at_places, rows), has_columns=False, **part.names)

    def _row(self, line: bytes) -> dict[str, Any]:
        if len(line) > ROW_BYTES_MAX:
            reason = f"a row has more than {ROW_BYTES_MAX:,} bytes: shorten it"
            return {ERROR: Fault(reason, "", line[:ROW_BYTES_MAX].decode("utf-8", "backslashreplace"))}
        text = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
        try:
            line.decode()
            row = msgspec.json.decode(line)
        except UnicodeDecodeError:
            detail = proposal(line) if self.encoding == "utf-8" else ""
            return {ERROR: Fault(f"not {self.encoding}: say what it is by --encoding", detail, text)}
        except (msgspec.DecodeError, RecursionError) as error:
            return {ERROR: Fault("no JSON: write an object a line", str(error), text)}
        return row if isinstance(row, dict) else {ERROR: Fault("no JSON object: write an object a line", "", text)}


def _at_places(rows: list[dict[str, Any]], places: Sequence[int]) -> Iterator[dict[str, Any]]:
    return (rows[at] for at in places)


def _first_rows(lines: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    rows: list[tuple[int, bytes]] = []
    size = 0
    for number, line in lines:
        rows.append((number, line))
        size += len(line)
        if len(rows) == FIRST_ROWS or size >= BYTES_AT_ONCE:
            break
    return rows


def _numbered(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _lines(text: Text) -> Iterator[bytes]:
    """The lines of a text; of one that is too long a beginning that is too long."""
    left, skips = b"", False
    while block := text.read(1 << 20):
        if skips:  # the rest of a line that was too long
            _, end, block = block.partition(b"\n")
            skips = not end
        lines = (left + block).split(b"\n")
        left = lines.pop()
        yield from lines
        if len(left) > ROW_BYTES_MAX:
            yield left
            left, skips = b"", True
    if left:
        yield left
