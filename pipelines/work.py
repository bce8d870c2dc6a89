"""The work of a worker, as plain calls over the parts of its process. `prefect_flows` makes flow runs of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from lake.lake import Lake
from pipelines import maintain, rebuild
from pipelines.earliest_clock import EarliestClock
from pipelines.leases import NotHeld, writing
from pipelines.purge import purge
from pipelines.timetable import Timetable
from serving.refusals import Unavailable
from serving.settings import Settings
from serving.store.store import Store

#: How long a rebuild as of a time waits until it may write. Other work waits behind it.
WRITE_S_MAX = 10.0
#: Runs a rebuild of everybody (None) or of some ids.
Rebuild = Callable[[Collection[str] | None], Any]
#: Runs a purge, or maintenance; returns what it did.
Chore = Callable[[], Any]


class Order(NamedTuple):
    """A run that somebody wants: of "rebuild", "purge" or "maintain", and since when.

    `is_scheduled` says that a schedule wants it. Work that began later has served it then, whoever began that. `at` is
    the ISO 8601 time of a rebuild as of a time.
    """

    key: str
    work: str
    due_ms: int
    is_scheduled: bool
    at: str | None = None


class Orders(Protocol):
    """Who keeps the schedules of a worker, and asks it for runs."""

    def serve(self, is_serving: bool) -> None:
        """Says whether this worker is the one that works. It leaves orders alone while another does."""

    def due(self, began_ms: Mapping[str, int]) -> list[Order]:
        """The orders to run now, the oldest first. Those that work served meanwhile, by its last begin, are crossed
        out."""

    def claim(self, order: Order) -> bool:
        """Takes an order, which `run` runs then; returns False for one that was withdrawn or cannot be run."""

    def run(self, order: Order) -> Any:
        """Runs an order that was claimed. Returns and raises what its work does."""

    def timetable(self, work: str) -> Timetable | None:
        """The schedule of a work as it was last seen."""

    def report(self) -> Mapping[str, Any]:
        """What a heartbeat says of it."""


class NoOrders:
    """Nobody keeps the schedules: the worker's clock rules."""

    def serve(self, is_serving: bool) -> None:
        """Nothing to serve."""

    def due(self, began_ms: Mapping[str, int]) -> list[Order]:
        """Never any."""
        return []

    def claim(self, order: Order) -> bool:
        """Never called."""
        raise NotImplementedError(order)

    def run(self, order: Order) -> Any:
        """Never called."""
        raise NotImplementedError(order)

    def timetable(self, work: str) -> Timetable | None:
        """Never any."""
        return None

    def report(self) -> Mapping[str, Any]:
        """The clock that rules."""
        return {"clock": "worker"}


class Work(NamedTuple):
    """What a worker runs, each when it is due. `Worker` takes these calls one by one, in this order."""

    rebuild: Rebuild
    purge: Chore
    maintain: Chore
    orders: Orders


def plain_work(store: Store, lake: Lake, settings: Settings, clock: EarliestClock | None = None) -> Work:
    """The work without a record of its runs. `clock` says what is old enough to be dropped."""
    clock = clock or EarliestClock(store)
    return Work(
        lambda ids: rebuild.rebuild(store, lake, settings, ids=ids),
        lambda: asdict(purge.purge(store, lake)),
        lambda: maintain.maintain(
            lake,
            datetime.fromtimestamp(clock.now_ms() / 1000, UTC),
            export_days=settings.export_retention_days,
            retention_days=settings.retention_days,
        ),
        NoOrders(),
    )


def rebuild_as_of(store: Store, lake: Lake, at_ms: int) -> rebuild.Run:
    """A rebuild as of a time. Raises `Unavailable` while a purge keeps all others from writing."""
    try:
        with writing(store, patience_s=WRITE_S_MAX):
            return rebuild.rebuild_at(store, lake, at_ms)
    except NotHeld as error:
        raise Unavailable(str(error)) from error
