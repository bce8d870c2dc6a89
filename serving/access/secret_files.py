"""Files with secrets that a stack makes for itself: its first keys, what signs addresses, the password of its Redis."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def secret_file(path: Path, new: Callable[[], bytes]) -> bytes:
    """The bytes of a file. Where it is absent it is made first, with the bytes that `new` gives.

    Only its owner can read it (mode 0600), from before anything is in it, and it appears whole. Where two processes
    make it at the same moment the first one's bytes stand, and both read those.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.") as draft:
            draft.write(new())
            draft.flush()
            with suppress(FileExistsError):  # another process was first
                os.link(draft.name, path)
    return path.read_bytes()


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, from before anything is in it."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)  # the file may have been there with another mode
        file.write(text)
