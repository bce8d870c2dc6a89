"""Events on their way in, and their log until the lake has them; refused events beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from serving.ids import event_hash, shard_of
from serving.store import keys, logged_event
from serving.store.logged_event import Accepted, LogEntry
from serving.store.operations.operation import operation
from serving.store.operations.replies import each, nothing, only, refusal
from serving.store.operations.sharded import Sharded
from serving.store.operations.shards import ShardState
from serving.store.requests import Command, Request, chunks, command
from serving.store.scripts import ingest, raise_numbers, sending
from serving.store.scripts.ingest import Outcome, Packed

#: The stream of refused events keeps about so many.
REJECTED_MAX = 100_000
#: Stands for the catalogue of events that no definition has a say in.
ANY_CATALOGUE = 2**52


class Arrival(NamedTuple):
    """An event on its way in: the whole of it, and what its record keeps (`serving.ingest.projection`)."""

    event: Accepted
    tail: bytes


class Receipts(NamedTuple):
    """The latest receipt in UTC ms, and per arrival, in their order, an outcome and a receipt.

    `came_ms` is the receipt of the copy that counts: of a duplicate the one of the first copy.
    """

    received_ms: int
    outcomes: list[Outcome]
    came_ms: list[int]

    @property
    def new_seqs(self) -> list[int]:
        """The seq of each event that this call took; 0 of a repeat."""
        return [0 if outcome.duplicate else outcome.seq or 0 for outcome in self.outcomes]


class UndrainedDelete(NamedTuple):
    """A delete that is in the log, and perhaps in no version of the lake: its receipt is UTC ms."""

    shard: int
    seq: int
    received_ms: int
    id: str


class RejectedEntry(NamedTuple):
    """A refused event as the API put it, and its entry id, by which the stream is trimmed."""

    entry_id: str
    data: bytes


class EventOperations(Sharded):
    """The operations on events, their log, and refused events."""

    @operation
    def ingest(self, arrivals: Sequence[Arrival], projection: int, checked: int = ANY_CATALOGUE) -> Request[Receipts]:
        """Takes events: one script call a shard, more beyond 1,000 events of one shard.

        `projection` is the version that made the tails, `checked` that of the catalogue by which events were checked.
        Raises `ShardNotReady`, `ProjectionOutdated`, `StoreFull` when a shard refused its call; the calls of other
        shards stand, and a repeat finds them duplicates.
        """
        by_shard: dict[int, list[int]] = {}
        for index, arrival in enumerate(arrivals):
            by_shard.setdefault(shard_of(arrival.event.id, self.shards), []).append(index)
        commands: list[Command] = []
        calls: list[tuple[int, list[int]]] = []  # of each command its shard, and the arrivals in its order
        for shard, indices in by_shard.items():
            for chunk in chunks(indices, ingest.EVENTS_MAX):
                by_id: dict[str, list[int]] = {}
                for index in chunk:
                    by_id.setdefault(arrivals[index].event.id, []).append(index)
                records = [
                    (namespaced_id, [_packed(arrivals[index]) for index in of_id])
                    for namespaced_id, of_id in by_id.items()
                ]
                commands.append(ingest.command(shard, records, projection, checked, self.limits))
                calls.append((shard, [index for of_id in by_id.values() for index in of_id]))

        def read(replies: list[Any]) -> Receipts:
            outcomes: list[Outcome | None] = [None] * len(arrivals)
            received_ms = 0
            came_ms = [0] * len(arrivals)
            for (shard, indices), reply in zip(calls, replies, strict=True):
                ingested = ingest.read(reply)
                if isinstance(ingested, str):
                    raise refusal(shard, ingested, projection)
                received_ms = max(received_ms, ingested.received_ms)
                for index, outcome, ms in zip(indices, ingested.outcomes, ingested.came_ms, strict=True):
                    outcomes[index], came_ms[index] = outcome, ms
            return Receipts(received_ms, [outcome for outcome in outcomes if outcome is not None], came_ms)

        return Request(commands, read, is_long=len(commands) > 1)

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────

    @operation
    def read_log(self, shard: int, after: int, count: int) -> Request[list[LogEntry]]:
        """The entries of a shard's log with seq > after, in order, at most `count`."""
        return Request([_range(shard, after, count)], only(log_entries))

    @operation
    def read_logs(self, after: Mapping[int, int], count: int) -> Request[dict[int, list[LogEntry]]]:
        """The same of several shards at once, by shard, at most `count` of each. `after` has the seq of each shard."""
        commands = [_range(shard, seq, count) for shard, seq in after.items()]
        return Request(commands, lambda replies: dict(zip(after, map(log_entries, replies), strict=True)))

    @operation
    def undrained_ms(self, states: Sequence[ShardState]) -> Request[int | None]:
        """When the oldest event was received that is not known to be in the lake, UTC ms; None where all are.

        `states` are those of all shards, read before.
        """

        def read(replies: list[Any]) -> int | None:
            logs = map(log_entries, replies)
            return min((entries[0].received_ms for entries in logs if entries), default=None)

        return Request([_range(state.shard, state.drained, 1) for state in states], read)

    @operation
    def trim_log(self, shard: int, committed: int, margin: int = 0) -> Request[None]:
        """Notes that the lake holds the log up to `committed`, and drops entries up to there, less a margin."""
        return Request(
            [
                raise_numbers.command(keys.shard(shard), {keys.DRAINED: committed}),
                command("XTRIM", keys.log(shard), "MINID", f"{max(committed + 1 - margin, 0)}-0"),
                command("ZREMRANGEBYSCORE", keys.deletes(shard), "-inf", committed),
            ],
            nothing,
        )

    @operation
    def undrained_deletes(self) -> Request[list[UndrainedDelete]]:
        """The deletes that the lake may not have yet. Whoever reads the lake after this answer has all deletes."""

        def read(replies: list[Any]) -> list[UndrainedDelete]:
            return [
                UndrainedDelete(shard, int(seq), int.from_bytes(member[:6], "big"), member[6:].decode())
                for shard, reply in enumerate(replies)
                for member, seq in zip(reply[::2], reply[1::2], strict=True)
            ]

        shards = range(self.shards)
        return Request([command("ZRANGE", keys.deletes(shard), 0, -1, "WITHSCORES") for shard in shards], read)

    @operation
    def last_deletes(self) -> Request[list[int]]:
        """The seq of the last delete of each shard, in order; 0 where there was none."""
        commands = [command("HGET", keys.shard(shard), keys.DELETED) for shard in range(self.shards)]
        return Request(commands, lambda replies: [int(reply or 0) for reply in replies])

    # ── refused events ───────────────────────────────────────────────────────────────────────────────────────────

    @operation
    def reject(self, items: Sequence[bytes]) -> Request[None]:
        """Keeps refused events for the drain, the newest 100k."""
        words = ("XADD", keys.rejected(), "MAXLEN", "~", REJECTED_MAX, "*", keys.ENTRY_EVENT)
        return Request([command(*words, item) for item in items], nothing)

    @operation
    def read_rejected(self, count: int) -> Request[list[RejectedEntry]]:
        """The oldest refused events, at most `count`."""
        return Request(
            [command("XRANGE", keys.rejected(), "-", "+", "COUNT", count)],
            lambda replies: [RejectedEntry(entry_id.decode(), fields[1]) for entry_id, fields in replies[0]],
        )

    @operation
    def trim_rejected(self, entry_id: str) -> Request[None]:
        """Drops refused events up to and with this entry, once they are in the lake."""
        ms, _, number = entry_id.partition("-")
        return Request([command("XTRIM", keys.rejected(), "MINID", f"{ms}-{int(number) + 1}")], nothing)

    @operation
    def begin_sending(self, events: Mapping[str, tuple[str, str]], token: str) -> Request[list[bool]]:
        """Says as which events, (namespaced id, event id), refused ones are sent again; False where another one is.

        Raises `StoreFull`.
        """
        commands = [sending.begin_command(refused_id, *event, token) for refused_id, event in events.items()]
        return Request(commands, each(sending.read), is_long=True)

    @operation
    def end_sending(self, events: Mapping[str, tuple[str, str]], token: str) -> Request[None]:
        """Takes that back, once the lake notes that they were sent, or where they were not."""
        commands = [sending.end_command(refused_id, *event, token) for refused_id, event in events.items()]
        return Request(commands, nothing, is_long=True)


def _packed(arrival: Arrival) -> Packed:
    event, tail = arrival
    return Packed(event_hash(event.event_id), event.original_ts, logged_event.encode(event), tail)


def _range(shard: int, after: int, count: int) -> Command:
    return command("XRANGE", keys.log(shard), f"{after + 1}-0", "+", "COUNT", count)


def log_entries(reply: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[LogEntry]:
    """The entries of a log, from a reply that has some of them, in its order."""
    return [_log_entry(entry_id, fields) for entry_id, fields in reply]


def _log_entry(entry_id: bytes, fields: Sequence[bytes]) -> LogEntry:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    event = named[keys.ENTRY_EVENT]
    return LogEntry(
        seq=int(entry_id.partition(b"-")[0]),
        event=logged_event.decode(event),
        ts_ms=int(named[keys.ENTRY_TS]),
        received_ms=int(named[keys.ENTRY_RECEIVED]),
        size=len(event),
    )
