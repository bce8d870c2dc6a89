"""Who may read a home: its owner alone, since its log, its lake and its logs have people in them.

A home that is made here is closed as a whole. One that was there may be a folder that others use too: what TinyCDP
keeps in it is closed, and the folder stays as it is. A lake elsewhere keeps its rights: notebooks of others read it.

A closed folder closes all that is in it. One that belongs to another user, such as the root of a mounted disk, cannot
be closed by us: there each file of ours is, however deep.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: What a home holds, by name: folders, then files.
FOLDERS = ("lake", "redis", "prefect", "logs", "run")
FILES = (
    "keys.json",
    "signing.key",
    "stack.json",
    "redis.conf",
    "redis.password",
    "supervisord.conf",
    "supervisord.pid",
)

#: The rights of everybody but the owner; those among them to change a folder, and to go into it.
_OF_OTHERS, _TO_CHANGE, _TO_ENTER = 0o077, 0o022, 0o011


def close_home(home: Path, lake: str | None = None) -> None:
    """Makes the home where it is absent, and takes from others the rights to what TinyCDP keeps in it.

    `lake` is the lake's address where it is another than the home's own. What belongs to another user stays as it is,
    and `tinycdp doctor` names it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    for name in ("redis", "logs", "run"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    for path in open_to_others(home, lake):
        with suppress(OSError):  # another user's, or gone by now
            path.chmod(path.stat().st_mode & 0o7777 & ~_OF_OTHERS)


def open_to_others(home: Path, lake: str | None = None) -> list[Path]:
    """What the home holds that another user of this machine may open; nothing where the home itself is closed.

    Of a folder that we can close it is the folder alone. Of one that we cannot it is what is open in it, and the folder
    itself where others may change it.
    """
    if not home.exists() or not home.stat().st_mode & _OF_OTHERS:
        return []
    held = [home / name for name in (*FOLDERS, *FILES)]
    if lake is not None and "://" not in lake:
        place = Path(lake).absolute()
        held += [place] if place != home and place.is_relative_to(home) else []
    return [path for kept in dict.fromkeys(held) for path in _open_in(kept)]


def _open_in(path: Path) -> Iterator[Path]:
    try:
        found = path.lstat()
    except OSError:  # not there, or in a folder that we may not look into, nor may others
        return
    # A link leads to a place that somebody chose, whose rights are theirs.
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & _OF_OTHERS:
        return
    is_closable = os.geteuid() in (0, found.st_uid)
    if is_closable or not stat.S_ISDIR(found.st_mode) or found.st_mode & _TO_CHANGE:
        yield path
    if not is_closable and stat.S_ISDIR(found.st_mode) and found.st_mode & _TO_ENTER:
        with suppress(OSError):
            for inner in sorted(path.iterdir()):
                yield from _open_in(inner)
