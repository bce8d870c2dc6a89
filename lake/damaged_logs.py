"""Files of a table's log that cannot be read: a disk that was full or lost power, or a hand, cut them off.

Delta says that a log is broken, and not in which file. A commit is lines of JSON, a checkpoint is Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .schemas import Table
from .stored_files import LOG_FOLDER, StoredFiles

#: The newest files of a log that are looked at: of one that Delta does not read, of which maintenance keeps a day; and
#: of one that it reads. A commit that is empty is read as one that did nothing.
BROKEN_LOOKED_AT_MAX, READ_LOOKED_AT_MAX = 2_000, 20
#: Delta's note of the last checkpoint, from which on it reads the log.
_NOTE = "_last_checkpoint"


def damaged_log_files(files: StoredFiles, table: Table, looked_at_max: int) -> list[str]:
    """The paths, below the lake's root, of the log's newest files that hold something else than their kind, in order.

    So does the note of the last checkpoint where that is gone: Delta reads nothing then. Raises `LakeUnreachable`.
    """
    names = sorted(files.under(f"{table.name}/{LOG_FOLDER}"))
    return [name for name in names[-looked_at_max:] if _is_damaged(files, name)]


def damage_told(table: str, paths: Sequence[str]) -> str:
    """What is said of a table with such files: which they are, and what is to be done."""
    if paths[-1].endswith(_NOTE):
        return (
            f"the log of {table} is damaged: {paths[-1]} is cut off, or names a checkpoint that is gone. Bring the "
            "checkpoint from a backup. If there is none: stop the stack, move that file away, and start it. Nothing is "
            "lost where all commits since the table was made are there; ask `tinycdp doctor`"
        )
    return (
        f"the log of {table} is damaged in {', '.join(paths[:3])}. Bring that from a backup. If there is none: stop "
        "the stack, move the newest of these away, and start it. What that commit held is lost, but for what Redis' "
        "log still has, which the drain commits again; ask `tinycdp doctor` what is left to do"
    )


def _is_damaged(files: StoredFiles, name: str) -> bool:
    data = files.read(name)
    if not _is_whole(name, data):
        return True
    return data is not None and name.endswith(_NOTE) and not _has_checkpoint(files, name, data)


def _has_checkpoint(files: StoredFiles, note: str, data: bytes) -> bool:
    """Whether the checkpoint of a note is there. It is written before its note, so it is looked for after that is read.

    Files that were listed before may lack it: others make checkpoints all the while.
    """
    log = note.removesuffix(_NOTE)
    begins = f"{log}{int(json.loads(data)['version']):020}.checkpoint"
    return any(name.startswith(begins) for name in files.under(log.removesuffix("/")))


def _is_whole(name: str, data: bytes | None) -> bool:
    if data is None:  # dropped meanwhile
        return True
    if name.endswith(".parquet"):
        return data[:4] == data[-4:] == b"PAR1" and len(data) > 8
    if not name.endswith((".json", _NOTE)):
        return True
    try:
        for line in data.splitlines():
            json.loads(line)
    except ValueError:
        return False
    return bool(data.strip())
