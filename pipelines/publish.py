"""Bases to Redis records: encoded, with what each remembers of the last 24 hours, many records a call.

A part of the ids is encoded at a time, and sent while the next one is encoded: no more than that is in memory.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice, pairwise

import numpy as np
import polars as pl

from expressions.batch.base_frames import BasePart, dealt
from expressions.rules.identity import LINK_KINDS
from expressions.rules.repeats import REPEAT_MS
from serving.ids import EVENT_HASH_BYTES, shard_of
from serving.store.base_codec_columns import encoded
from serving.store.scripts.lua_copies import RECENT_ENTRY_BYTES
from serving.store.scripts.publish import BaseRecord, Published
from serving.store.stamps import Stamp
from serving.store.store import Store

#: Records that are sent together: one round trip, some megabytes.
RECORDS_AT_ONCE = 2_000
#: Round trips that may wait for their turn: about as many as a part of the ids has.
SENDS_AHEAD = 10


class Recent:
    """What records remember of covered events received within 24 h, imports too.

    `events` are those that count, and those that a delete covers: a repeat that is still on its way is no new event.

    A repeat of an import may have come before any base counted the import, and be in a tail since `undrained_ms`, when
    the oldest event was received that the lake lacks: it must go from there. So imports are kept from 24 h before that.

    Of the copies of an event that is the newest, against which a repeat is measured. Links are no events, and none is
    a repeat.
    """

    def __init__(self, events: pl.LazyFrame, as_of_ms: int, undrained_ms: int | None = None) -> None:
        imported_since_ms = min(as_of_ms, as_of_ms if undrained_ms is None else undrained_ms) - REPEAT_MS
        since_ms = pl.when(pl.col("seq").is_null()).then(imported_since_ms).otherwise(as_of_ms - REPEAT_MS)
        rows = events.filter((pl.col("received_at") > since_ms) & ~pl.col("kind").is_in(LINK_KINDS))
        self._rows = _newest(rows.select("id", "event_id", "received_at", pl.col("seq").fill_null(0)).collect())
        self._numbers = pl.Series(dtype=pl.UInt32)
        self._parts = 0

    def of(self, part: BasePart) -> dict[str, bytes]:
        """Per id of a part the entries of its `recent` (`copies.recent_entry`), in any order."""
        if self._parts != part.parts:
            self._parts, self._numbers = part.parts, dealt(self._rows, part.parts)
        return _entries(self._rows.filter(self._numbers == part.number))

    def everyone(self) -> dict[str, bytes]:
        """The same of all ids."""
        return _entries(self._rows)


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """The newest copy of each event. Copies are rare, so it is asked first whether there are any, by hash."""
    if not rows.select(pl.struct("id", "event_id").hash().is_duplicated().any()).item():
        return rows
    return rows.sort("received_at").unique(subset=["id", "event_id"], keep="last")


def _entries(rows: pl.DataFrame) -> dict[str, bytes]:
    if rows.is_empty():
        return {}
    rows = rows.sort("id")
    # As `ids.event_hash` makes it.
    hashes = [blake2b(one.encode(), digest_size=EVENT_HASH_BYTES).digest() for one in rows["event_id"].to_list()]
    entries = np.empty((len(rows), RECENT_ENTRY_BYTES), dtype=np.uint8)
    entries[:, :8] = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, 8)
    for at, name in ((8, "received_at"), (14, "seq")):
        entries[:, at : at + 6] = rows[name].to_numpy().astype(">i8").view(np.uint8).reshape(-1, 8)[:, 2:]
    data = entries.tobytes()
    groups = rows.group_by("id", maintain_order=True).len()
    ends = [0, *(groups["len"].cum_sum().cast(pl.Int64) * RECENT_ENTRY_BYTES).to_list()]
    return {one: data[start:end] for one, (start, end) in zip(groups["id"].to_list(), pairwise(ends), strict=True)}


def records_of(parts: Iterable[BasePart], recent: Recent, horizon_ms: int) -> Iterator[BaseRecord]:
    """What is published of the ids of some parts."""
    for part in parts:
        remembered = recent.of(part)
        for one, is_heavy, base in zip(part.ids, part.heavy, encoded(part), strict=True):
            yield BaseRecord(one, base, remembered.get(one, b""), horizon_ms if is_heavy else 0)


def publish(
    store: Store,
    records: Iterable[BaseRecord],
    stamps: Mapping[int, Stamp],
    on_published: Callable[[int], None] = lambda count: None,
) -> Counter[Published]:
    """Publishes records; answers how many were taken, and how many refused why. Safe to run again, in any order.

    A record refuses a base that is older than its own, or that a delete has overtaken; that is not an error.
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
        while some := list(islice(following, RECORDS_AT_ONCE)):
            waiting.append((len(some), sender.submit(send, store, some, stamps)))
            if len(waiting) > SENDS_AHEAD:
                settle()
        while waiting:
            settle()
    finally:
        sender.shutdown(cancel_futures=True)
    return outcomes


def send(store: Store, records: Iterable[BaseRecord], stamps: Mapping[int, Stamp]) -> Counter[Published]:
    """Sends records of any shards in one round trip; answers what became of them."""
    by_shard: dict[int, list[BaseRecord]] = {}
    for record in records:
        by_shard.setdefault(shard_of(record.id, store.shards), []).append(record)
    requests = [store.operations.publish(shard, stamps[shard], some) for shard, some in by_shard.items()]
    return Counter(outcome for outcomes in store.ask_all(requests) for outcome in outcomes)
