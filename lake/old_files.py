"""Files that a table does not need any more: files that were replaced, strays, and old files of its log.

A **stray** stands in no version of the table. Its writer was cut off or refused, or has not committed it yet. Its age
does not tell which: a process may be stopped for as long as a laptop sleeps. So the table is **fenced** before a stray
goes: a commit changes its metadata, and Delta then refuses the commit of every writer who opened the table before,
whatever it writes and whichever release it is. A stray that was there before the fence can stand in no version after
it. Its writer looks at the table again and writes anew.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from .errors import LakeConflict, LakeError
from .schemas import RETENTION_HOURS, Table
from .stored_files import LOG_FOLDER, StoredFiles

#: The key under which the metadata of a table's last column holds the version of the last fence.
FENCE = "tinycdp.fence"
#: And the key for the version of the last fence of a purge at once. Who computed rows before it must compute them anew.
PURGED = "tinycdp.purged"
#: How often a fence is put up anew when another change of the table's metadata was first.
ATTEMPTS = 10
#: A version's files in a table's log.
_LOG_FILE = re.compile(r"(\d{20})\.(?:json|checkpoint\..*parquet|checkpoint\.parquet)")
_DURATION = re.compile(r"interval (\d+) (second|minute|hour|day|week)s?")


def drop_replaced(opened: DeltaTable, older_than_hours: float) -> int:
    """Deletes the files that the table's log knows as replaced so long ago; returns how many."""
    return len(opened.vacuum(_whole(older_than_hours), False, enforce_retention_duration=False))


def drop_strays(opened: DeltaTable, table: Table, files: StoredFiles, older_than_hours: float) -> int:
    """Deletes the strays that were written so long ago, and parts of files; returns how many.

    Writers that are at work meanwhile are refused and write anew, if any stray is there. Raises `LakeConflict`.
    """
    before = _strays(opened, older_than_hours)
    # Parts of the log's own files hold nothing that a person sent: they may grow old.
    log_parts = files.staged(max(older_than_hours, RETENTION_HOURS), f"{table.name}/{LOG_FOLDER}")
    parts = [path for path in files.staged(older_than_hours, table.name) if f"/{LOG_FOLDER}/" not in path] + log_parts
    if not before and not parts:
        return 0
    put_fence(opened, table)
    # One that was committed before the fence is no stray any more.
    strays = before & _strays(opened, older_than_hours)
    files.delete_all([*(f"{table.name}/{path}" for path in strays), *parts])
    return len(strays) + len(parts)


def _strays(opened: DeltaTable, older_than_hours: float) -> set[str]:
    """The paths of files, below the table, that no version knows or that were replaced long ago."""
    hours = _whole(older_than_hours)
    unneeded = opened.vacuum(hours, True, enforce_retention_duration=False, full=True)
    return set(unneeded) - set(opened.vacuum(hours, True, enforce_retention_duration=False))


def _whole(hours: float) -> int:
    return int(-(-hours // 1))


# ── the fence ────────────────────────────────────────────────────────────────────────────────────────────────────────


def put_fence(opened: DeltaTable, table: Table, key: str = FENCE) -> None:
    """Refuses the commits of all who opened the table before; the table object is past the fence.

    (Of the changes of metadata this one lets other threads go on while the store answers.)
    """
    for _ in range(ATTEMPTS):
        opened.update_incremental()
        try:
            opened.alter.set_column_metadata(table.columns.names[-1], {key: str(opened.version() + 1)})
        except CommitFailedError:
            continue
        opened.update_incremental()
        return
    raise LakeConflict(f"{table.name}: others changed the table {ATTEMPTS} times")


def fence_of(opened: DeltaTable, key: str = FENCE) -> str | None:
    """What tells one fence of a table from another; None before the first."""
    fences = [field.metadata.get(key) for field in opened.schema().fields]
    return next((str(fence) for fence in fences if fence is not None), None)


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def drop_logs(opened: DeltaTable, table: Table, files: StoredFiles, now: datetime | None = None) -> None:
    """Deletes the files of the log that no version needs that was the newest within the table's log retention.

    (`cleanup_metadata` goes by the age of versions. The newest version of a table at rest may be a month old, and its
    readers lose it the moment that the next one is written.)
    """
    since = (now or datetime.now(UTC)) - _log_retention(opened)
    folder = f"{table.name}/{LOG_FOLDER}"
    versions: dict[str, int] = {}
    newest, checkpoints = -1, [0]
    for file in files.listed(folder):
        name = file.path.rpartition("/")[2]
        match = _LOG_FILE.fullmatch(name)
        if match is None:
            continue
        versions[file.path] = version = int(match[1])
        if not name.endswith(".json"):
            checkpoints.append(version)
        elif file.modified < since:
            newest = max(newest, version)
    needed = max(version for version in checkpoints if version <= max(newest, 0))
    files.delete_all([path for path, version in versions.items() if version < needed])


def _log_retention(opened: DeltaTable) -> timedelta:
    name = "delta.logRetentionDuration"
    text = opened.metadata().configuration.get(name, f"interval {RETENTION_HOURS} hours")
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise LakeError(f"{opened.table_uri}: {name} is {text!r}: write it as `interval 24 hours` or `interval 2 days`")
    return timedelta(**{f"{match[2]}s": int(match[1])})


# ── files that are gone ──────────────────────────────────────────────────────────────────────────────────────────────


def missing_files(opened: DeltaTable, table: Table, files: StoredFiles) -> list[str]:
    """The paths, below the table, of files that its newest version names and that are not there."""
    paths = {str(path) for path in opened.get_add_actions().column("path").to_pylist()}
    return sorted(paths - {path.removeprefix(f"{table.name}/") for path in files.under(table.name)})
