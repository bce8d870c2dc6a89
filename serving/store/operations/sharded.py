"""The base of all operations: they know how many shards their system has, and how far things may grow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from serving.ids import shard_of
from serving.store.scripts.ingest import TailLimits

T = TypeVar("T")


class Sharded:
    """A system of so many shards. The base of every class of operations."""

    shards: int
    limits: TailLimits


def by_shard(items: Iterable[tuple[str, T]], shards: int) -> dict[int, list[tuple[str, T]]]:
    """The items, (namespaced id, whatever is about it), by the shard of the id; in their order within a shard."""
    items_of: dict[int, list[tuple[str, T]]] = {}
    for item in items:
        items_of.setdefault(shard_of(item[0], shards), []).append(item)
    return items_of
