"""Files beside the tables, in the same folder or object store by the same setting: private, and whole or not at all.

A folder is the owner's alone (mode 0700). In an object store files are as private as its bucket, and written in parts
that show only when all are there.
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
from .stored import Stored

#: Bytes of a part of a file on its way in, and how many parts are under way at once.
PART_BYTES, PARTS_AT_ONCE = 8 << 20, 2
#: Bytes that a reader gets at a time, at the least.
CHUNK_BYTES = 256 << 10
#: Parts of files are kept so long: somebody may be writing there still.
STAGED_HOURS = 24


class File(NamedTuple):
    """A file as it is kept."""

    name: str
    size: int
    etag: str | None
    modified: datetime


class Files:
    """The files in one folder under a root, by name. Names are the caller's to check."""

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
        """Writes a file from its bytes, a few parts in memory; where the chunks raise, what was there before stays."""
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
            found = [_file(meta) for some in obstore.list(self._store) for meta in some]
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error
        return sorted(found, key=lambda file: (file.modified, file.name), reverse=True)

    def head(self, name: str) -> File | None:
        """What a file is; None where there is none of that name."""
        try:
            return _file(obstore.head(self._store, name))
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        """The bytes of a file, some at a time. Raises `FileNotFoundError`."""
        found = await obstore.get_async(self._store, name)
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    def signed(self, name: str, seconds: int) -> str | None:
        """An address at which the store gives the file to whoever has it, so long; None where the store cannot."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        return obstore.sign(self._store, "GET", name, timedelta(seconds=seconds))

    def delete(self, name: str) -> None:
        """Drops a file, if it is there still."""
        Stored(self.uri).delete(name)

    def delete_before(self, before: datetime) -> int:
        """Drops files that were written before an instant, and what killed writers left; answers how many files."""
        old = [file.name for file in self.listed() if file.modified < before]
        try:
            if old:
                obstore.delete(self._store, old)
        except BaseError as error:
            raise LakeUnreachable(f"{self.uri}: {error}") from error
        Stored(self.uri).drop_staged(STAGED_HOURS)
        return len(old)

    def _attributes(self, name: str) -> Any:
        if isinstance(self._store, LocalStore):
            return None  # a folder has none
        return {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"'}


def _file(meta: Any) -> File:
    return File(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])
