"""Clients and the life of a process: after a fork, and at its end.

Only the child of a fork does anything, and no signal handler is installed. A child of `multiprocessing` ends by
`os._exit`, which runs no `atexit`; it runs its own finalizers, so one is left there with the first event.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Protocol


class Ending(Protocol):
    """What ends with its process."""

    def _begin(self) -> None: ...

    def _flush_at_exit(self) -> None: ...

    def _close_at_exit(self, took_s: float) -> int: ...


_clients: weakref.WeakSet[Ending] = weakref.WeakSet()
#: Those that have something to send. They are held: an app may forget a client that it has tracked with.
_sending: set[Ending] = set()
_finalized_pid = 0


def enroll(client: Ending) -> None:
    """Lets a client begin anew in forked children, and end with its process."""
    _clients.add(client)


def hold(client: Ending) -> None:
    """Keeps a client alive while it has something to send."""
    _sending.add(client)


def let_go(client: Ending) -> None:
    """Lets a client that has nothing to send go when its app does."""
    _sending.discard(client)


def sends_from_here() -> None:
    """To be called where a client begins to send: a child of `multiprocessing` must be told to end its clients."""
    global _finalized_pid
    if _finalized_pid == os.getpid() or "multiprocessing.process" not in sys.modules:
        return
    from multiprocessing import parent_process, util

    if parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=0)
    _finalized_pid = os.getpid()


def _after_fork_in_child() -> None:
    _sending.clear()
    for client in list(_clients):
        client._begin()


def _at_exit() -> None:
    clients, began_s = list(_clients), time.monotonic()
    for client in clients:  # all at once: the time is for all of them together
        client._flush_at_exit()
    lost = sum(client._close_at_exit(time.monotonic() - began_s) for client in clients)
    if lost:
        print(f"tinycdp: {lost} events were not acknowledged before the process ended", file=sys.stderr)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
