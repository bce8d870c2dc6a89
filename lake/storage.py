"""The storage under the lake, by itself: a folder or an object store, named by the same root.

A store that fails is asked once, where those who read and write tables go on asking it for minutes: these are looks,
taken again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from .errors import LakeUnreachable

#: The object beside the tables that says what is fixed of a system. (A property of a table would do, but to change one
#: keeps the whole process from running until the store has answered.)
FIXED = "system.json"


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


def fixed(root: str) -> dict[str, str]:
    """What is fixed of the system whose lake is here, by name of the setting; nothing where nobody has noted it.

    Raises `LakeUnreachable`.
    """
    try:
        found: dict[str, str] = msgspec.json.decode(
            bytes(obstore.get(_store(root), FIXED).bytes()), type=dict[str, str]
        )
        return found
    except FileNotFoundError:
        return {}
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}/{FIXED}: {error}") from error


def fix(root: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Notes settings where nobody has, once and for all; answers what is noted. Raises `LakeUnreachable`."""
    try:
        obstore.put(_store(root), FIXED, msgspec.json.encode(dict(settings)), mode="create")
    except AlreadyExistsError:
        pass
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}/{FIXED}: {error}") from error
    return fixed(root)


def _store(root: str) -> ObjectStore:
    return _bucket(root) if "://" in root else LocalStore(Path(root))


@lru_cache(maxsize=8)
def _bucket(root: str) -> ObjectStore:
    # Not with a shorter wait for the one answer: options of the client would take the place of the environment's.
    return from_url(root, retry_config={"max_retries": 0})
