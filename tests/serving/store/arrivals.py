"""Test vocabulary of the store: events on their way in, and what a record holds of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from serving.ids import event_hash
from serving.store import keys
from serving.store.layout import TAIL_HEADER_BYTES
from serving.store.logged_event import Accepted, packed
from serving.store.operations.events import Arrival
from serving.store.records import Record
from serving.store.scripts.ingest import Outcome
from serving.store.scripts.replay import Row
from serving.store.stamps import Stamp
from serving.store.store import Store

DAY_MS = 86_400_000

#: An instant that the server's clock has not reached: the shards' clocks are put there where a test needs to know it.
NOON_MS = 4_102_488_000_000


def arrival(event_id: str, id: str = "user:alice", ts_ms: int | None = None, **properties: Any) -> Arrival:
    """A purchase of Alice's, unless said otherwise."""
    event = Accepted(event_id, "track", id, name="purchase", original_ts=ts_ms, properties=properties)
    return Arrival(event, packed(("track", "purchase", properties)))


def ready(store: Store) -> Store:
    """The store, all shards open for ingest on the server as it runs now."""
    run_id = store.server().run_id
    for shard in range(store.shards):
        store.mark_ready(shard, run_id)
    return store


def at(store: Store, now_ms: int) -> None:
    """Puts every shard's clock forward: `now` is never before the last receipt."""
    for shard in range(store.shards):
        store.resume(shard, 0, now_ms)


def tail_of(record: Record) -> list[tuple[int, int, int]]:
    """(seq, ts, received) of each tail entry, by seq."""
    return sorted(
        (
            int.from_bytes(entry[:6], "big"),
            int.from_bytes(entry[6:12], "big", signed=True),
            int.from_bytes(entry[12:TAIL_HEADER_BYTES], "big"),
        )
        for entry in record.tail
    )


def tail_entry(seq: int, ts_ms: int, received_ms: int, payload: bytes) -> bytes:
    """A tail entry as the scripts write it."""
    return seq.to_bytes(6, "big") + ts_ms.to_bytes(6, "big", signed=True) + received_ms.to_bytes(6, "big") + payload


def packed_seq(seq: int) -> bytes:
    """A seq as records store one."""
    return seq.to_bytes(6, "big")


def seqs_of(record: Record) -> list[int]:
    """The seqs in the tail, in order."""
    return [seq for seq, _, _ in tail_of(record)]


@contextmanager
def only_known_keys(url: str) -> Iterator[None]:
    """Fails when Redis holds, at the end, a key that `store.keys` does not name, or one with a TTL it does not say."""
    yield
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            name = key.decode()
            assert _is_known(name), f"a key that keys.py does not name: {name}"
            assert (client.ttl(name) > 0) == name.startswith(
                ("lease:", "heartbeat:", "recent:", "staged:", "forgotten:", "activity:", "sending:")
            ), f"the TTL of {name}"


def _is_known(name: str) -> bool:
    whole = {keys.catalogue(), keys.catalogue_version(), keys.rebuild(), keys.rejected(), keys.refused()}
    return name in whole or name.startswith(_prefixes())


def _prefixes() -> tuple[str, ...]:
    of_shards: Iterable[str] = (
        keys.record(0, ""),
        keys.recent(0, ""),
        keys.forgotten(0, ""),
        keys.gone(0),
        keys.staged(0),
        keys.log(0),
        keys.deletes(0),
        keys.shard(0),
        keys.ready(0),
        keys.wanted(0),
    )
    of_system = (
        keys.lease("").partition("{")[0],
        keys.heartbeat(""),
        keys.activity_since().partition(":")[0],
        keys.sending(""),
    )
    return (*(name.partition("{")[0] + "{" for name in of_shards), *of_system)


def stamp(version: int = 1, build: int = 1, seq: int = 0) -> Stamp:
    """The stamp of a base that covers so much."""
    return Stamp(version, build, seq, as_of_ms=NOON_MS, projection=1)


def row(event_id: str, seq: int, received_ms: int = NOON_MS, ts_ms: int = NOON_MS) -> Row:
    """A row of the lake as replay gives it to a record."""
    return Row(event_hash(event_id), seq, ts_ms, received_ms, b"\x93")


def accepted(*seqs: int) -> list[Outcome]:
    """The outcomes of events that count."""
    return [Outcome(seq) for seq in seqs]
