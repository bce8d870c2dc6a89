"""Files that are made once, with secrets that a stack makes for itself: its first keys, and what signs addresses."""

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
