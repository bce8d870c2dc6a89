"""Who may read a home: its owner alone, since its log, its lake and its logs have people in them.

A home that is made here is closed as a whole. One that was there may be a folder that others use too: what TinyCDP
keeps in it is closed, and the folder stays as it is. A lake elsewhere keeps its rights: notebooks of others read it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

#: What a home holds, by name: folders, then files.
FOLDERS = ("lake", "redis", "prefect", "logs", "run")
FILES = ("keys.json", "signing.key", "stack.json", "redis.conf", "redis.password", "supervisord.conf")

#: The rights of everybody but the owner.
_OF_OTHERS = 0o077


def close_home(home: Path) -> None:
    """Makes the home where it is absent, and takes from others the rights to what TinyCDP keeps in it.

    What belongs to another user stays as it is, and `tinycdp doctor` names it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    for name in ("redis", "logs", "run"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    for path in open_to_others(home):
        with suppress(PermissionError):
            path.chmod(path.stat().st_mode & 0o7777 & ~_OF_OTHERS)


def open_to_others(home: Path) -> list[Path]:
    """What the home holds that another user of this machine may open; nothing where the home itself is closed."""
    if not home.exists() or not home.stat().st_mode & _OF_OTHERS:
        return []
    held = (home / name for name in (*FOLDERS, *FILES))
    # A link leads to a place that somebody chose, whose rights are theirs.
    return [path for path in held if path.exists() and not path.is_symlink() and path.stat().st_mode & _OF_OTHERS]
