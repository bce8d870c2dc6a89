"""The storage under the lake, by itself: a folder or an object store, named by the same root."""

from __future__ import annotations

from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from lake.errors import LakeUnreachable


def list_root(root: str) -> list[str]:
    """What stands right under a root: the names of the tables and other folders. Raises `LakeUnreachable`."""
    try:
        store = from_url(root) if "://" in root else LocalStore(Path(root))
        return [str(one) for one in obstore.list_with_delimiter(store)["common_prefixes"]]
    except (BaseError, OSError, ValueError) as error:
        raise LakeUnreachable(f"{root}: {error}") from error
