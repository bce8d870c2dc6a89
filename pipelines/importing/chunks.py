"""Files to chunks of rows: CSV, Parquet or JSONL, gzipped or not, so many rows at a time.

    file  →  chunks, each with the lines of its rows  →  columns where the file has them, and any row as Python values

A chunk gives its rows both ways, so that a reader takes columns whole and looks only at strange rows one by one.

A run that goes on where another was cut off knows chunks by their numbers. So a chunk always has the same rows. Where
these have too many bytes it comes in parts, and these are the same in every run too.
"""

from __future__ import annotations

import csv
import gc
import gzip
import io
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
#: The name of a column that a row has when it cannot be read: the value says why.
ERROR = "__error__"
#: A cell of text that is a number.
NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|0|[1-9][0-9]*)$"
_NUMBER = re.compile(NUMBER.removesuffix("$") + r"\Z")
#: Rows that are looked at for the names of columns, and how many rows of them are read at a time.
FIRST_ROWS = 1_000
#: A part of a chunk ends when its rows have so many bytes in the file, and so many rows are read at once.
BYTES_AT_ONCE, STEP_ROWS = 16 << 20, 512

_Row = TypeVar("_Row")


class ImportRefused(ValueError):
    """The file cannot be imported as a whole; the message ends with the remedy."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file: the line of each, and `rows`, which reads those at some places as Python values.

    `columns` are there where the file has columns. In CSV they are cells of text (`are_cells`), and at `broken` places
    the cells mean nothing. Lines count from 1; in CSV the heading is line 1. `number` and `part` count from 1.
    """

    lines: Sequence[int]
    rows: Callable[[Sequence[int]], Iterable[dict[str, Any]]]
    columns: dict[str, pl.Series] | None = None
    are_cells: bool = False
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


def chunks(
    path: Path, as_text: Collection[str], rows_at_once: int, bytes_at_once: int = BYTES_AT_ONCE
) -> Generator[Chunk, None, None]:
    """The rows of a file, so many at a time. Cells of `as_text` columns stay text. Raises `ImportRefused`."""
    kind, gzipped = _format(path)
    with _opened(path, gzipped) as file:
        match kind:
            case "csv":
                delimiter = "\t" if ".tsv" in path.name.lower() else ","
                yield from _csv_chunks(file, delimiter, as_text, rows_at_once, bytes_at_once)
            case "jsonl":
                yield from _jsonl_chunks(file, rows_at_once, bytes_at_once)
            case _ if gzipped:
                with tempfile.TemporaryFile() as unpacked:
                    shutil.copyfileobj(file, unpacked)
                    unpacked.seek(0)
                    yield from _parquet_chunks(unpacked, path.name, rows_at_once, bytes_at_once)
            case _:
                yield from _parquet_chunks(file, path.name, rows_at_once, bytes_at_once)


@dataclass
class _Part(Generic[_Row]):
    """Rows of a chunk as the file has them; and the arguments of `Chunk` that say which part of which chunk it is."""

    rows: list[_Row]
    names: dict[str, Any]


def _parts(
    steps: Callable[[int], list[_Row]],
    bytes_of: Callable[[list[_Row]], int],
    rows_at_once: int,
    bytes_at_once: int,
    rows_of: Callable[[list[_Row]], int] = len,
) -> Iterator[_Part[_Row]]:
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
            yield _Part(rows, {"number": number, "part": part, "is_last_part": is_last})
            rows, size = [], 0
            number, part, left = (number + 1, 1, rows_at_once) if is_last else (number, part + 1, left)


def count_and_names(path: Path) -> tuple[int | None, list[str]]:
    """How many rows there are, where the file says it, and the names of its columns. Raises `ImportRefused`."""
    kind, gzipped = _format(path)
    if kind == "parquet" and not gzipped:
        try:
            metadata = pq.read_metadata(path)
            return metadata.num_rows, list(pq.read_schema(path).names)
        except pa.ArrowInvalid as error:
            raise ImportRefused(f"{path.name} is no Parquet file: {error}") from error
    names: dict[str, None] = {}
    with closing(_rows(path)) as rows:
        for row in islice(rows, FIRST_ROWS):
            names.update(dict.fromkeys(row))
    return None, list(names)


def _format(path: Path) -> tuple[str, bool]:
    """The format of a file, by its name, and whether it is gzipped."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    gzipped = bool(suffixes) and suffixes[-1] == ".gz"
    last = suffixes[-2] if gzipped and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    kind = _FORMATS.get(last)
    if kind is None:
        raise ImportRefused(f"{path.name}: use a file named .csv, .parquet or .jsonl, .gz behind it if it is gzipped")
    return kind, gzipped


def _opened(path: Path, gzipped: bool) -> BinaryIO:
    return gzip.open(path, "rb") if gzipped else open(path, "rb")  # type: ignore[return-value]


def _rows(path: Path) -> Generator[dict[str, Any], None, None]:
    with closing(chunks(path, (), FIRST_ROWS)) as parts:
        for chunk in parts:
            yield from chunk.rows(range(len(chunk.lines)))


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _csv_chunks(
    file: BinaryIO, delimiter: str, as_text: Collection[str], rows_at_once: int, bytes_at_once: int
) -> Generator[Chunk, None, None]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter)
        heading = next(reader, [])
        numbered = ((reader.line_num, cells) for cells in reader if cells)

        def size(rows: list[tuple[int, list[str]]]) -> int:
            return sum(sum(map(len, cells)) for _, cells in rows)

        parts = _parts(lambda count: list(islice(numbered, count)), size, rows_at_once, bytes_at_once)
        while True:
            with _without_cycles():
                part = next(parts, None)
                chunk = _csv_chunk(heading, part, as_text) if part is not None else None
                del part
            if chunk is None:
                return
            yield chunk


@contextmanager
def _without_cycles() -> Generator[None, None, None]:
    """Keeps Python from looking for reference cycles: there are none here, and the look through so many new lists would
    double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _csv_chunk(heading: list[str], whole: _Part[tuple[int, list[str]]], as_text: Collection[str]) -> Chunk:
    part = whole.rows
    reads = [str if name in as_text else cell_value for name in heading]

    def rows(places: Sequence[int]) -> Iterator[dict[str, Any]]:
        for at in places:
            cells = part[at][1]
            if len(cells) == len(heading):
                yield {name: read(cell) for name, read, cell in zip(heading, reads, cells, strict=True)}
            else:
                yield {ERROR: f"{len(cells)} cells under {len(heading)} names"}

    lines, cells_by_row = zip(*part, strict=True)
    size = len(heading)
    broken = []
    if set(map(len, cells_by_row)) != {size}:
        broken = [at for at, cells in enumerate(cells_by_row) if len(cells) != size]
    columns: dict[str, pl.Series] | None = None
    if len(set(heading)) == size:
        even = list(cells_by_row)
        for at in broken:
            even[at] = [""] * size
        with suppress(UnicodeEncodeError):  # bytes that are no UTF-8 are refused row by row
            columns = {
                name: pl.Series(name, column, dtype=pl.String)
                for name, column in zip(heading, zip(*even, strict=True), strict=True)
            }
    return Chunk(lines, rows, columns, are_cells=True, broken=broken, **whole.names)


def cell_value(cell: str) -> Any:
    """What a cell of text says: a number, true or false, else text. "007" and "1e5" stay text, as ids do."""
    if cell in ("true", "false"):
        return cell == "true"
    return cell_number(cell) if _NUMBER.match(cell) else cell


def cell_number(cell: str) -> float | int:
    """The number of a cell that is one."""
    return float(cell) if "." in cell or len(cell) >= 19 else int(cell)


# ── JSONL ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _jsonl_chunks(file: BinaryIO, rows_at_once: int, bytes_at_once: int) -> Generator[Chunk, None, None]:
    numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())

    def size(rows: list[tuple[int, bytes]]) -> int:
        return sum(len(line) for _, line in rows)

    for part in _parts(lambda count: list(islice(numbered, count)), size, rows_at_once, bytes_at_once):
        rows = [_jsonl_row(line) for _, line in part.rows]
        yield Chunk([number for number, _ in part.rows], partial(_at_places, rows), **part.names)


def _at_places(rows: list[dict[str, Any]], places: Sequence[int]) -> Iterator[dict[str, Any]]:
    return (rows[at] for at in places)


def _jsonl_row(line: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {ERROR: f"no JSON: {error}"}
    return row if isinstance(row, dict) else {ERROR: "no JSON object"}


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parquet_chunks(file: Any, name: str, rows_at_once: int, bytes_at_once: int) -> Generator[Chunk, None, None]:
    try:
        parquet = pq.ParquetFile(file, buffer_size=1 << 20)
        batches = parquet.iter_batches(STEP_ROWS)
        waiting: list[pa.RecordBatch] = []

        def step(count: int) -> list[pa.RecordBatch]:
            batch = waiting.pop() if waiting else next(batches, None)
            if batch is None:
                return []
            if batch.num_rows > count:
                waiting.append(batch.slice(count))
            return [batch.slice(0, count)]

        def rows_of(parts: list[pa.RecordBatch]) -> int:
            return sum(map(len, parts))

        line = 1
        for part in _parts(step, lambda parts: sum(b.nbytes for b in parts), rows_at_once, bytes_at_once, rows_of):
            table = pa.Table.from_batches(part.rows)
            yield _parquet_chunk(table, line, part.names)
            line += len(table)
    except pa.ArrowInvalid as error:
        raise ImportRefused(f"{name} is no Parquet file: {error}") from error


def _parquet_chunk(table: pa.Table, first_line: int, names: dict[str, Any]) -> Chunk:
    def rows(places: Sequence[int]) -> list[dict[str, Any]]:
        taken: list[dict[str, Any]] = table.take(pa.array(places, pa.int64())).to_pylist()
        return taken

    columns: dict[str, pl.Series] | None = None
    with suppress(pl.exceptions.PolarsError, ValueError, NotImplementedError):  # a type that Polars does not have
        columns = {name: pl.Series(name, pl.from_arrow(table[name])) for name in table.column_names}
    return Chunk(range(first_line, first_line + len(table)), rows, columns, **names)
