"""The proof of a purge: every store is searched for the ids of the deleted, and each place that names one is listed.

The search covers all files under the lake and under the stack's home (tables, their logs and checkpoints, exports,
logs, Prefect's database), the folder of the Redis server where it is on this machine, and every key and value of Redis.
Of Parquet files the columns are read and searched too, since their bytes are packed. All other files are searched as
they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lake.batches import PART_ROWS, joined
from lake.stored_files import StoredFiles
from pipelines.purge.naming import Names, unpacked
from serving.store.errors import StoreError
from serving.store.store import Store

#: Bytes of a file that are in memory at a time, and those of the part before it: no id is longer, as it is written.
PART_BYTES, OVERLAP_BYTES = 8 << 20, 8 << 10
KEYS_AT_ONCE = 5_000
#: Places that are listed; the rest are counted.
LISTED_MAX = 100


@dataclass
class Searched:
    """How many ids were looked for, in how many files, bytes and keys of Redis; and the places that name one of them.

    `found` lists the first `LISTED_MAX` of these places, and `found_count` counts all.
    """

    ids: int = 0
    files: int = 0
    bytes: int = 0
    keys: int = 0
    found: list[str] = field(default_factory=list)
    found_count: int = 0

    @property
    def places(self) -> int:
        """Files and keys."""
        return self.files + self.keys

    def note(self, where: str) -> None:
        """Notes a place that names an id."""
        self.found_count += 1
        if len(self.found) < LISTED_MAX:
            self.found.append(where)


def search_everywhere(names: Names, store: Store, lake_root: str, folders: list[Path]) -> Searched:
    """Searches Redis, the lake and some folders of this machine for ids; returns what was searched and found."""
    searched = Searched(len(names))
    lake = StoredFiles(lake_root)
    for name in lake.under():
        data = lake.read(name)
        if data is not None:
            _search(searched, names, f"lake/{name}", data)
    inside = Path(lake_root).absolute()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_relative_to(inside):
                _search_file(searched, names, folder, path)
    _search_redis(searched, names, store)
    return searched


def redis_folder(store: Store) -> Path | None:
    """The folder in which the server keeps its files; None where it is on another machine, or does not tell."""
    try:
        folder = Path(store.server_setting("dir") or "/nowhere")
        file_name = store.server_setting("appendfilename") or ""
    except StoreError:
        return None
    return folder if any((folder / name).exists() for name in (file_name, "appendonlydir") if name) else None


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _search_file(searched: Searched, names: Names, folder: Path, path: Path) -> None:
    where = f"{folder.name}/{path.relative_to(folder)}"
    try:
        if path.suffix in (".parquet", ".gz"):
            _search(searched, names, where, path.read_bytes())
            return
        before, is_named = b"", False
        with path.open("rb") as file:
            while part := file.read(PART_BYTES):
                searched.bytes += len(part)
                is_named = is_named or names.are_in(before + part)
                before = part[-OVERLAP_BYTES:]
    except FileNotFoundError:
        return  # gone meanwhile
    searched.files += 1
    if is_named or names.are_in(str(path.relative_to(folder)).encode()):
        searched.note(where)


def _search(searched: Searched, names: Names, where: str, data: bytes) -> None:
    searched.files += 1
    searched.bytes += len(data)
    if names.are_in(where.encode()) or names.are_in(unpacked(data)):
        searched.note(where)
    if data[:4] == b"PAR1":
        for column in _naming_columns(names, data):
            searched.note(f"{where}, column {column}")


def _naming_columns(names: Names, data: bytes) -> list[str]:
    """The columns of a Parquet file that name an id."""
    try:
        file = pq.ParquetFile(io.BytesIO(data))
    except pa.ArrowInvalid:
        return []  # begins like a Parquet file: its writer was cut off
    naming: dict[str, None] = {}
    for batch in joined(file.iter_batches(PART_ROWS)):
        for column, values in zip(batch.schema.names, batch.columns, strict=True):
            if column not in naming and any(names.among(texts) for texts in _texts(values)):
                naming[column] = None
    return list(naming)


def _texts(values: Any) -> Iterator[pl.Series]:
    """All texts inside a column, however deep."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from _texts(values.dictionary)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield pl.Series(values.to_pylist(), dtype=pl.String)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        yield pl.Series([(data or b"").decode(errors="replace") for data in values.to_pylist()], dtype=pl.String)
    elif pa.types.is_map(kind):
        yield from _texts(values.keys)
        yield from _texts(values.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(values.flatten())
    elif pa.types.is_struct(kind):
        for inner in values.flatten():
            yield from _texts(inner)


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _search_redis(searched: Searched, names: Names, store: Store) -> None:
    waiting: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in store.everything():
        searched.keys += 1
        searched.bytes += len(value)
        waiting.append((key, value))
        size += len(value)
        if size > PART_BYTES or len(waiting) >= KEYS_AT_ONCE:
            _search_keys(searched, names, waiting)
            waiting, size = [], 0
    _search_keys(searched, names, waiting)


def _search_keys(searched: Searched, names: Names, pairs: list[tuple[bytes, bytes]]) -> None:
    for at in names.naming([key + b"\0" + value for key, value in pairs]):
        searched.note(f"redis {pairs[at][0].decode(errors='replace')}")
