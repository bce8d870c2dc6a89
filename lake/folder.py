"""A folder of files beside the tables, such as the exports: private, and each file whole or not at all.

The folder lies under the lake's root, so the same setting names it. On this machine it is the owner's alone (mode
0700). In an object store files are as private as the bucket, and written in parts that show only when all are there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store, from_url

from .errors import LakeUnreachable
from .stored_files import PART_BYTES, PARTS_AT_ONCE, StoredFiles

#: Least bytes that a reader gets at a time.
CHUNK_BYTES = 256 << 10
#: Parts of files are kept so long, since their writer may still be at work.
STAGED_HOURS = 24


class File(NamedTuple):
    """A file of the folder: its name, its bytes, what tells its content from another, and when it was written."""

    name: str
    size: int
    etag: str | None
    modified: datetime


class Folder:
    """The files in one folder under a root, by name. The caller checks the names."""

    def __init__(self, root: str, folder: str) -> None:
        self.uri = f"{root.rstrip('/')}/{folder}"

    @cached_property
    def _store(self) -> ObjectStore:
        if "://" in self.uri and not self.uri.startswith("file://"):
            return from_url(self.uri)
        folder = Path(unquote(urlparse(self.uri).path) if self.uri.startswith("file://") else self.uri)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        return LocalStore(folder)

    def put(self, name: str, chunks: Iterator[bytes]) -> None:
        """Writes a file from its bytes, with a few parts in memory. Where the chunks raise, the file before stays."""
        try:
            obstore.put(
                self._store,
                name,
                chunks,
                attributes=self._attributes(name),
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error

    def listed(self) -> list[File]:
        """All files, the newest first."""
        try:
            files = [_file(meta) for page in obstore.list(self._store) for meta in page]
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error
        return sorted(files, key=lambda file: (file.modified, file.name), reverse=True)

    def head(self, name: str) -> File | None:
        """A file without its bytes; None where there is none of that name."""
        try:
            return _file(obstore.head(self._store, name))
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        """The bytes of a file, some at a time. Raises `FileNotFoundError`."""
        answer = await obstore.get_async(self._store, name)
        async for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    def signed(self, name: str, seconds: int) -> str | None:
        """An address at which the store gives the file to whoever has it, for so long; None where the store cannot."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        return obstore.sign(self._store, "GET", name, timedelta(seconds=seconds))

    def delete(self, name: str) -> None:
        """Drops a file, if it is still there."""
        StoredFiles(self.uri).delete(name)

    def delete_before(self, before: datetime) -> int:
        """Drops files that were written before an instant, and what killed writers left; returns how many files."""
        old = [file.name for file in self.listed() if file.modified < before]
        try:
            if old:
                obstore.delete(self._store, old)
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error
        files = StoredFiles(self.uri)
        files.delete_all(files.staged(STAGED_HOURS))
        return len(old)

    def _attributes(self, name: str) -> Any:
        """The headers with which an object store sends a file. It takes every file for CSV."""
        if isinstance(self._store, LocalStore):
            return None  # a folder keeps no attributes
        return {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"'}


def _file(meta: Any) -> File:
    return File(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])
