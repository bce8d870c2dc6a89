"""The newest events, accepted and refused, for who watches them come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from serving.ids import shard_of
from serving.store import keys, positions
from serving.store.logged_event import LogEntry
from serving.store.operations.events import log_entries
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import keep_refused

#: Refused events that are kept for who watches.
REFUSED_MAX = 200


class NewestEvents(NamedTuple):
    """The newest entries of each shard's log, and refused events by number; and the last number of each.

    `last` has one for each shard, and then that of the refused ones.
    """

    logs: list[list[LogEntry]]
    refused: list[tuple[int, bytes]]
    last: list[int]


class NewestEventOperations(Sharded):
    """The operations on the newest events."""

    @operation
    def keep_refused(self, events: Sequence[bytes]) -> Request[None]:
        """Keeps refused events for who watches, the newest 200. Raises `StoreFull` while memory is full."""
        return Request([keep_refused.command(REFUSED_MAX, events[-REFUSED_MAX:])] if events else [], nothing)

    @operation
    def newest_events(self, after: Sequence[int], count: int) -> Request[NewestEvents]:
        """The newest entries beyond `after`, at most `count` of each shard and of the refused ones.

        `after` has a number for each shard, and then that of the refused ones. Where `last` is less than its number,
        the log was put back since, and goes on from there.
        """
        streams = [*(keys.log(shard) for shard in range(self.shards)), keys.refused()]
        found = [
            command("XREVRANGE", stream, "+", f"{number + 1}-0", "COUNT", count)
            for stream, number in zip(streams, after, strict=True)
        ]
        seqs = [command("HGET", keys.shard(shard), keys.SEQ) for shard in range(self.shards)]
        last_refused = command("XREVRANGE", keys.refused(), "+", "-", "COUNT", 1)

        def read(replies: list[Any]) -> NewestEvents:
            logs, refused = replies[: self.shards], replies[self.shards]
            *last, newest = replies[self.shards + 1 :]
            numbered = [(_number(entry_id), fields[1]) for entry_id, fields in refused]
            last_number = _number(newest[0][0]) if newest else 0
            return NewestEvents(
                [log_entries(entries) for entries in logs], numbered, [*(int(seq or 0) for seq in last), last_number]
            )

        return Request([*found, *seqs, last_refused], read, is_long=True)

    @operation
    def deleted_at(self, ids: Sequence[str]) -> Request[dict[str, tuple[int, int]]]:
        """The seq and the receipt (UTC ms) of the last delete of those of these ids that have one."""
        commands = [command("HGET", keys.record(shard_of(id_, self.shards), id_), keys.TOMBSTONE) for id_ in ids]

        def read(replies: list[Any]) -> dict[str, tuple[int, int]]:
            return {id_: positions.decode(reply) for id_, reply in zip(ids, replies, strict=True) if reply}

        return Request(commands, read)


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
