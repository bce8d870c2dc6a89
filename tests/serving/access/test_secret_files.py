"""Secrets that a stack makes for itself, once."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier

from serving.access.secret_files import secret_file


def test_all_who_come_at_once_read_what_the_first_one_wrote(tmp_path: Path) -> None:
    """Each makes bytes of its own, one of them wins, and nothing but that file is left."""
    path = tmp_path / "home" / "some.key"
    barrier, numbers = Barrier(4), count()

    def new() -> bytes:
        barrier.wait()
        return b"secret %d" % next(numbers)

    with ThreadPoolExecutor(4) as threads:
        read = set(threads.map(lambda _: secret_file(path, new), range(4)))

    assert read == {path.read_bytes()}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_only_its_owner_reads_it_and_it_is_made_once(tmp_path: Path) -> None:
    """The mode is 0600; a file that is there is read, and nothing new is made."""
    path = tmp_path / "some.key"
    secrets: Iterator[bytes] = iter([b"first"])

    assert secret_file(path, lambda: next(secrets)) == b"first"
    assert secret_file(path, lambda: next(secrets)) == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
