"""Files to chunks of rows: CSV, Parquet or JSONL, packed by gzip or Zstandard or not, so many rows at a time."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import pyarrow as pa

from pipelines.importing.chunk import BYTES_AT_ONCE, Chunk, ImportRefused
from pipelines.importing.csv_file import DELIMITERS, CsvFile
from pipelines.importing.jsonl_file import JsonlFile
from pipelines.importing.parquet_file import ParquetFile
from pipelines.importing.terms import Reading

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_PACKED = {".gz": "gzip", ".zst": "zstd"}

_Opened: TypeAlias = CsvFile | JsonlFile | ParquetFile


@dataclass(frozen=True)
class Looked:
    """What a file says of itself: how many rows it has, where it says so; the names of its columns; and how it is read,
    for people.
    """

    total: int | None
    names: list[str]
    read_as: str


def chunks(
    path: Path,
    wanted: Collection[str],
    rows_at_once: int,
    bytes_at_once: int = BYTES_AT_ONCE,
    reading: Reading | None = None,
) -> Generator[Chunk, None, None]:
    """The rows of a file, so many at a time. `wanted`: the columns that it has. Raises `ImportRefused`."""
    with _opened(path, wanted, reading or Reading()) as file:
        yield from file.chunks(rows_at_once, bytes_at_once)


def look(path: Path, wanted: Collection[str], reading: Reading | None = None) -> Looked:
    """What a file says of itself. A packed one is unpacked to its end first. Raises `ImportRefused`.

    A download that was cut off is refused before any of it is in: the whole file would be another import.
    """
    _, packed = _format(path, _usual(reading))
    if packed is not None:
        with _errors(path), _unpacked(path, packed) as file:
            while file.read(1 << 20):
                pass
    with _opened(path, wanted, reading or Reading()) as opened:
        total = opened.total if isinstance(opened, ParquetFile) else None
        said = [] if opened.encoding in (None, "utf-8") else [str(opened.encoding)]
        if isinstance(opened, CsvFile):
            shown = DELIMITERS.get(opened.delimiter, repr(opened.delimiter))
            said.append(f"cells separated by {shown}")
        return Looked(total, opened.names, ", ".join(said))


def is_jsonl(path: Path) -> bool:
    """Whether a file has an object a line, by its name."""
    try:
        return _format(path)[0] == "jsonl"
    except ImportRefused:  # whoever opens it says so
        return False


def is_known(path: Path) -> bool:
    """Whether the name of a file says how it is read."""
    try:
        _format(path)
    except ImportRefused:
        return False
    return True


def _usual(reading: Reading | None) -> str | None:
    """The format of files whose name does not say it."""
    return None if reading is None or reading.mapping is None else reading.mapping.kind


@contextmanager
def _opened(path: Path, wanted: Collection[str], reading: Reading) -> Iterator[_Opened]:
    kind, packed = _format(path, _usual(reading))
    with _errors(path), _unpacked(path, packed) as file:
        if kind == "csv":
            yield CsvFile(file, path.name, wanted, reading)
        elif kind == "jsonl":
            yield JsonlFile(file, reading)
        elif packed is None:
            yield ParquetFile(file, path.name)
        else:
            with tempfile.TemporaryFile() as whole:  # it is read from its end
                shutil.copyfileobj(file, whole)
                whole.seek(0)
                yield ParquetFile(whole, path.name)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImportRefused(f"{path.name} is damaged, or was cut off: {error}; fetch it again") from error


def _format(path: Path, usual: str | None = None) -> tuple[str, str | None]:
    """The format of a file, by its name, else the `usual` one, and by what it is packed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = _PACKED.get(suffixes[-1]) if suffixes else None
    kind = _FORMATS.get(suffixes[-2] if packed and len(suffixes) > 1 else suffixes[-1] if suffixes else "", usual)
    if kind is None:
        raise ImportRefused(
            f"{path.name}: use a file named .csv, .tsv, .parquet or .jsonl, with .gz or .zst behind it if it is packed"
        )
    return kind, packed


@contextmanager
def _unpacked(path: Path, packed: str | None) -> Iterator[BinaryIO]:
    if packed == "zstd":
        with open(path, "rb") as file, pa.CompressedInputStream(file, "zstd") as stream:
            try:
                yield cast(Any, stream)
            except OSError as error:
                raise EOFError(str(error)) from error
    elif packed == "gzip":
        with gzip.open(path, "rb") as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        with open(path, "rb") as file:
            yield file
