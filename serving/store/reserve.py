"""What Redis may use beyond the bound of its memory (`maxmemory`).

At the bound events get 429. All that frees memory again must go on there: the drain, trims, deletes, leases,
heartbeats, publishing, replay and recovery. So they may use a reserve of an eighth of the bound. What is large among
them, the bases of a rebuild and the rows of a replay, ends with `StoreFull` when the reserve is used up.
"""

from __future__ import annotations

from typing import NamedTuple

from serving.store.errors import StoreFull

#: The reserve is one part of so many of the bound, above it.
PARTS = 8

REMEDY = (
    "give Redis more memory (TINYCDP_REDIS_MEMORY_MAX; of your own Redis, maxmemory), or let it keep less "
    "(TINYCDP_RETENTION_DAYS; delete definitions that read large fields)"
)


class Memory(NamedTuple):
    """The bytes that Redis uses, and the bound beyond which it refuses what clients send; 0 without one."""

    used: int
    bound: int

    @property
    def is_full(self) -> bool:
        """Whether events get 429."""
        return 0 < self.bound <= self.used

    @property
    def is_nearly_full(self) -> bool:
        """Whether less is left below the bound than the reserve above it."""
        return 0 < self.bound - self.bound // PARTS <= self.used

    def require_reserve(self) -> None:
        """Raises `StoreFull` when the reserve is used up, too."""
        if self.is_full and self.used >= self.bound + self.bound // PARTS:
            raise StoreFull(f"memory full: Redis uses {self.used} bytes of {self.bound}, and its reserve. {REMEDY}")


def bound_within(memory_max: int) -> int:
    """The bound of a Redis that has `memory_max` bytes together with its reserve; 0 stays 0, no bound."""
    return memory_max * PARTS // (PARTS + 1)
