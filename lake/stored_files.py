"""Every file under the lake's root, in a folder or an object store: to search them all, to
write one and to delete one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from .errors import LakeUnreachable

#: A writer that was killed leaves a part of a file in a folder. The name of the part has this in it.
STAGED = "#"
#: Bytes of a part of a file that is being sent, and how many parts are under way at once.
PART_BYTES, PARTS_AT_ONCE = 8 << 20, 2
#: The folder of a table's log, in the folder of the table.
LOG_FOLDER = "_delta_log"


class StoredFile(NamedTuple):
    """A file's path and when it was written last."""

    path: str
    modified: datetime


class StoredFileWriter:
    """Takes the bytes of a file, and counts them. What takes it to its end is `StoredFiles.writer`, not `close`."""

    closed = False

    def __init__(self, sink: Any) -> None:
        self._sink, self._size = sink, 0

    def write(self, data: Any) -> int:
        """Adds bytes."""
        self._sink.write(bytes(data))
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes were written."""
        return self._size

    def flush(self) -> None:
        """Nothing: bytes are flushed at the end."""

    def close(self) -> None:
        """Nothing: others close a file whether or not its writer failed."""

    def writable(self) -> bool:
        """Whether it takes bytes."""
        return True


class StoredFiles:
    """Every file under a root, of tables and of all else. Paths are relative to the root. Raises `LakeUnreachable`."""

    def __init__(self, root: str) -> None:
        self.root = root
        is_bucket = "://" in root and not root.startswith("file://")
        #: The folder of a lake on this machine. It is read as a folder: a store does not list the parts of files.
        self.folder = None if is_bucket else Path(unquote(urlparse(root).path) if "://" in root else root).absolute()
        self._bucket = root if is_bucket else ""

    @cached_property
    def _store(self) -> ObjectStore:
        return from_url(self._bucket)

    def under(self, prefix: str = "") -> Iterator[str]:
        """The paths of all files in a folder and below it."""
        for file in self.listed(prefix):
            yield file.path

    def listed(self, prefix: str = "") -> Iterator[StoredFile]:
        """All files in a folder and below it."""
        if self.folder is not None:
            for path in sorted((self.folder / prefix).rglob("*")):
                try:
                    if path.is_file():
                        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                        yield StoredFile(path.relative_to(self.folder).as_posix(), modified)
                except FileNotFoundError:
                    continue  # gone meanwhile
            return
        try:
            for page in obstore.list(self._store, prefix=prefix or None):
                yield from (StoredFile(file["path"], file["last_modified"]) for file in page)
        except (BaseError, OSError) as error:
            raise LakeUnreachable(f"{self.root}: {error}") from error

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None when the file has gone meanwhile."""
        try:
            if self.folder is not None:
                return (self.folder / path).read_bytes()
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise LakeUnreachable(f"{self.root}/{path}: {error}") from error

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file's bytes, some at a time. Raises `FileNotFoundError`."""
        try:
            if self.folder is not None:
                with (self.folder / path).open("rb") as file:
                    while chunk := file.read(PART_BYTES):
                        yield chunk
                return
            for part in obstore.get(self._store, path).stream(min_chunk_size=PART_BYTES):
                yield bytes(part)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise LakeUnreachable(f"{self.root}/{path}: {error}") from error

    @contextmanager
    def writer(self, path: str) -> Iterator[StoredFileWriter]:
        """A file that is being written: it shows when the block ends, and not at all where the block raises."""
        if self.folder is not None:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}{STAGED}1")
            try:
                with part.open("xb") as file:
                    yield StoredFileWriter(file)
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(target)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            return
        # Without its end an upload is not there. The store drops its parts.
        try:
            upload = obstore.open_writer(self._store, path, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
            yield StoredFileWriter(upload)
            upload.close()
        except BaseError as error:
            raise LakeUnreachable(f"{self.root}/{path}: {error}") from error

    def staged(self, older_than_hours: float, prefix: str = "") -> list[str]:
        """The paths of the parts of files, in a folder and below it, that were written last so long ago.

        An object store shows no such parts: it drops them by a rule of its own, for uploads that were not completed.
        """
        if self.folder is None:
            return []
        before_s = time.time() - older_than_hours * 3_600
        return [
            file.path
            for file in self.listed(prefix)
            if STAGED in file.path.rpartition("/")[2] and file.modified.timestamp() <= before_s
        ]

    def delete(self, path: str) -> None:
        """Deletes a file, if it is still there."""
        try:
            if self.folder is not None:
                (self.folder / path).unlink(missing_ok=True)
                return
            obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise LakeUnreachable(f"{self.root}/{path}: {error}") from error

    def delete_all(self, paths: Sequence[str]) -> None:
        """Deletes files; those that are gone already do not matter."""
        if self.folder is not None:
            for path in paths:
                self.delete(path)
            return
        try:
            if paths:
                obstore.delete(self._store, list(paths))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise LakeUnreachable(f"{self.root}: {error}") from error
