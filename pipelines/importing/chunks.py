"""Files to chunks of rows: CSV, Parquet or JSONL, gzipped or not, so many rows at a time.

    file  →  chunks, each with the lines of its rows  →  columns where the file has them, and any row as Python values

A chunk gives its rows both ways, so that a reader takes columns whole and looks only at strange rows one by one.
"""

from __future__ import annotations

import csv
import gc
import gzip
import io
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

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


class ImportRefused(ValueError):
    """The file cannot be imported as a whole; the message ends with the remedy."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file: the line of each, and `rows`, which reads those at some places as Python values.

    `columns` are there where the file has columns. In CSV they are cells of text (`are_cells`), and at `broken` places
    the cells mean nothing. Lines count from 1; in CSV the heading is line 1.
    """

    lines: Sequence[int]
    rows: Callable[[Sequence[int]], Iterable[dict[str, Any]]]
    columns: dict[str, pl.Series] | None = None
    are_cells: bool = False
    broken: Collection[int] = ()


def chunks(path: Path, as_text: Collection[str], rows_at_once: int) -> Generator[Chunk, None, None]:
    """The rows of a file, so many at a time. Cells of `as_text` columns stay text. Raises `ImportRefused`."""
    kind, gzipped = _format(path)
    with _opened(path, gzipped) as file:
        match kind:
            case "csv":
                yield from _csv_chunks(file, "\t" if ".tsv" in path.name.lower() else ",", as_text, rows_at_once)
            case "jsonl":
                yield from _jsonl_chunks(file, rows_at_once)
            case _:
                yield from _parquet_chunks(io.BytesIO(file.read()) if gzipped else file, path.name, rows_at_once)


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
    file: BinaryIO, delimiter: str, as_text: Collection[str], rows_at_once: int
) -> Generator[Chunk, None, None]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter)
        heading = next(reader, [])
        numbered = ((reader.line_num, cells) for cells in reader if cells)
        while True:
            with _without_cycles():
                part = list(islice(numbered, rows_at_once))
                chunk = _csv_chunk(heading, part, as_text) if part else None
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


def _csv_chunk(heading: list[str], part: list[tuple[int, list[str]]], as_text: Collection[str]) -> Chunk:
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
        whole = list(cells_by_row)
        for at in broken:
            whole[at] = [""] * size
        with suppress(UnicodeEncodeError):  # bytes that are no UTF-8 are refused row by row
            columns = {
                name: pl.Series(name, column, dtype=pl.String)
                for name, column in zip(heading, zip(*whole, strict=True), strict=True)
            }
    return Chunk(lines, rows, columns, are_cells=True, broken=broken)


def cell_value(cell: str) -> Any:
    """What a cell of text says: a number, true or false, else text. "007" and "1e5" stay text, as ids do."""
    if cell in ("true", "false"):
        return cell == "true"
    return cell_number(cell) if _NUMBER.match(cell) else cell


def cell_number(cell: str) -> float | int:
    """The number of a cell that is one."""
    return float(cell) if "." in cell or len(cell) >= 19 else int(cell)


# ── JSONL ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _jsonl_chunks(file: BinaryIO, rows_at_once: int) -> Generator[Chunk, None, None]:
    numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    while part := list(islice(numbered, rows_at_once)):
        rows = [_jsonl_row(line) for _, line in part]
        yield Chunk([number for number, _ in part], partial(_at_places, rows))


def _at_places(rows: list[dict[str, Any]], places: Sequence[int]) -> Iterator[dict[str, Any]]:
    return (rows[at] for at in places)


def _jsonl_row(line: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {ERROR: f"no JSON: {error}"}
    return row if isinstance(row, dict) else {ERROR: "no JSON object"}


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parquet_chunks(file: BinaryIO, name: str, rows_at_once: int) -> Generator[Chunk, None, None]:
    try:
        parquet = pq.ParquetFile(file)
        line = 1
        waiting: list[pa.RecordBatch] = []
        for batch in parquet.iter_batches(rows_at_once):
            waiting.append(batch)
            while sum(map(len, waiting)) >= rows_at_once:
                whole = pa.Table.from_batches(waiting)
                yield _parquet_chunk(whole.slice(0, rows_at_once), line)
                line += rows_at_once
                waiting = whole.slice(rows_at_once).to_batches()
        if sum(map(len, waiting)):
            yield _parquet_chunk(pa.Table.from_batches(waiting), line)
    except pa.ArrowInvalid as error:
        raise ImportRefused(f"{name} is no Parquet file: {error}") from error


def _parquet_chunk(table: pa.Table, first_line: int) -> Chunk:
    def rows(places: Sequence[int]) -> list[dict[str, Any]]:
        taken: list[dict[str, Any]] = table.take(pa.array(places, pa.int64())).to_pylist()
        return taken

    columns: dict[str, pl.Series] | None = None
    with suppress(pl.exceptions.PolarsError, ValueError, NotImplementedError):  # a type that Polars does not have
        columns = {name: pl.Series(name, pl.from_arrow(table[name])) for name in table.column_names}
    return Chunk(range(first_line, first_line + len(table)), rows, columns)
