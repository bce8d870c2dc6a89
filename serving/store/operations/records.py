"""Whole records: reading those of some ids, walking all of them, deleting what an id has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.ids import shard_of
from serving.store import keys, logged_event
from serving.store.logged_event import Accepted
from serving.store.operations.operation import operation
from serving.store.operations.replies import clock_ms, refusal
from serving.store.operations.sharded import Sharded
from serving.store.records import MARK_FIELDS, Reading, mark_of, record_of
from serving.store.requests import Request, command, shared
from serving.store.scripts import delete

#: Read with every record.
_TIME, _VERSION = shared("TIME"), shared("GET", keys.catalogue_version())


class RecordOperations(Sharded):
    """The operations on whole records."""

    @operation
    def records(self, ids: Sequence[str]) -> Request[Reading]:
        """The records of some ids, in their order, with the clock and the catalogue's version."""
        commands = [shared("HGETALL", keys.record(shard_of(id_, self.shards), id_)) for id_ in ids]

        def read(replies: list[Any]) -> Reading:
            *flat, clock, version = replies
            records = [record_of(id_, fields) for id_, fields in zip(ids, flat, strict=True)]
            return Reading(records, clock_ms(clock), None if version is None else int(version))

        return Request([*commands, _TIME, _VERSION], read)

    @operation
    def record_marks(self, ids: Sequence[str]) -> Request[Reading]:
        """The marks of some records in place of them, in the order of the ids: little work, however large they are."""
        names = [keys.record(shard_of(id_, self.shards), id_) for id_ in ids]
        commands = [shared("HMGET", name, *MARK_FIELDS) for name in names] + [shared("HLEN", name) for name in names]

        def read(replies: list[Any]) -> Reading:
            *known, clock, version = replies
            marks = map(mark_of, ids, known[: len(ids)], known[len(ids) :])
            return Reading(list(marks), clock_ms(clock), None if version is None else int(version))

        return Request([*commands, _TIME, _VERSION], read)

    @operation
    def scan_records(self, cursor: int, count: int = 1_000) -> Request[tuple[int, list[tuple[int, str]]]]:
        """The next cursor (0: done) and some (shard, id) of records; from 0 to 0 each comes at least once."""

        def read(replies: list[Any]) -> tuple[int, list[tuple[int, str]]]:
            following, names = replies[0]
            return int(following), [keys.record_id(name) for name in names]

        return Request([command("SCAN", cursor, "MATCH", keys.record_pattern(), "COUNT", count, "TYPE", "hash")], read)

    @operation
    def delete(self, entries: Sequence[Accepted]) -> Request[list[int]]:
        """Deletes what ids have up to now; the seq of each tombstone, in order. Raises `ShardNotReady`.

        `entries` are of kind delete. A repeat writes another tombstone, which changes nothing more.
        """
        shards = [shard_of(entry.id, self.shards) for entry in entries]
        commands = [
            delete.command(shard, entry.id, logged_event.encode(entry))
            for shard, entry in zip(shards, entries, strict=True)
        ]

        def read(replies: list[Any]) -> list[int]:
            seqs = []
            for shard, reply in zip(shards, replies, strict=True):
                seq = delete.read(reply)
                if isinstance(seq, str):
                    raise refusal(shard, seq)
                seqs.append(seq)
            return seqs

        return Request(commands, read)
