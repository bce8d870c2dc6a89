"""What can be asked of the store, in the domain's words: each operation as a request, which is a value.

Pure: which keys, which words, how the replies read. `serving.store.store` sends them. What is about the system and no
record is in `serving.store.system_operations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serving.ids import event_hash, raw_id, shard_of
from serving.store import keys, logged_event
from serving.store.errors import ProjectionOutdated, ShardNotReady, StoreFull
from serving.store.logged_event import Accepted, LogEntry
from serving.store.records import Reading, Record, record_of
from serving.store.scripts import (
    claim,
    delete,
    ingest,
    members,
    next_build,
    publish,
    raise_numbers,
    replay,
    restore,
    tombstones,
)
from serving.store.scripts.claim import Claimed, Owner, owner_of
from serving.store.scripts.ingest import Outcome, Packed, TailLimits
from serving.store.scripts.publish import BaseRecord, Published
from serving.store.scripts.replay import Row
from serving.store.scripts.replies import clock_ms, nothing
from serving.store.scripts.restore import Standing
from serving.store.scripts.script import Command, Request, chunks, command, shared
from serving.store.stamps import Stamp
from serving.store.system_operations import ShardState, SystemOperations

#: Read with every record.
_TIME, _VERSION = shared("TIME"), shared("GET", keys.catalogue_version())

REJECTED_MAX = 100_000
REPLAY_ROWS_MAX = 1_000


class Arrival(NamedTuple):
    """An event on its way in: the whole of it, and what its record keeps (`serving.ingest.projection`)."""

    event: Accepted
    tail: bytes


class Claim(NamedTuple):
    """That an id belongs to another from now on: both namespaced, and the event that said so.

    `since_ms` is the receipt of that event: what was taken back since stays so (`serving.people.links`). Who only lists
    ids, or takes them off a list, need not say it.
    """

    id: str
    owner: str
    event_id: str
    since_ms: int = 0


class Receipts(NamedTuple):
    """The latest receipt in UTC ms, and an outcome an arrival, in their order.

    `came_ms` is of each arrival the receipt of the copy that counts.
    """

    received_ms: int
    outcomes: list[Outcome]
    came_ms: list[int]


class Ended(NamedTuple):
    """The receipts, in UTC ms, of an id's last delete and last unlink; -1 where it had none."""

    deleted_ms: int
    unlinked_ms: int


class RejectedEntry(NamedTuple):
    """A refused event as the API put it, and its entry id, by which the stream is trimmed."""

    entry_id: str
    data: bytes


@dataclass(frozen=True)
class Operations(SystemOperations):
    """The operations on a store of so many shards."""

    limits: TailLimits = field(default_factory=TailLimits)

    # ── events in ────────────────────────────────────────────────────────────────────────────────────────────────

    def ingest(self, arrivals: Sequence[Arrival], projection: int) -> Request[Receipts]:
        """Takes events: one script call a shard (or more, beyond 1,000 events of one shard).

        `projection` is the version the tails were made by. Raises `ShardNotReady`, `ProjectionOutdated`, `StoreFull`
        when a shard refused its call; the calls of other shards stand, and a repeat finds them duplicates.
        """
        by_shard: dict[int, list[int]] = {}
        for index, arrival in enumerate(arrivals):
            by_shard.setdefault(shard_of(arrival.event.id, self.shards), []).append(index)
        commands: list[Command] = []
        places: list[tuple[int, list[int]]] = []
        for shard, indices in by_shard.items():
            for some in chunks(indices, ingest.EVENTS_MAX):
                by_id: dict[str, list[int]] = {}
                for index in some:
                    by_id.setdefault(arrivals[index].event.id, []).append(index)
                records = [(one, [_packed(arrivals[index]) for index in held]) for one, held in by_id.items()]
                commands.append(ingest.ingest(shard, records, projection, self.limits))
                places.append((shard, [index for held in by_id.values() for index in held]))

        def read(replies: list[Any]) -> Receipts:
            outcomes: list[Outcome | None] = [None] * len(arrivals)
            received_ms = 0
            came_ms = [0] * len(arrivals)
            for (shard, indices), reply in zip(places, replies, strict=True):
                result = ingest.read(reply)
                if isinstance(result, str):
                    raise _refused(shard, result, projection)
                received_ms = max(received_ms, result.received_ms)
                for index, outcome, ms in zip(indices, result.outcomes, result.came_ms, strict=True):
                    outcomes[index], came_ms[index] = outcome, ms
            return Receipts(received_ms, [outcome for outcome in outcomes if outcome is not None], came_ms)

        return Request(commands, read, is_long=len(commands) > 1)

    def reject(self, items: Sequence[bytes]) -> Request[None]:
        """Keeps refused events for the drain, the newest 100k."""
        name = keys.rejected()
        return Request([command("XADD", name, "MAXLEN", "~", REJECTED_MAX, "*", "e", item) for item in items], nothing)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def records(self, ids: Sequence[str]) -> Request[Reading]:
        """The records of some ids, in their order, with the clock and the catalogue's version."""
        commands = [shared("HGETALL", keys.record(shard_of(one, self.shards), one)) for one in ids]

        def read(replies: list[Any]) -> Reading:
            *flat, clock, version = replies
            records: list[Record] = [record_of(one, fields) for one, fields in zip(ids, flat, strict=True)]
            return Reading(records, clock_ms(clock), None if version is None else int(version))

        return Request([*commands, _TIME, _VERSION], read)

    # ── whose an id is ───────────────────────────────────────────────────────────────────────────────────────────────

    def owners(self, ids: Sequence[str]) -> Request[list[Owner | None]]:
        """Whose each of these ids is; None for those that are nobody's."""
        commands = [shared("HGET", keys.record(shard_of(one, self.shards), one), keys.OWNER) for one in ids]
        return Request(commands, lambda replies: [owner_of(reply) for reply in replies])

    def ended(self, ids: Sequence[str]) -> Request[list[Ended]]:
        """When each of these ids was deleted and given up last, whether or not that has been purged."""
        commands = [tombstones.ended(shard_of(one, self.shards), one) for one in ids]
        return Request(commands, lambda replies: [Ended(*tombstones.ended_ms(reply)) for reply in replies])

    def add_members(self, claims: Sequence[Claim]) -> Request[list[bool]]:
        """Lists ids with those they are about to be claimed for; per claim whether there was room."""
        commands = [members.added(shard_of(one.owner, self.shards), one.owner, [one.id]) for one in claims]
        return Request(commands, lambda replies: [bool(reply[0]) for reply in replies])

    def drop_members(self, claims: Sequence[Claim]) -> Request[None]:
        """Takes ids off the lists of those they are not of, or not of any more."""
        commands = [members.dropped(shard_of(one.owner, self.shards), one.owner, [one.id]) for one in claims]
        return Request(commands, nothing)

    def link(self, claims: Sequence[Claim]) -> Request[list[Claimed]]:
        """Claims ids, in order; what became of each. Raises `ShardNotReady`, `StoreFull`; a repeat is safe."""
        commands = []
        for one in claims:
            entry = logged_event.encode(link_entry(one))
            shard = shard_of(one.id, self.shards)
            commands.append(
                claim.link(shard, one.id, entry, one.owner, one.event_id, one.since_ms, self.limits.backlog_max)
            )
        return Request(commands, lambda replies: self._claimed([one.id for one in claims], replies))

    def unlink(self, namespaced_id: str, event_id: str) -> Request[Claimed]:
        """Makes an id nobody's. Raises `ShardNotReady`, `StoreFull`; a repeat is safe."""
        entry = logged_event.encode(Accepted(event_id, "unlink", namespaced_id))
        shard = shard_of(namespaced_id, self.shards)
        command_ = claim.unlink(shard, namespaced_id, entry, self.limits.backlog_max)
        return Request([command_], lambda replies: self._claimed([namespaced_id], replies)[0])

    def delete(self, entries: Sequence[Accepted]) -> Request[list[int]]:
        """Deletes what ids have up to now, in order; the seq of each one's tombstone. Raises `ShardNotReady`.

        `entries` are of kind delete. A repeat writes another tombstone, which changes nothing more.
        """
        ids = [entry.id for entry in entries]
        commands = [delete.delete(shard_of(one.id, self.shards), one.id, logged_event.encode(one)) for one in entries]

        def read(replies: list[Any]) -> list[int]:
            seqs = []
            for one, reply in zip(ids, replies, strict=True):
                result = delete.read(reply)
                if isinstance(result, str):
                    raise _refused(shard_of(one, self.shards), result, 0)
                seqs.append(result)
            return seqs

        return Request(commands, read)

    def _claimed(self, ids: Sequence[str], replies: Sequence[Any]) -> list[Claimed]:
        found = []
        for one, reply in zip(ids, replies, strict=True):
            result = claim.read(reply)
            if isinstance(result, str):
                raise _refused(shard_of(one, self.shards), result, 0)
            found.append(result)
        return found

    def now_ms(self) -> Request[int]:
        """The server's clock, in UTC ms."""
        return Request([shared("TIME")], lambda replies: clock_ms(replies[0]))

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────

    def read_log(self, shard: int, after: int, count: int) -> Request[list[LogEntry]]:
        """The entries of a shard's log with seq > after, in order, at most `count`."""
        read = self.read_logs({shard: after}, count)
        return Request(read.commands, lambda replies: read.read(replies)[shard])

    def read_logs(self, after: Mapping[int, int], count: int) -> Request[dict[int, list[LogEntry]]]:
        """The same for several shards at once, at most `count` of each."""
        commands = [
            command("XRANGE", keys.log(shard), f"{seq + 1}-0", "+", "COUNT", count) for shard, seq in after.items()
        ]

        def read(replies: list[Any]) -> dict[int, list[LogEntry]]:
            return {shard: [_log_entry(*one) for one in entries] for shard, entries in zip(after, replies, strict=True)}

        return Request(commands, read)

    def undrained_ms(self, states: Sequence[ShardState]) -> Request[int | None]:
        """When the oldest event was received that is not known to be in the lake, UTC ms; None where all are.

        `states` are those of all shards, read before.
        """
        first = self.read_logs({state.shard: state.drained for state in states}, 1)

        def read(replies: list[Any]) -> int | None:
            logs = first.read(replies).values()
            return min((entries[0].received_ms for entries in logs if entries), default=None)

        return Request(first.commands, read)

    def trim_log(self, shard: int, committed: int, margin: int = 0) -> Request[None]:
        """Notes that the lake holds the log up to `committed`, and drops entries up to there, less a margin."""
        return Request(
            [
                raise_numbers.raised(keys.shard(shard), {"drained": committed}),
                command("XTRIM", keys.log(shard), "MINID", f"{max(committed + 1 - margin, 0)}-0"),
            ],
            nothing,
        )

    def read_rejected(self, count: int) -> Request[list[RejectedEntry]]:
        """The oldest refused events."""
        return Request(
            [command("XRANGE", keys.rejected(), "-", "+", "COUNT", count)],
            lambda replies: [RejectedEntry(entry_id.decode(), fields[1]) for entry_id, fields in replies[0]],
        )

    def trim_rejected(self, entry_id: str) -> Request[None]:
        """Drops refused events up to and with this entry, once they are in the lake."""
        ms, _, number = entry_id.partition("-")
        return Request([command("XTRIM", keys.rejected(), "MINID", f"{ms}-{int(number) + 1}")], nothing)

    # ── bases ────────────────────────────────────────────────────────────────────────────────────────────────────

    def next_build(self) -> Request[int]:
        """The number of a new build, greater than any before, those of a Redis that was wiped or restored included."""
        return Request([next_build.begun()], lambda replies: int(replies[0]))

    def raise_build(self, build: int) -> Request[None]:
        """Makes the next build's number greater than this, should the clock have gone back behind the lake's builds."""
        return Request([raise_numbers.raised(keys.rebuild(), {"build": build})], nothing)

    def publish(self, shard: int, stamp: Stamp, records: Sequence[BaseRecord]) -> Request[list[Published]]:
        """Puts bases in place, each unless its record holds a newer one or was deleted since; an outcome a record."""
        commands = [publish.publish(shard, stamp, some) for some in chunks(records, publish.RECORDS_MAX)]
        return Request(commands, lambda replies: [one for reply in replies for one in publish.read(reply)])

    def scan_records(self, cursor: int, count: int = 1_000) -> Request[tuple[int, list[tuple[int, str]]]]:
        """The next cursor (0: done) and some (shard, id) of records; from 0 to 0 each comes at least once."""

        def read(replies: list[Any]) -> tuple[int, list[tuple[int, str]]]:
            following, found = replies[0]
            return int(following), [keys.record_id(key) for key in found]

        return Request([command("SCAN", cursor, "MATCH", keys.record_pattern(), "COUNT", count, "TYPE", "hash")], read)

    def sweep(self, stamp: Stamp, shard: int, ids: Sequence[str], run_id: str | None = None) -> Request[int]:
        """Empties the bases that a complete rebuild left behind; answers how many. Newer bases and tails stay.

        `run_id` is the server's when the rebuild began. A server that came back without what was published since must
        not be swept: raises `ServerReplaced`.
        """
        commands = [
            publish.sweep(stamp, [keys.record(shard, one) for one in some]) for some in chunks(ids, publish.RECORDS_MAX)
        ]

        def read(replies: list[Any]) -> int:
            return sum(outcome is Published.DONE for reply in replies for outcome in publish.read(reply))

        return Request(commands, read).during(run_id)

    # ── recovery ─────────────────────────────────────────────────────────────────────────────────────────────────

    def replay(self, rows: Sequence[tuple[str, Row]]) -> Request[int]:
        """Puts lake rows, (namespaced id, row) in order of seq, back into records; answers how many were missing."""
        by_shard: dict[int, list[tuple[str, Row]]] = {}
        for row in rows:
            by_shard.setdefault(shard_of(row[0], self.shards), []).append(row)
        commands = []
        for shard, held in by_shard.items():
            for some in chunks(held, REPLAY_ROWS_MAX):
                by_id: dict[str, list[Row]] = {}
                for namespaced_id, row in some:
                    by_id.setdefault(namespaced_id, []).append(row)
                commands.append(replay.replay(shard, list(by_id.items()), self.limits.tail_wanted))
        return Request(commands, lambda replies: sum(replies))

    def restore(self, standings: Sequence[Standing]) -> Request[None]:
        """Puts back whose ids are and when they were deleted, as the lake says."""
        return Request([restore.restore(shard_of(one.id, self.shards), one) for one in standings], nothing)

    def resume(self, shard: int, seq: int, last_received_ms: int) -> Request[int]:
        """Makes the shard's log go on above the lake's `seq`, which is drained, and its own; answers from where."""
        command_ = raise_numbers.raised(keys.shard(shard), {"seq": seq, "last": last_received_ms, "drained": seq})
        return Request([command_], lambda replies: int(replies[0][-1]))

    def mark_ready(self, shard: int, run_id: str) -> Request[None]:
        """Opens a shard for ingest, on the server it was recovered on and on no other."""
        return Request([command("SET", keys.ready(shard), run_id)], nothing)

    # ── purging ──────────────────────────────────────────────────────────────────────────────────────────────────

    def bury(self, deleted: Mapping[str, int]) -> Request[int]:
        """Takes the names from the records of deleted ids, whose deletes have these seqs; answers of how many.

        One that got something new since, or a newer delete, keeps it.
        """
        by_shard: dict[int, list[tuple[str, int]]] = {}
        for one, seq in deleted.items():
            by_shard.setdefault(shard_of(one, self.shards), []).append((one, seq))
        commands = [
            tombstones.bury(shard, some)
            for shard, held in by_shard.items()
            for some in chunks(held, tombstones.RECORDS_MAX)
        ]
        return Request(commands, lambda replies: sum(map(int, replies)))

    def recall(self, by_shard: Mapping[int, Sequence[tuple[str, int, int]]]) -> Request[None]:
        """Puts tombstones without a name back, per shard (digest, seq, receipt in ms)."""
        commands = [
            tombstones.recall(shard, some)
            for shard, nameless in by_shard.items()
            for some in chunks(nameless, tombstones.RECORDS_MAX)
        ]
        return Request(commands, nothing)

    def forget_gone(self, before_ms: int) -> Request[int]:
        """Drops tombstones without a name that are older: what they refused is no more. Answers how many."""
        return Request(
            [tombstones.forget(shard, before_ms) for shard in range(self.shards)], lambda replies: sum(replies)
        )

    def members(self, ids: Sequence[str]) -> Request[dict[str, tuple[str, ...]]]:
        """The ids that others list as theirs; those that list none are left out."""
        commands = [command("HGET", keys.record(shard_of(one, self.shards), one), keys.MEMBERS) for one in ids]
        return Request(
            commands,
            lambda replies: {
                one: members.members_of(field) for one, field in zip(ids, replies, strict=True) if field is not None
            },
        )

    def clean_log(self, shard: int, committed: int) -> Request[bool]:
        """Leaves nothing of a shard's log up to `committed`, to the last byte; False when too much is behind that."""
        return Request([tombstones.clean(keys.log(shard), f"{committed}-0")], lambda replies: int(replies[0]) >= 0)

    def clean_rejected(self, entry_id: str) -> Request[bool]:
        """Leaves nothing of the refused events up to this one; False when too many came since."""
        return Request([tombstones.clean(keys.rejected(), entry_id)], lambda replies: int(replies[0]) >= 0)


def link_entry(one: Claim) -> Accepted:
    """A claim as its log has it: an entry of the claimed id, `name` the owner."""
    kind, value = raw_id(one.owner)
    return Accepted(f"{one.event_id}:link", "link", one.id, user_id=value if kind == "user" else None, name=one.owner)


def _packed(arrival: Arrival) -> Packed:
    event, tail = arrival
    return Packed(event_hash(event.event_id), event.original_ts, logged_event.encode(event), tail)


def _refused(shard: int, word: str, projection: int) -> Exception:
    match word:
        case "unready":
            return ShardNotReady(shard)
        case "outdated":
            return ProjectionOutdated(shard, projection)
        case _:
            return StoreFull(f"the log of shard {shard} is full: the drain is behind, or the lake is away")


def _log_entry(entry_id: bytes, fields: Sequence[bytes]) -> LogEntry:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return LogEntry(
        int(entry_id.partition(b"-")[0]), logged_event.decode(named[b"e"]), int(named[b"t"]), int(named[b"r"])
    )
