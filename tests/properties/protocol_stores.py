"""The stores of the protocol's world: with a clock of its own; and of a rebuild that is killed before it publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from serving.store.operations.operations import Operations
from serving.store.requests import Request
from serving.store.scripts.publish import BaseRecord, Published
from serving.store.stamps import Stamp
from serving.store.store import Store

SHARDS = 2
#: An instant in a year that no server's clock has reached.
NOON_MS = 4_102_488_000_000


@dataclass
class Pending:
    """A rebuild that has computed everything and published nothing yet; a full one, or of single ids."""

    stamps: dict[int, Stamp] = field(default_factory=dict)
    records: list[tuple[int, BaseRecord]] = field(default_factory=list)
    is_full: bool = True
    run_id: str = ""


class Stopped(Exception):
    """The process was killed here."""


class WorldStore(Store):
    """The store, in a world with a clock of its own."""

    clock_ms = NOON_MS

    def now_ms(self) -> int:
        """The world's clock."""
        return self.clock_ms


@dataclass(frozen=True)
class WithheldOperations(Operations):
    """The operations of a rebuild whose bases are kept here instead of being published."""

    pending: Pending = field(default_factory=Pending)

    def publish(self, shard: int, stamp: Stamp, records: Sequence[BaseRecord]) -> Request[list[Published]]:
        """Keeps them, and says that it was done."""
        self.pending.stamps[shard] = stamp
        self.pending.records += [(shard, record) for record in records]
        return Request([], lambda replies: [Published.DONE for _ in records])


class WithholdingStore(WorldStore):
    """The store of a rebuild that is killed when it has computed everything."""

    def __init__(self, url: str, pending: Pending, clock_ms: int) -> None:
        super().__init__(url, SHARDS)
        self.operations = WithheldOperations(SHARDS, pending=pending)
        self.clock_ms = clock_ms

    def sweep_all(self, stamps: Sequence[Stamp], run_id: str | None = None) -> int:
        """The end of a full rebuild begins here; it never comes."""
        assert isinstance(self.operations, WithheldOperations)
        self.operations.pending.stamps.update(enumerate(stamps))
        raise Stopped
