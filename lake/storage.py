"""One look at the storage under the lake: what stands there, and the file of settings that are fixed for good.

A look asks once, so that a storage that fails is known at once. Those who read and write tables ask again for minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from .errors import LakeDamaged, LakeUnreachable

#: The file beside the tables that holds the settings that are fixed for good. (A property of a table could hold them,
#: but changing one stops the whole process until the store has answered.)
FIXED = "system.json"


def list_root(root: str) -> list[str]:
    """The names of the tables and other folders right under a root. Raises `LakeUnreachable`."""
    try:
        return [str(folder) for folder in obstore.list_with_delimiter(_store(root))["common_prefixes"]]
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}: {error}") from error


def holds_table(root: str, name: str) -> bool:
    """Whether a table of this name has a log under a root. Raises `LakeUnreachable`.

    (`DeltaTable.is_deltatable` says the same, but stops the whole process until the store has answered.)
    """
    try:
        return any(obstore.list(_store(root), prefix=f"{name}/_delta_log/", chunk_size=1))
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}/{name}: {error}") from error


def fixed(root: str) -> dict[str, str]:
    """The fixed settings of the system whose lake is here, by name; empty where nobody has noted them.

    Raises `LakeUnreachable`, and `LakeDamaged` where the file is no longer what was written.
    """
    try:
        text = bytes(obstore.get(_store(root), FIXED).bytes())
    except FileNotFoundError:
        return {}
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}/{FIXED}: {error}") from error
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LakeDamaged(
            f"{root}/{FIXED} is damaged ({error}): bring it from a backup. Without one, remove it, and start with the "
            "TINYCDP_SHARDS and the TINYCDP_TIME_ZONE that this system was made with: they are noted anew"
        ) from error


def fix(root: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Notes settings for good, unless somebody has; returns the settings that are noted. Raises as `fixed` does."""
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
    # The wait for the one answer is not shortened: options of the client would replace those of the environment.
    return from_url(root, retry_config={"max_retries": 0})
