"""A copy of a lake, made while others write it: of each table one version, whole, with the log that names its files.

1. The note of the last checkpoint is read, then the newest version of the table is pinned: it is not older.
2. The files that this version names are copied. They never change, and stay for a day after they were replaced.
3. The log is copied from that checkpoint on, up to the pinned version, and the note last.

A purge at once drops replaced files at once. A table that loses a file meanwhile is pinned anew, and what was copied of
it and is no part of the new version is dropped from the copy.

A table is copied before those that it speaks of: a rebuild reads `events`, writes `traits` and `memberships`, and notes
the run last. So they are copied the other way round, and a copy has no run whose answers it lacks, and no answers whose
events it lacks. Exports are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import msgspec

from .errors import LakeConflict
from .lake import Lake
from .schemas import TABLES, Table
from .storage import FIXED, holds_table
from .stored_files import LOG_FOLDER, StoredFiles

#: The tables in the order in which they are copied: `events` last.
COPIED = tuple(reversed(TABLES))
#: How often a table is pinned anew.
ATTEMPTS = 5
_NOTE = "_last_checkpoint"


class Copied(msgspec.Struct, frozen=True):
    """What a copied file must hold: so many bytes, and their hash."""

    bytes: int
    sha256: str


def copy_file(chunks: Iterator[bytes], target: StoredFiles, path: str) -> Copied:
    """Writes a file from its bytes; what it holds then. It shows when it is whole, and not at all where they raise."""
    digest, size = hashlib.sha256(), 0
    with target.writer(path) as file:
        for chunk in chunks:
            digest.update(chunk)
            size += file.write(chunk)
    return Copied(size, digest.hexdigest())


def copy_lake(
    root: str, target: StoredFiles, prefix: str = "", on_file: Callable[[str], None] = lambda path: None
) -> dict[str, Copied]:
    """Copies the lake under a root to other storage, below a prefix there; the copied files by their paths there.

    A table that is not there is left out. `on_file` is told each path, below the root, before its file is copied.
    Raises `LakeUnreachable`, and `LakeConflict` when a table lost files again and again.
    """
    copy = _Copy(Lake(root), target, prefix, on_file)
    if copy.source.read(FIXED) is not None:
        copy.add(FIXED)
    for table in COPIED:
        if holds_table(root, table.name):
            copy.add_table(table)
    return copy.files


class _Copy:
    """A copy that is being made; `files` are those that it has."""

    def __init__(self, lake: Lake, target: StoredFiles, prefix: str, on_file: Callable[[str], None]) -> None:
        self.lake, self.source = lake, StoredFiles(lake.root)
        self.target, self.prefix, self.on_file = target, prefix, on_file
        self.files: dict[str, Copied] = {}

    def add(self, path: str) -> None:
        """Copies a file. Raises `FileNotFoundError`."""
        self.on_file(path)
        self.files[self.prefix + path] = copy_file(self.source.chunks(path), self.target, self.prefix + path)

    def add_table(self, table: Table) -> None:
        """Copies the newest version of a table. Raises `LakeConflict`."""
        for _ in range(ATTEMPTS):
            try:
                return self._add_version(table)
            except FileNotFoundError:
                continue
        raise LakeConflict(f"{self.lake.uri(table)}: files were dropped {ATTEMPTS} times while it was copied")

    def _add_version(self, table: Table) -> None:
        log = f"{table.name}/{LOG_FOLDER}"
        note = self.source.read(f"{log}/{_NOTE}")
        opened = self.lake.open(table)
        begin, version = msgspec.json.decode(note)["version"] if note else 0, opened.version()
        data = {f"{table.name}/{path}" for path in opened.get_add_actions().column("path").to_pylist()}
        for path in sorted(data):
            if self.prefix + path not in self.files:  # it never changes: an attempt before this one may have it
                self.add(path)
        checkpoint = [path for path in self.source.under(log) if path.startswith(f"{log}/{begin:020}.checkpoint")]
        if note and not checkpoint:
            raise FileNotFoundError(note)  # a newer one has come, and this one went
        for path in checkpoint if note else []:
            self.add(path)
        for number in range(begin + 1 if note else 0, version + 1):
            self.add(f"{log}/{number:020}.json")
        if note:
            copied = copy_file(iter([note]), self.target, f"{self.prefix}{log}/{_NOTE}")
            self.files[f"{self.prefix}{log}/{_NOTE}"] = copied
        self._drop_others(table, data)

    def _drop_others(self, table: Table, data: set[str]) -> None:
        """Drops what an attempt before this one copied, and this version does not name."""
        kept = {self.prefix + path for path in data}
        for path in list(self.files):
            if path.startswith(f"{self.prefix}{table.name}/") and f"/{LOG_FOLDER}/" not in path and path not in kept:
                self.target.delete(path)
                del self.files[path]
