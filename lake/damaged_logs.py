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


def damaged_log_files(files: StoredFiles, table: Table, looked_at_max: int) -> list[str]:
    """The paths, below the lake's root, of the log's newest files that hold something else than their kind, in order.

    Raises `LakeUnreachable`.
    """
    names = sorted(files.under(f"{table.name}/{LOG_FOLDER}"))[-looked_at_max:]
    return [name for name in names if not _is_whole(name, files.read(name))]


def damage_told(table: str, paths: Sequence[str]) -> str:
    """What is said of a table with such files: which they are, and what is to be done."""
    return (
        f"the log of {table} is damaged in {', '.join(paths[:3])}. Bring that from a backup. If there is none: stop "
        "the stack, move the newest of these away, and start it. What that commit held is lost, but for what Redis' "
        "log still has, which the drain commits again; ask `tinycdp doctor` what is left to do"
    )


def _is_whole(name: str, data: bytes | None) -> bool:
    if data is None:  # dropped meanwhile
        return True
    if name.endswith(".parquet"):
        return data[:4] == data[-4:] == b"PAR1" and len(data) > 8
    if not name.endswith((".json", "_last_checkpoint")):
        return True
    try:
        for line in data.splitlines():
            json.loads(line)
    except ValueError:
        return False
    return bool(data.strip())
