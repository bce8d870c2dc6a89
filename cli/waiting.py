"""Waiting for what another process does."""

from __future__ import annotations

import time

from serving.store import Store

REBUILD_S_MAX = 1_800.0


class TookTooLong(RuntimeError):
    """The other process did not get there in time."""


def await_rebuild(store: Store, patience_s: float = REBUILD_S_MAX) -> None:
    """Asks for a rebuild of everybody and returns when it is published. Raises `TookTooLong`."""
    number = store.want_rebuild()
    deadline = time.monotonic() + patience_s
    while store.rebuild_requests().done < number:
        if time.monotonic() > deadline:
            raise TookTooLong(f"no rebuild within {patience_s:.0f} s: is the worker running? (tinycdp doctor)")
        time.sleep(0.1)
