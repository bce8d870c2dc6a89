"""The proof of a purge: every store is searched for the ids of the deleted, and where one is found is said.

Searched are all files under the lake and under the stack's home (tables, their logs and checkpoints, exports, logs,
Prefect's database), the folder of the Redis server where it is on this machine, and every key and value of Redis.
Parquet is read: its columns are searched, since its bytes are packed. All other files are searched as they are.
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

from lake.stored_files import StoredFiles
from pipelines.purge.naming import Names, unpacked
from serving.store.errors import StoreError
from serving.store.store import Store

#: So many bytes of a file are in memory at a time, and so many of the part before: no id is longer, however written.
PART_BYTES, OVERLAP_BYTES = 8 << 20, 8 << 10
ROWS_AT_ONCE, KEYS_AT_ONCE = 50_000, 5_000
#: Places that are listed; the rest are counted.
SHOWN_MAX = 100


@dataclass
class Searched:
    """How many places were searched (files, tables' files among them; keys of Redis), and where an id was found."""

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
        """That an id is named there."""
        self.found_count += 1
        if len(self.found) < SHOWN_MAX:
            self.found.append(where)


def searched(names: Names, store: Store, lake_root: str, folders: list[Path]) -> Searched:
    """Searches Redis, the lake and some folders of this machine for ids."""
    did = Searched(len(names))
    lake = StoredFiles(lake_root)
    for name in lake.under():
        data = lake.read(name)
        if data is not None:
            _search(did, names, f"lake/{name}", data)
    inside = Path(lake_root).absolute()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_relative_to(inside):
                _search_file(did, names, folder, path)
    _search_redis(did, names, store)
    return did


def redis_folder(store: Store) -> Path | None:
    """Where the server keeps its files, if that is on this machine and it tells."""
    try:
        folder = Path(store.server_setting("dir") or "/nowhere")
        named = store.server_setting("appendfilename") or ""
    except StoreError:
        return None
    return folder if any((folder / name).exists() for name in (named, "appendonlydir") if name) else None


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _search_file(did: Searched, names: Names, folder: Path, path: Path) -> None:
    where = f"{folder.name}/{path.relative_to(folder)}"
    try:
        if path.suffix in (".parquet", ".gz"):
            _search(did, names, where, path.read_bytes())
            return
        before, named = b"", False
        with path.open("rb") as file:
            while part := file.read(PART_BYTES):
                did.bytes += len(part)
                named = named or names.are_in(before + part)
                before = part[-OVERLAP_BYTES:]
    except FileNotFoundError:
        return  # gone meanwhile
    did.files += 1
    if named or names.are_in(str(path.relative_to(folder)).encode()):
        did.note(where)


def _search(did: Searched, names: Names, where: str, data: bytes) -> None:
    did.files += 1
    did.bytes += len(data)
    if names.are_in(where.encode()) or names.are_in(unpacked(data)):
        did.note(where)
    if data[:4] == b"PAR1":
        for column in _naming_columns(names, data):
            did.note(f"{where}, column {column}")


def _naming_columns(names: Names, data: bytes) -> list[str]:
    """The columns of a Parquet file that name an id."""
    try:
        file = pq.ParquetFile(io.BytesIO(data))
    except pa.ArrowInvalid:
        return []  # begins like one: a writer was cut off
    found: dict[str, None] = {}
    for batch in file.iter_batches(ROWS_AT_ONCE):
        for column, values in zip(batch.schema.names, batch.columns, strict=True):
            if column not in found and any(names.among(texts) for texts in _texts(values)):
                found[column] = None
    return list(found)


def _texts(values: Any) -> Iterator[pl.Series]:
    """All texts inside a column, however deep."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from _texts(values.dictionary)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield pl.Series(values.to_pylist(), dtype=pl.String)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        yield pl.Series([(one or b"").decode(errors="replace") for one in values.to_pylist()], dtype=pl.String)
    elif pa.types.is_map(kind):
        yield from _texts(values.keys)
        yield from _texts(values.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(values.flatten())
    elif pa.types.is_struct(kind):
        for inner in values.flatten():
            yield from _texts(inner)


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _search_redis(did: Searched, names: Names, store: Store) -> None:
    held: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in store.everything():
        did.keys += 1
        did.bytes += len(value)
        held.append((key, value))
        size += len(value)
        if size > PART_BYTES or len(held) >= KEYS_AT_ONCE:
            _search_keys(did, names, held)
            held, size = [], 0
    _search_keys(did, names, held)


def _search_keys(did: Searched, names: Names, held: list[tuple[bytes, bytes]]) -> None:
    for at in names.naming([key + b"\0" + value for key, value in held]):
        did.note(f"redis {held[at][0].decode(errors='replace')}")
