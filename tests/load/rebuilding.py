"""Rebuilds that never pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from serving.store.store import Store
from tests.running import RunningStack


@contextmanager
def rebuilding(stack: RunningStack) -> Iterator[list[int]]:
    """Asks for a rebuild whenever the one before is done, until the block ends; the numbers of those that were."""
    stop, done = threading.Event(), []

    def ask() -> None:
        with Store(stack.stack.redis_url) as store:
            while not stop.is_set():
                number = store.want_rebuild()
                while store.rebuild_requests().done < number and not stop.wait(0.05):
                    pass
                if not stop.is_set():
                    done.append(number)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield done
    finally:
        stop.set()
        asking.join()
