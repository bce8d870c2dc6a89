"""What some versions of a table say under the names of transactions, from these versions' logs alone.

Delta's own look for the transaction of a name reads the log from its last checkpoint on, for each name anew.
"""

from __future__ import annotations

import msgspec

from .schemas import Table
from .stored_files import LOG_FOLDER, StoredFiles

#: More versions are not read one by one: a checkpoint has come meanwhile, and the whole log is shorter.
VERSIONS_MAX = 200


class _Transaction(msgspec.Struct, frozen=True):
    appId: str
    version: int


class _Action(msgspec.Struct, frozen=True):
    txn: _Transaction | None = None


_decode = msgspec.json.Decoder(_Action).decode_lines


def transactions_between(files: StoredFiles, table: Table, after: int, upto: int) -> dict[str, int] | None:
    """name -> number, of each transaction that a version with after < version <= upto has committed, the newest.

    None where that is not to be read so: a version's log is gone, or they are many. Raises `LakeUnreachable`.
    """
    if upto - after > VERSIONS_MAX:
        return None
    numbers: dict[str, int] = {}
    for version in range(after + 1, upto + 1):
        text = files.read(f"{table.name}/{LOG_FOLDER}/{version:020}.json")
        if text is None:
            return None
        numbers |= {action.txn.appId: action.txn.version for action in _decode(text) if action.txn is not None}
    return numbers
