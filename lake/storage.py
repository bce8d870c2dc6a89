"""The storage under the lake, by itself: a folder or an object store, named by the same root.

These are looks, taken again and again: a store that fails is asked once, where those who read and write go on asking it
for minutes.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from lake.errors import LakeUnreachable


def list_root(root: str) -> list[str]:
    """What stands right under a root: the names of the tables and other folders. Raises `LakeUnreachable`."""
    try:
        return [str(one) for one in obstore.list_with_delimiter(_store(root))["common_prefixes"]]
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}: {error}") from error


def holds_table(root: str, name: str) -> bool:
    """Whether a table of this name has a log under a root. Raises `LakeUnreachable`.

    (`DeltaTable.is_deltatable` says the same, but keeps the whole process from running until the store has answered.)
    """
    try:
        return any(obstore.list(_store(root), prefix=f"{name}/_delta_log/", chunk_size=1))
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}/{name}: {error}") from error


def _store(root: str) -> ObjectStore:
    return _bucket(root) if "://" in root else LocalStore(Path(root))


@lru_cache(maxsize=8)
def _bucket(root: str) -> ObjectStore:
    # Not with a shorter wait for the one answer: options of the client would take the place of the environment's.
    return from_url(root, retry_config={"max_retries": 0})
