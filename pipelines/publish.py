"""Bases to Redis records, many records a call.

1. A part of the ids comes with their bases in columns: raw events, spans, profiles.
2. It becomes records: id, encoded base, what the record remembers of the last 24 hours, horizon.
3. `RECORDS_AT_ONCE` records go in one round trip: a request for each shard, with the shard's stamp.

A part is encoded while records of the part before are sent. No more than that is in memory.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice, pairwise

import numpy as np
import polars as pl

from expressions.batch.base_frames import BasePart, part_numbers
from expressions.rules.identity import LINK_KINDS
from expressions.rules.repeats import REPEAT_MS
from serving.ids import EVENT_HASH_BYTES, shard_of
from serving.store.base_codec_columns import encoded
from serving.store.layout import RECENT_ENTRY_BYTES
from serving.store.scripts.publish import BaseRecord, Published, is_staged
from serving.store.stamps import Stamp
from serving.store.store import Store

#: Records that are sent together: one round trip, some megabytes.
RECORDS_AT_ONCE = 2_000
#: Round trips that may wait for their turn, about as many as a part of the ids has. Encoding waits when there are more.
SENDS_AHEAD = 10


class Recent:
    """What records remember of covered events that were received within 24 h, imported events too.

    `events` are the events that count, and those that a delete covers: a repeat of one of these may still be on its
    way, and is no new event either. Links are no events, and no link is a repeat. Of the copies of an event the newest
    is kept: repeats are measured against it.

    Imported events are kept for longer: from 24 h before `undrained_ms`, the receipt of the oldest event that the lake
    lacks. A repeat of an import may have come before any base counted the import; it is in a tail then, and must go
    from there.
    """

    def __init__(self, events: pl.LazyFrame, as_of_ms: int, undrained_ms: int | None = None) -> None:
        imported_since_ms = min(as_of_ms, as_of_ms if undrained_ms is None else undrained_ms) - REPEAT_MS
        since_ms = pl.when(pl.col("seq").is_null()).then(imported_since_ms).otherwise(as_of_ms - REPEAT_MS)
        rows = events.filter((pl.col("received_at") > since_ms) & ~pl.col("kind").is_in(LINK_KINDS))
        self._rows = _newest(rows.select("id", "event_id", "received_at", pl.col("seq").fill_null(0)).collect())
        self._numbers = pl.Series(dtype=pl.UInt32)
        self._parts = 0

    def of(self, part: BasePart) -> dict[str, bytes]:
        """id -> the entries of its `recent` (`lua_copies.recent_entry`), in any order, for the ids of a part."""
        if self._parts != part.parts:
            self._parts, self._numbers = part.parts, part_numbers(self._rows, part.parts)
        return _entries(self._rows.filter(self._numbers == part.number))

    def everyone(self) -> dict[str, bytes]:
        """The same for all ids."""
        return _entries(self._rows)


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """The newest copy of each event. Copies are rare, so hashes tell first whether there are any."""
    if not rows.select(pl.struct("id", "event_id").hash().is_duplicated().any()).item():
        return rows
    return rows.sort("received_at").unique(subset=["id", "event_id"], keep="last")


def _entries(rows: pl.DataFrame) -> dict[str, bytes]:
    """id -> its entries, 20 bytes each: the event's hash (8), its receipt (6) and its seq (6), big-endian."""
    if rows.is_empty():
        return {}
    rows = rows.sort("id")
    # The hash of `ids.event_hash`.
    event_ids = rows["event_id"].to_list()
    hashes = [blake2b(event_id.encode(), digest_size=EVENT_HASH_BYTES).digest() for event_id in event_ids]
    entries = np.empty((len(rows), RECENT_ENTRY_BYTES), dtype=np.uint8)
    entries[:, :8] = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, 8)
    for at, name in ((8, "received_at"), (14, "seq")):
        entries[:, at : at + 6] = rows[name].to_numpy().astype(">i8").view(np.uint8).reshape(-1, 8)[:, 2:]
    data = entries.tobytes()
    groups = rows.group_by("id", maintain_order=True).len()
    ends = [0, *(groups["len"].cum_sum().cast(pl.Int64) * RECENT_ENTRY_BYTES).to_list()]
    return {id: data[start:end] for id, (start, end) in zip(groups["id"].to_list(), pairwise(ends), strict=True)}


def records_of(parts: Iterable[BasePart], recent: Recent, horizon_ms: int) -> Iterator[BaseRecord]:
    """The records of the ids of some parts. Only heavy ids have a horizon."""
    for part in parts:
        remembered = recent.of(part)
        for id, is_heavy, base in zip(part.ids, part.heavy, encoded(part), strict=True):
            yield BaseRecord(id, base, remembered.get(id, b""), horizon_ms if is_heavy else 0)


def publish(
    store: Store,
    records: Iterable[BaseRecord],
    stamps: Mapping[int, Stamp],
    on_published: Callable[[int], None] = lambda count: None,
) -> Counter[Published]:
    """Publishes records; returns how many took their base, and how many refused it and why.

    A record refuses a base that is older than its own, or that a delete has overtaken; that is no error. Safe to run
    again, in any order.
    """
    outcomes: Counter[Published] = Counter()
    following = iter(records)
    waiting: deque[tuple[int, Future[Counter[Published]]]] = deque()

    def settle() -> None:
        count, sent = waiting.popleft()
        outcomes.update(sent.result())
        on_published(count)

    sender = ThreadPoolExecutor(1, thread_name_prefix="publish")
    try:
        while batch := list(islice(following, RECORDS_AT_ONCE)):
            waiting.append((len(batch), sender.submit(send, store, batch, stamps)))
            if len(waiting) > SENDS_AHEAD:
                settle()
        while waiting:
            settle()
    finally:
        sender.shutdown(cancel_futures=True)
    return outcomes


def send(store: Store, records: Iterable[BaseRecord], stamps: Mapping[int, Stamp]) -> Counter[Published]:
    """Sends records of any shards in one round trip; returns how many took their base, and how many refused it.

    What busy ids remember of the last 24 hours goes before, in pieces. Raises `StoreFull` where Redis has no room left,
    not even in its reserve, and `ServerReplaced` where it lost such pieces meanwhile.
    """
    by_shard: dict[int, list[BaseRecord]] = {}
    for record in records:
        by_shard.setdefault(shard_of(record.id, store.shards), []).append(record)
    requests = [store.operations.publish(shard, stamps[shard], of_shard) for shard, of_shard in by_shard.items()]
    store.memory().require_reserve()
    for shard, of_shard in by_shard.items():
        for record in filter(is_staged, of_shard):
            store.stage(shard, stamps[shard], record)
    return Counter(outcome for outcomes in store.ask_all(requests) for outcome in outcomes)
