"""Every file under the lake's root, in a folder or an object store: to search them all, and to delete one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from .errors import LakeUnreachable

#: A writer that was killed leaves a part of a file in a folder. The name of the part has this in it.
STAGED = "#"


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
        if self.folder is not None:
            paths = sorted(path for path in (self.folder / prefix).rglob("*") if path.is_file())
            yield from (path.relative_to(self.folder).as_posix() for path in paths)
            return
        try:
            for page in obstore.list(self._store, prefix=prefix or None):
                yield from (file["path"] for file in page)
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

    def drop_staged(self, older_than_hours: float, prefix: str = "") -> int:
        """Deletes the parts of files, in a folder and below it, that were written last so long ago; returns how many.

        An object store shows no such parts: it drops them by a rule of its own, for uploads that were not completed.
        """
        dropped = 0
        for path in (self.folder / prefix).rglob(f"*{STAGED}*") if self.folder is not None else ():
            try:
                if time.time() - path.stat().st_mtime >= older_than_hours * 3_600:
                    path.unlink()
                    dropped += 1
            except FileNotFoundError:
                continue  # its writer is done
        return dropped

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
