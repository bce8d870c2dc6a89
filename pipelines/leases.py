"""Leases held for as long as some work takes, renewed by a thread."""

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
BEAT_S = 3.0
LOOK_S = 0.1


class NotHeld(RuntimeError):
    """A lease could not be had in time, or was lost."""


class Held:
    """Leases that are held now."""

    def __init__(self, store: Store, names: Sequence[str], token: str) -> None:
        self.store, self.names, self.token = store, names, token
        self.lost: str | None = None

    def require(self) -> None:
        """Raises `NotHeld` when one was lost, as when this process was paused for longer than it lasts."""
        self.renew()
        if self.lost is not None:
            raise NotHeld(f"the lease of {self.lost} was lost: run it again")

    def renew(self) -> None:
        """Renews them."""
        for name in self.names:
            if not self.store.hold_lease(name, self.token, TTL_MS):
                self.lost = name


@contextmanager
def leases(store: Store, names: Sequence[str], patience_s: float) -> Iterator[Held]:
    """Holds leases that others hold now, as soon as each has done what it is at. Raises `NotHeld` after `patience_s`.

    Those others go on when the block ends; when this process is killed, within 15 s.
    """
    held = Held(store, [], secrets.token_hex(8))
    with _beating(held):
        try:
            for name in names:
                _await(store, name, held.token, patience_s)
                held.names = [*held.names, name]
            yield held
        finally:
            for name in names:
                store.release_lease(name, held.token)


@contextmanager
def writing(store: Store, patience_s: float = 600.0) -> Iterator[None]:
    """Holds, with others, the lease of those who write to the lake beside drain and worker.

    It is left to run out, since others may be at it still.
    """
    _await(store, WRITERS, SHARED, patience_s, is_next=False)
    with _beating(Held(store, [WRITERS], SHARED)):
        yield


def _await(store: Store, name: str, token: str, patience_s: float, *, is_next: bool = True) -> None:
    deadline = time.monotonic() + patience_s
    while not store.hold_lease(name, token, TTL_MS, "next" if is_next else "joins"):
        if time.monotonic() > deadline:
            raise NotHeld(f"the lease of {name} is held by another process since {patience_s:.0f} s: try again later")
        time.sleep(LOOK_S)


@contextmanager
def _beating(held: Held) -> Iterator[None]:
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
