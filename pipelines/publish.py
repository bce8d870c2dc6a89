"""Bases to Redis records: encoded, with what each remembers of the last 24 hours, many records a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import polars as pl

from expressions.bases import Base
from serving import codec
from serving.ids import event_hash, shard_of
from serving.scripts.copies import REPEAT_MS, recent_entry
from serving.scripts.publish import BaseRecord, Published
from serving.stamps import Stamp
from serving.store import Store

#: Records that are encoded and sent together: one round trip, some megabytes.
RECORDS_AT_ONCE = 2_000


def recent_of(events: pl.LazyFrame, as_of_ms: int, undrained_ms: int | None = None) -> dict[str, bytes]:
    """Per id what a record remembers of covered events received within 24 h, imports too.

    `events` are those that count, and those that a delete covers: a repeat that is still on its way is no new event.

    A repeat of an import may have come before any base counted the import, and be in a tail since `undrained_ms`, when
    the oldest event was received that the lake lacks: it must go from there. So imports are kept from 24 h before that.
    """
    imported_since_ms = min(as_of_ms, as_of_ms if undrained_ms is None else undrained_ms) - REPEAT_MS
    since_ms = pl.when(pl.col("seq").is_null()).then(imported_since_ms).otherwise(as_of_ms - REPEAT_MS)
    rows = events.filter(pl.col("received_at") > since_ms).select("id", "event_id", "received_at", "seq")
    found: dict[str, list[bytes]] = {}
    for one, event_id, received_ms, seq in rows.collect().iter_rows():
        found.setdefault(one, []).append(recent_entry(event_hash(event_id), received_ms, seq))
    return {one: b"".join(entries) for one, entries in found.items()}


def publish(
    store: Store,
    bases: Iterable[tuple[str, Base, bool]],
    stamps: Mapping[int, Stamp],
    recent: Mapping[str, bytes],
    horizon_ms: int,
    on_published: Callable[[int], None] = lambda count: None,
) -> int:
    """Publishes bases, (id, base, whether it is heavy); answers how many were taken. Safe to run again, in any order.

    A record refuses a base that is older than its own, or that a delete has overtaken; that is not an error.
    """
    taken = 0
    for some in _parts(iter(bases)):
        records = [
            BaseRecord(one, codec.encode(base), recent.get(one, b""), horizon_ms if is_heavy else 0)
            for one, base, is_heavy in some
        ]
        taken += send(store, records, stamps)
        on_published(len(some))
    return taken


def send(store: Store, records: Iterable[BaseRecord], stamps: Mapping[int, Stamp]) -> int:
    """Sends records of any shards in one round trip; answers how many were taken."""
    by_shard: dict[int, list[BaseRecord]] = {}
    for record in records:
        by_shard.setdefault(shard_of(record.id, store.shards), []).append(record)
    requests = [store.operations.publish(shard, stamps[shard], some) for shard, some in by_shard.items()]
    return sum(outcome is Published.DONE for outcomes in store.ask_all(requests) for outcome in outcomes)


def _parts(bases: Iterator[tuple[str, Base, bool]]) -> Iterator[list[tuple[str, Base, bool]]]:
    while some := list(islice(bases, RECORDS_AT_ONCE)):
        yield some
