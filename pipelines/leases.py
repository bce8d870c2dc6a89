"""Leases in Redis that are held while a block of work runs, renewed by a thread.

A lease keeps processes from doing the same work, or from writing where another must be alone. It runs out by itself, so
a process that is killed keeps nobody waiting for longer than `TTL_MS`. Who was paused for longer has lost it, and asks
before a commit (`HeldLeases.require`). Between that question and the commit it may be paused again: then the lake
refuses the commit where it matters (`lake.old_files`).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from serving.store.errors import StoreError
from serving.store.scripts.lease import SHARED, WRITERS
from serving.store.store import Store

log = structlog.get_logger()

TTL_MS = 15_000
#: How often leases are renewed.
BEAT_S = 3.0
#: How often a lease that somebody else holds is tried again.
LOOK_S = 0.1


class NotHeld(RuntimeError):
    """A lease was not free in time, or was lost."""


class HeldLeases:
    """The leases that a block holds."""

    def __init__(self, store: Store, names: Sequence[str], token: str) -> None:
        self.store, self.names, self.token = store, names, token
        self.lost: str | None = None

    def require(self) -> None:
        """Raises `NotHeld` when a lease was lost: this process was paused for longer than the lease lasts."""
        self.renew()
        if self.lost is not None:
            raise NotHeld(f"the lease of {self.lost} was lost: run it again")

    def renew(self) -> None:
        """Renews the leases, and notes one that another process holds."""
        for name in self.names:
            if not self.store.hold_lease(name, self.token, TTL_MS):
                self.lost = name


@contextmanager
def leases(store: Store, names: Sequence[str], patience_s: float) -> Iterator[HeldLeases]:
    """Holds leases while the block runs. Each is had when its holder has done what it is at.

    The holders go on when the block ends; when this process is killed, within 15 s. Raises `NotHeld` after
    `patience_s`.
    """
    held = HeldLeases(store, [], secrets.token_hex(8))
    try:
        with renewing(held):
            for name in names:
                _await(store, name, held.token, patience_s)
                held.names = [*held.names, name]
            yield held
    finally:  # once nothing renews them any more: that would take them again
        for name in names:
            store.release_lease(name, held.token)


@contextmanager
def writing(store: Store, patience_s: float = 600.0) -> Iterator[HeldLeases]:
    """Holds the lease of those who write to the lake beside drain and worker, and shares it with them.

    The lease is left to run out, since others may still hold it. Raises `NotHeld` after `patience_s`.
    """
    _await(store, WRITERS, SHARED, patience_s, is_next=False)
    held = HeldLeases(store, [WRITERS], SHARED)
    with renewing(held):
        yield held


def _await(store: Store, name: str, token: str, patience_s: float, *, is_next: bool = True) -> None:
    deadline = time.monotonic() + patience_s
    while not store.hold_lease(name, token, TTL_MS, "next" if is_next else "joins"):
        if time.monotonic() > deadline:
            raise NotHeld(f"the lease of {name} is held by another process since {patience_s:.0f} s: try again later")
        time.sleep(LOOK_S)


@contextmanager
def renewing(held: HeldLeases) -> Iterator[None]:
    """Renews leases that are held, beside the work of the block."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            try:
                held.renew()
            except StoreError as error:
                log.warning("beat_failed", error=str(error))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)
