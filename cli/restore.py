"""`tinycdp restore`: what `tinycdp backup` copied, put into an empty home.

The next `tinycdp up` finds an older Redis and a lake that is as new or newer, and the drain brings Redis what it lacks
(`pipelines/recover.py`). A restore that is cut off leaves a mark in the home, and no stack starts there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cli.backup import LAKE_FOLDER, REDIS_FILE, SECRETS, Backup, BackupError, read_backup
from cli.home_rights import close_home
from cli.orphans import is_supervised, orphans
from cli.redis_server import find_server
from cli.restoring import begin, finish, require_restored
from cli.up import alone_on
from lake.copies import Copied, copy_file
from lake.errors import LakeBehind
from lake.lake import Lake
from lake.schemas import EVENTS
from lake.storage import holds_table
from lake.stored_files import StoredFiles
from serving.settings import Settings, settings_fixed
from serving.store.requirements import require_same

#: Where the embedded Redis reads a file of its log. A snapshot is one, with no commands behind it. A newer server takes
#: it over into its folder of logs.
REDIS_PATH = "redis/appendonly.aof"


class Restored(NamedTuple):
    """What a restore put back: the backup, and whether Redis is of it."""

    backup: Backup
    has_redis: bool


def restore(settings: Settings, folder: Path, on_file: Callable[[str], None] = lambda path: None) -> Restored:
    """Puts a backup into the home and the lake of the settings, which must be empty.

    A backup without a lake is for one that is there. The caller sees to it that no stack starts meanwhile. Raises
    `BackupError` for a backup that is damaged or does not fit, and for a home that is not empty; `NotRestored` for one
    where a restore did not end; `LakeBehind` for a lake that is older than Redis; `OtherSetting`.
    """
    folder, home = folder.absolute(), settings.home.absolute()
    backup = read_backup(folder)
    for name, value in settings_fixed(settings).items():
        require_same(name, backup.fixed.get(name), value)
    has_redis = backup.redis is not None and settings.redis_url is None
    if has_redis:
        _require_server(backup)
    if backup.has_lake:
        _require_nothing_at(settings.lake_root)
    else:
        _require_not_behind(settings.lake_root, backup)
    close_home(home, settings.lake_uri)
    with alone_on(home):
        require_restored(home)
        _require_empty(home)
        begin(home)
        _put_all(backup, folder, settings, has_redis, on_file)
        close_home(home, settings.lake_uri)
        finish(home)
    return Restored(backup, has_redis)


def _put_all(backup: Backup, folder: Path, settings: Settings, has_redis: bool, on_file: Callable[[str], None]) -> None:
    source, home, lake = StoredFiles(str(folder)), settings.home.absolute(), StoredFiles(settings.lake_root)
    for path, expected in backup.files.items():
        on_file(path)
        if path.startswith(f"{LAKE_FOLDER}/"):
            _put(source, path, expected, lake, path.removeprefix(f"{LAKE_FOLDER}/"))
        elif path in SECRETS or has_redis:
            put_at = REDIS_PATH if path == REDIS_FILE else path
            _put(source, path, expected, StoredFiles(str(home)), put_at)
            (home / put_at).chmod(0o600)


def _put(source: StoredFiles, path: str, expected: Copied, target: StoredFiles, target_path: str) -> None:
    try:
        copied = copy_file(source.chunks(path), target, target_path)
    except FileNotFoundError:
        raise BackupError(f"{source.root}/{path} is gone: take another backup, and an empty home") from None
    if copied != expected:
        raise BackupError(
            f"{source.root}/{path} is damaged: it is not what was written. Take another backup, and an empty home"
        )


def _require_empty(home: Path) -> None:
    held = [home / name for name in SECRETS if (home / name).exists()]
    held += [home / "redis"] if any((home / "redis").glob("append*")) else []
    if is_supervised(home) or orphans(home):
        raise BackupError(f"a stack runs on {home}: stop it with `tinycdp down`, and restore into another TINYCDP_HOME")
    if held:
        raise _taken(", ".join(map(str, held)))


def _require_nothing_at(lake_root: str) -> None:
    if next(StoredFiles(lake_root).under(), None) is not None:
        raise _taken(lake_root)


def _taken(places: str) -> BackupError:
    return BackupError(
        f"{places} is there already, and a restore replaces nothing: set TINYCDP_HOME, and TINYCDP_LAKE_URI where the "
        "lake is elsewhere, to places that are empty"
    )


def _require_server(backup: Backup) -> None:
    server = find_server()
    written_by = tuple(int(number) for number in str(backup.redis).split(".")[:2])
    if server.version[:2] < written_by:
        raise BackupError(
            f"Redis or Valkey {backup.redis} wrote the copy of Redis, and {server.path} is "
            f"{'.'.join(map(str, server.version))}, which may not read it: put the newer server on the PATH"
        )


def _require_not_behind(lake_root: str, backup: Backup) -> None:
    """Raises `LakeBehind` where the lake lacks events that the backup's Redis has forgotten."""
    if holds_table(lake_root, EVENTS.name):
        seqs = Lake(lake_root).transaction_versions(None, len(backup.drained))
    else:
        seqs = [0] * len(backup.drained)
    lacking = sum(max(0, drained - seq) for drained, seq in zip(backup.drained, seqs, strict=True))
    if lacking:
        raise LakeBehind(
            f"the lake at {lake_root} is older than the backup of {backup.at}: it lacks {lacking} events that Redis "
            "has not kept either. Put the lake there that was copied after that backup began. Where there is none, "
            "start with this lake, the backup's keys.json and an empty Redis: that gives up those events"
        )
