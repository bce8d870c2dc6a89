"""Each script does what it says on a real Redis, refuses what it must, and can be repeated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from serving.ids import event_hash, shard_of
from serving.store import keys
from serving.store.errors import ProjectionOutdated, ShardNotReady, StoreFull
from serving.store.layout import RECENT_ENTRY_BYTES, in_order, recent_entry
from serving.store.logged_event import Accepted
from serving.store.operations.rebuild_requests import RebuildRequests
from serving.store.scripts.ingest import EVENTS_MAX, Outcome, TailLimits
from serving.store.scripts.lua_copies import COPIES, REMEMBER
from serving.store.scripts.publish import BaseRecord, Published
from serving.store.scripts.replay import Row
from serving.store.stamps import Stamp
from serving.store.store import Store
from tests.serving.store.arrivals import (
    DAY_MS,
    NOON_MS,
    arrival,
    at,
    only_known_keys,
    packed_seq,
    ready,
    seqs_of,
    tail_of,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("clock")

ALICE = "user:alice"


@pytest.fixture
def open_store(redis_url: str) -> Iterator[Callable[..., Store]]:
    """Opens stores that are ready for ingest; at the end Redis must hold nothing that keys.py does not know."""
    with ExitStack() as stack:
        stack.enter_context(only_known_keys(redis_url))

        def opened(shards: int = 1, **limits: int) -> Store:
            return ready(stack.enter_context(Store(redis_url, shards, TailLimits(**limits))))

        yield opened


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """A store of one shard, so that seqs are easy to tell."""
    return open_store()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """The same Redis, bare."""
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def stamp(version: int = 1, build: int = 1, seq: int = 0) -> Stamp:
    return Stamp(version, build, seq, as_of_ms=NOON_MS, projection=1)


def row(event_id: str, seq: int, received_ms: int = NOON_MS, ts_ms: int = NOON_MS) -> Row:
    return Row(event_hash(event_id), seq, ts_ms, received_ms, b"\x93")


def accepted(*seqs: int) -> list[Outcome]:
    return [Outcome(seq) for seq in seqs]


class TestIngest:
    def test_log_and_record_change_together(self, store: Store) -> None:
        """An event is in the log and in its record's tail under one seq, with one receipt."""
        receipts = store.ingest([arrival("e1", amount=5)], projection=0)

        (entry,) = store.read_log(0, after=0, count=10)
        (record,) = store.records([ALICE]).records
        assert receipts.outcomes == accepted(1)
        assert (entry.seq, entry.received_ms) == (1, receipts.received_ms)
        assert entry.event.properties == {"amount": 5}
        assert tail_of(record) == [(1, receipts.received_ms, receipts.received_ms)]
        assert (record.last_seq, record.last_received_ms) == (1, receipts.received_ms)

    def test_seqs_are_contiguous_over_records_and_calls(self, store: Store) -> None:
        """The log of a shard is 1, 2, 3 … whatever records and requests its events came with."""
        store.ingest([arrival("a1"), arrival("b1", "user:bob"), arrival("a2")], projection=0)
        store.ingest([arrival("c1", "anon:c")], projection=0)

        assert [entry.seq for entry in store.read_log(0, 0, 10)] == [1, 2, 3, 4]

    def test_an_unrecovered_shard_takes_nothing(self, store: Store, client: redis.Redis) -> None:
        """While ready is not this server's run_id, a call is refused before any write."""
        store.mark_ready(0, "f" * 40)

        with pytest.raises(ShardNotReady) as refused:
            store.ingest([arrival("e1")], projection=0)
        assert refused.value.shard == 0
        assert not client.exists(keys.log(0), keys.record(0, ALICE))

    def test_a_shard_that_was_never_recovered_takes_nothing(self, store: Store, client: redis.Redis) -> None:
        """A missing mark is no mark."""
        client.delete(keys.ready(0))

        with pytest.raises(ShardNotReady):
            store.ingest([arrival("e1")], projection=0)

    def test_an_older_projection_takes_nothing(self, store: Store) -> None:
        """Once a shard keeps more of events, a caller that would keep less is refused, with nothing written."""
        store.ingest([arrival("e1")], projection=2)
        assert store.raise_projection(3) == [1]

        with pytest.raises(ProjectionOutdated):
            store.ingest([arrival("e2")], projection=2)
        assert store.ingest([arrival("e2")], projection=3).outcomes == accepted(2)

    def test_a_projection_never_goes_down(self, store: Store) -> None:
        """Raising to an older version changes nothing."""
        store.raise_projection(3)
        store.raise_projection(2)

        with pytest.raises(ProjectionOutdated):
            store.ingest([arrival("e1")], projection=2)

    def test_a_repeat_answers_the_first_seq(self, store: Store) -> None:
        """A duplicate gets the seq of the copy that counts, in a later call and inside one call."""
        store.ingest([arrival("e1")], projection=0)

        receipts = store.ingest([arrival("e2"), arrival("e1"), arrival("e2")], projection=0)

        assert receipts.outcomes == [Outcome(2), Outcome(1, duplicate=True), Outcome(2, duplicate=True)]
        assert [entry.seq for entry in store.read_log(0, 0, 10)] == [1, 2]

    def test_each_event_answers_when_the_copy_that_counts_came(self, store: Store) -> None:
        """Receipts are in the order of the call: a new event, a copy in the tail, a covered one, one of this call."""
        at(store, NOON_MS)
        store.ingest([arrival("e1")], projection=0)
        covered = recent_entry(event_hash("e2"), NOON_MS - 5, None)
        store.publish(0, stamp(), [BaseRecord(ALICE, b"base", covered)])
        at(store, NOON_MS + 7)

        receipts = store.ingest([arrival("e3"), arrival("e2"), arrival("e1"), arrival("e3")], projection=0)

        assert receipts.came_ms == [NOON_MS + 7, NOON_MS - 5, NOON_MS, NOON_MS + 7]

    def test_an_event_id_is_unique_per_raw_id(self, store: Store) -> None:
        """The same event id on another raw id is another event."""
        receipts = store.ingest([arrival("e1"), arrival("e1", "user:bob")], projection=0)

        assert receipts.outcomes == accepted(1, 2)

    @pytest.mark.parametrize(("age_ms", "is_new"), [(DAY_MS - 1, False), (DAY_MS, True)])
    def test_a_tail_copy_counts_for_24_hours(self, store: Store, age_ms: int, is_new: bool) -> None:
        """A repeat one millisecond short of 24 h after the copy in the tail is a duplicate; at 24 h it is new."""
        store.replay([(ALICE, row("e1", 7, received_ms=NOON_MS - age_ms))])
        store.resume(0, 7, NOON_MS)

        receipts = store.ingest([arrival("e1")], projection=0)

        assert receipts.received_ms == NOON_MS
        assert receipts.outcomes == [Outcome(8) if is_new else Outcome(7, duplicate=True)]
        assert seqs_of(store.records([ALICE]).records[0]) == ([7, 8] if is_new else [7])

    @pytest.mark.parametrize(("age_ms", "is_new"), [(DAY_MS - 1, False), (DAY_MS, True)])
    def test_a_covered_copy_counts_for_24_hours(self, store: Store, age_ms: int, is_new: bool) -> None:
        """The same edge for a copy that the base covers."""
        store.resume(0, 7, NOON_MS)
        recent = recent_entry(event_hash("e0"), NOON_MS, 6) + recent_entry(event_hash("e1"), NOON_MS - age_ms, 7)
        store.publish(0, stamp(seq=7), [BaseRecord(ALICE, b"base", recent)])

        receipts = store.ingest([arrival("e1")], projection=0)

        assert receipts.outcomes == [Outcome(8) if is_new else Outcome(7, duplicate=True)]

    def test_the_newest_copy_counts(self, store: Store) -> None:
        """After a repeat was taken as new, the 24 hours run from that one."""
        store.replay(
            [(ALICE, row("e1", 1, received_ms=NOON_MS - 3 * DAY_MS)), (ALICE, row("e1", 2, received_ms=NOON_MS - 1))]
        )
        store.resume(0, 2, NOON_MS)

        assert store.ingest([arrival("e1")], projection=0).outcomes == [Outcome(2, duplicate=True)]

    def test_a_later_copy_is_known_when_the_older_one_is_covered(self, store: Store) -> None:
        """After the base took the first copy out of the tail, the second one still makes a repeat a duplicate."""
        store.replay([(ALICE, row("e1", 1, NOON_MS - DAY_MS))])
        store.resume(0, 1, NOON_MS)
        assert store.ingest([arrival("e1")], projection=0).outcomes == accepted(2)

        store.publish(0, stamp(seq=1), [BaseRecord(ALICE, b"base")])

        assert store.ingest([arrival("e1")], projection=0).outcomes == [Outcome(2, duplicate=True)]

    def test_three_old_copies_make_room_for_a_fourth(self, store: Store) -> None:
        """Each copy a day apart is an entry of its own."""
        rows = [(ALICE, row("e1", seq, received_ms=NOON_MS - (4 - seq) * DAY_MS)) for seq in (1, 2, 3)]
        store.replay(rows)
        store.resume(0, 3, NOON_MS)

        assert store.ingest([arrival("e1")], projection=0).outcomes == accepted(4)
        assert seqs_of(store.records([ALICE]).records[0]) == [1, 2, 3, 4]

    def test_an_imported_copy_has_no_seq(self, store: Store) -> None:
        """A repeat of an imported event is a duplicate, of no seq."""
        at(store, NOON_MS)
        store.publish(0, stamp(), [BaseRecord(ALICE, b"base", recent_entry(event_hash("e1"), NOON_MS - 5, None))])

        assert store.ingest([arrival("e1")], projection=0).outcomes == [Outcome(None, duplicate=True)]

    def test_a_hash_across_two_entries_is_no_copy(self, store: Store) -> None:
        """Only whole entries of `recent` are compared, not eight bytes that happen to lie across two."""
        at(store, NOON_MS)
        entries = recent_entry(b"A" * 8, NOON_MS, 3) + recent_entry(event_hash("e1"), NOON_MS, 4)
        hash_ = event_hash("e2")
        shifted = entries[:10] + hash_ + entries[18:]
        store.publish(0, stamp(), [BaseRecord(ALICE, b"base", shifted + recent_entry(b"B" * 8, NOON_MS, 9))])

        assert store.ingest([arrival("e2")], projection=0).outcomes == accepted(1)

    def test_a_future_time_is_clamped_to_the_receipt(self, store: Store) -> None:
        """ts is never after the receipt; the client's own time stays in the log's event."""
        at(store, NOON_MS)

        store.ingest([arrival("late", ts_ms=NOON_MS + 1), arrival("now", ts_ms=NOON_MS)], projection=0)

        assert tail_of(store.records([ALICE]).records[0]) == [(1, NOON_MS, NOON_MS), (2, NOON_MS, NOON_MS)]
        assert [entry.event.original_ts for entry in store.read_log(0, 0, 10)] == [NOON_MS + 1, NOON_MS]
        assert [entry.ts_ms for entry in store.read_log(0, 0, 10)] == [NOON_MS, NOON_MS]

    @pytest.mark.parametrize("ts_ms", [0, -1, -(2**46), 1_700_000_000_123])
    def test_a_past_time_is_kept(self, store: Store, ts_ms: int) -> None:
        """Whatever time an event gives is kept to the millisecond, before 1970 too."""
        receipts = store.ingest([arrival("e1", ts_ms=ts_ms)], projection=0)

        assert tail_of(store.records([ALICE]).records[0]) == [(1, ts_ms, receipts.received_ms)]
        assert store.read_log(0, 0, 1)[0].ts_ms == ts_ms

    def test_now_never_goes_back(self, store: Store) -> None:
        """A shard's clock is at least its last receipt, so a server whose clock was set back hides nothing."""
        at(store, NOON_MS)

        first = store.ingest([arrival("e1")], projection=0)
        reading = store.records([ALICE])

        assert first.received_ms == NOON_MS
        assert reading.clock_ms < NOON_MS == reading.now_ms

    def test_a_long_tail_asks_for_a_rebuild_of_its_id(self, open_store: Callable[..., Store]) -> None:
        """Above the first bound the id is wanted, once each time the tail grows by as much again."""
        store = open_store(tail_wanted=3)

        store.ingest([arrival(f"e{n}") for n in range(3)], projection=0)
        assert store.rebuild_requests().ids == {}
        store.ingest([arrival("e3")], projection=0)
        store.ingest([arrival("e4")], projection=0)
        assert store.rebuild_requests().ids == {0: {ALICE: 1}}
        store.ingest([arrival(f"e{n}") for n in range(5, 9)], projection=0)
        assert store.rebuild_requests().ids == {0: {ALICE: 2}}

    def test_a_full_tail_takes_no_more_of_its_id(self, open_store: Callable[..., Store]) -> None:
        """Beyond the second bound an id's events are busy; duplicates are still known, and other ids go on."""
        store = open_store(tail_max=2)

        receipts = store.ingest(
            [arrival("e1"), arrival("e2"), arrival("e3"), arrival("e1"), arrival("b1", "user:bob")], projection=0
        )

        busy = Outcome(None, busy=True)
        assert receipts.outcomes == [Outcome(1), Outcome(2), busy, Outcome(1, duplicate=True), Outcome(3)]
        assert seqs_of(store.records([ALICE]).records[0]) == [1, 2]

    def test_a_published_base_makes_room_in_a_full_tail(self, open_store: Callable[..., Store]) -> None:
        """Covered events do not count against the tail's bound, and base and stamp are no entries."""
        store = open_store(tail_max=2)
        store.ingest([arrival("e1"), arrival("e2")], projection=0)
        recent = recent_entry(event_hash("e1"), NOON_MS, 1)
        store.publish(0, stamp(seq=1), [BaseRecord(ALICE, b"base", recent)])

        receipts = store.ingest([arrival("e3"), arrival("e4")], projection=0)

        assert receipts.outcomes == [Outcome(3), Outcome(None, busy=True)]

    def test_a_drain_far_behind_stops_the_shard(self, open_store: Callable[..., Store]) -> None:
        """When the undrained log is at its bound the call is refused whole; it goes on when the drain has moved."""
        store = open_store(backlog_max=3)
        store.ingest([arrival(f"e{n}") for n in range(3)], projection=0)

        with pytest.raises(StoreFull):
            store.ingest([arrival("more")], projection=0)
        store.trim_log(0, committed=1)
        assert store.ingest([arrival("more")], projection=0).outcomes == accepted(4)

    def test_a_large_request_is_several_calls(self, store: Store) -> None:
        """More events than Lua unpacks at once still get their seqs, in order."""
        count = 2 * EVENTS_MAX + 1

        receipts = store.ingest([arrival(f"e{n}") for n in range(count)], projection=0)

        assert receipts.outcomes == accepted(*range(1, count + 1))
        assert len(store.records([ALICE]).records[0].tail) == count

    def test_memory_at_its_bound_refuses_before_any_write(self, store: Store, client: redis.Redis) -> None:
        """A server at maxmemory says so, and the event is neither in the log nor in the record."""
        store.ingest([arrival("e1")], projection=0)
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreFull):
                store.ingest([arrival("e2")], projection=0)
        finally:
            client.config_set("maxmemory", 0)

        assert [entry.seq for entry in store.read_log(0, 0, 10)] == [1]
        assert seqs_of(store.records([ALICE]).records[0]) == [1]


class TestPublish:
    def test_a_base_takes_the_place_of_the_tail_it_covers(self, store: Store) -> None:
        """Entries up to S go, those after S stay, and the stamp says so."""
        store.ingest([arrival("e1"), arrival("e2"), arrival("e3")], projection=0)

        assert store.publish(0, stamp(seq=2), [BaseRecord(ALICE, b"base")]) == [Published.DONE]

        (record,) = store.records([ALICE]).records
        assert (record.base, record.stamp, seqs_of(record)) == (b"base", stamp(seq=2), [3])

    def test_a_heavy_base_has_its_horizon(self, store: Store) -> None:
        """The horizon of a record's own base is in its stamp."""
        store.publish(0, stamp(), [BaseRecord(ALICE, b"base", horizon_ms=3_600_000)])

        assert store.records([ALICE]).records[0].stamp == stamp().heavy(3_600_000)

    @pytest.mark.parametrize(("version", "build"), [(5, 8), (5, 9), (4, 99)])
    def test_an_older_or_equal_base_is_refused(self, store: Store, version: int, build: int) -> None:
        """(V, build) must grow: reruns of the same build and zombies of older ones change nothing."""
        store.publish(0, stamp(5, 9, seq=7), [BaseRecord(ALICE, b"new")])
        store.replay([(ALICE, row("e8", 8))])

        assert store.publish(0, stamp(version, build, seq=20), [BaseRecord(ALICE, b"old")]) == [Published.OLDER]

        (record,) = store.records([ALICE]).records
        assert (record.base, seqs_of(record)) == (b"new", [8])

    @pytest.mark.parametrize(("version", "build"), [(5, 10), (6, 1)])
    def test_a_newer_base_replaces(self, store: Store, version: int, build: int) -> None:
        """A newer build of the same version replaces, and so does any build of a newer version."""
        store.publish(0, stamp(5, 9), [BaseRecord(ALICE, b"old", recent_entry(b"A" * 8, NOON_MS, 1))])

        assert store.publish(0, stamp(version, build), [BaseRecord(ALICE, b"new")]) == [Published.DONE]
        assert store.records([ALICE]).records[0].base == b"new"

    def test_a_newer_tombstone_refuses(self, store: Store, client: redis.Redis) -> None:
        """A base that does not know of the id's delete is refused; one that covers it is taken."""
        client.hset(keys.record(0, ALICE), keys.TOMBSTONE, packed_seq(5))

        assert store.publish(0, stamp(seq=4), [BaseRecord(ALICE, b"old")]) == [Published.DELETED]
        assert store.publish(0, stamp(seq=5), [BaseRecord(ALICE, b"new")]) == [Published.DONE]

    @pytest.mark.parametrize(("age_ms", "is_dropped"), [(DAY_MS - 1, True), (DAY_MS, False)])
    def test_a_tail_copy_of_a_covered_event_goes(self, store: Store, age_ms: int, is_dropped: bool) -> None:
        """An entry after S goes when its id is among `recent` (an import counts it), unless it came 24 h later."""
        store.replay([(ALICE, row("e1", 9, received_ms=NOON_MS))])
        recent = recent_entry(event_hash("e1"), NOON_MS - age_ms, None)

        store.publish(0, stamp(seq=3), [BaseRecord(ALICE, b"base", recent)])

        assert seqs_of(store.records([ALICE]).records[0]) == ([] if is_dropped else [9])

    def test_a_later_copy_of_a_covered_event_stays(self, store: Store) -> None:
        """The first of two copies a day apart is covered, and goes; the second is after S, and stays."""
        store.replay([(ALICE, row("e1", 1, NOON_MS - DAY_MS)), (ALICE, row("e1", 2, NOON_MS))])

        store.publish(
            0, stamp(seq=1), [BaseRecord(ALICE, b"base", recent_entry(event_hash("e1"), NOON_MS - DAY_MS, 1))]
        )

        assert seqs_of(store.records([ALICE]).records[0]) == [2]

    def test_a_long_tail_goes_at_once(self, store: Store) -> None:
        """More entries than Lua unpacks at once are dropped all the same."""
        store.ingest([arrival(f"e{n}") for n in range(2_500)], projection=0)

        store.publish(0, stamp(seq=2_499), [BaseRecord(ALICE, b"base")])

        assert seqs_of(store.records([ALICE]).records[0]) == [2_500]

    def test_many_records_are_answered_in_order(self, store: Store) -> None:
        """Each record is taken or refused by itself."""
        ids = [f"user:{n}" for n in range(200)]
        store.publish(0, stamp(2, 2), [BaseRecord(id_, b"held") for id_ in ids[::2]])

        outcomes = store.publish(0, stamp(2, 1), [BaseRecord(id_, b"base") for id_ in ids])

        assert outcomes == [Published.OLDER, Published.DONE] * 100

    def test_nothing_to_publish_is_nothing(self, store: Store) -> None:
        """A shard without ids asks Redis nothing."""
        assert store.publish(0, stamp(), []) == []


class TestManyCoveredEvents:
    """A busy id's `recent` has a key of its own, and is looked up there all the same."""

    COUNT = 1_000

    def entries(self, received_ms: int = NOON_MS) -> bytes:
        return b"".join(recent_entry(event_hash(f"e{n}"), received_ms, n + 1) for n in range(self.COUNT))

    def test_each_of_them_is_known(self, store: Store) -> None:
        """Every covered event is a duplicate with its own seq, the first and the last by hash too; others are new."""
        store.resume(0, self.COUNT, NOON_MS)
        store.publish(0, stamp(seq=self.COUNT), [BaseRecord(ALICE, b"base", self.entries())])

        receipts = store.ingest([arrival(f"e{n}") for n in range(self.COUNT + 50)], projection=0)

        known, new = receipts.outcomes[: self.COUNT], receipts.outcomes[self.COUNT :]
        assert known == [Outcome(n + 1, duplicate=True) for n in range(self.COUNT)]
        assert new == accepted(*range(self.COUNT + 1, self.COUNT + 51))

    @pytest.mark.parametrize("made_up", ["evenly", "close together", "at both ends", "doubling", "one"])
    def test_hashes_are_found_however_they_are_spread(self, store: Store, client: redis.Redis, made_up: str) -> None:
        """Ids are the clients' to choose; a look reads some blocks, never one entry after the other."""
        step, numbers = 2**64 // self.COUNT, range(self.COUNT)
        hashes = {
            "evenly": [n * step for n in numbers],
            "close together": [2**63 + 3 * n for n in numbers],
            "at both ends": [3 * n for n in numbers[::2]] + [2**64 - 1 - 3 * n for n in numbers[::2]],
            "doubling": sorted({max((2**64 - 1) // 2**n, n) for n in numbers}),
            "one": [7],
        }[made_up]
        recent = b"".join(
            recent_entry(hash_.to_bytes(8, "big"), NOON_MS, n) for n, hash_ in enumerate(sorted(hashes), 1)
        )
        look = f"""
        local reads = 0
        local function entries_at(at, size)
          reads = reads + 1
          return string.sub(ARGV[1], at + 1, at + size)
        end
        local _, of = copy_among_many(#ARGV[1] / {RECENT_ENTRY_BYTES}, entries_at, ARGV[2])
        return {{of or -1, reads}}
        """
        places = {hash_: n for n, hash_ in enumerate(sorted(hashes), 1)}
        places = {hash_ + by: -1 for hash_ in hashes for by in (-1, 1) if 0 <= hash_ + by < 2**64} | places
        read = client.register_script(COPIES + look)
        reads = []
        for hash_, n in places.items():
            place, blocks = read(args=[recent, hash_.to_bytes(8, "big")])
            assert place == n
            reads.append(blocks)
        assert max(reads) <= 4 + 1 + math.ceil(math.log2(len(hashes)))
        assert made_up != "evenly" or max(reads) <= 2

    def test_a_delete_and_its_purge_leave_each_known(self, store: Store, client: redis.Redis) -> None:
        """The events of a deleted id are known under the hash of the id.

        A retry finds them and changes nothing; a new event brings it back.
        """
        at(store, NOON_MS)
        store.publish(0, stamp(seq=self.COUNT), [BaseRecord(ALICE, b"base", self.entries())])
        (seq,) = store.delete([Accepted("gone", "delete", ALICE)])
        assert store.bury({ALICE: seq}) == 1
        before = sorted(client.keys())

        receipts = store.ingest([arrival(f"e{n}") for n in range(self.COUNT)], projection=0)

        assert receipts.outcomes == [Outcome(n + 1, duplicate=True) for n in range(self.COUNT)]
        assert receipts.came_ms == [NOON_MS] * self.COUNT
        assert sorted(client.keys()) == before
        assert not any(b"alice" in key for key in before)
        outcomes = store.ingest([arrival("e0"), arrival("new")], projection=0).outcomes
        assert outcomes == [Outcome(1, duplicate=True), Outcome(seq + 1)]
        assert store.records([ALICE]).records[0].tombstone_seq == seq
        assert store.ingest([arrival("e1")], projection=0).outcomes == [Outcome(2, duplicate=True)]

    def test_a_few_entries_are_put_in_their_places_among_many(self, client: redis.Redis) -> None:
        """In order of the hash, each instead of one of the same hash: at both ends, between, and among none."""
        chance = random.Random(3)
        merge = client.register_script(
            COPIES + REMEMBER + "local entries = {}\n"
            "for i = 2, #ARGV do entries[i - 1] = ARGV[i] end\nreturn with_entries(ARGV[1], entries)"
        )
        for _ in range(100):
            many, few = (
                {chance.choice((0, 2**63, 2**64 - 8)) + chance.randrange(8): seq for _ in range(chance.randrange(9))}
                for seq in (1, 2)
            )
            long, entries = (
                [recent_entry(hash_.to_bytes(8, "big"), NOON_MS, seq) for hash_, seq in sorted(of.items())]
                for of in (many, few)
            )
            merged = sorted((many | few).items())
            expected = b"".join(recent_entry(hash_.to_bytes(8, "big"), NOON_MS, seq) for hash_, seq in merged)
            assert merge(args=[b"".join(long), *entries]) == expected

    def test_a_delete_keeps_its_own_apart(self, store: Store, client: redis.Redis) -> None:
        """A base that comes after a delete brings its list as it is: what was deleted is neither read nor written.

        Repeats of both are known, imported ones too; a second delete and a purge keep what the first one kept.
        """
        at(store, NOON_MS)
        imported = self.entries()[:-RECENT_ENTRY_BYTES] + recent_entry(event_hash("imported"), NOON_MS, None)
        store.publish(0, stamp(1, seq=self.COUNT), [BaseRecord(ALICE, b"base", imported)])
        store.ingest([arrival("t1"), arrival("t2")], projection=0)
        (seq,) = store.delete([Accepted("gone", "delete", ALICE)])
        kept = client.get(keys.forgotten(0, ALICE))
        assert len(kept) == len(imported) + 2 * RECENT_ENTRY_BYTES and kept == in_order(kept)
        later = b"".join(recent_entry(event_hash(f"l{n}"), NOON_MS, seq + n) for n in range(self.COUNT))
        client.config_resetstat()
        store.publish(0, stamp(2, seq=seq + self.COUNT), [BaseRecord(ALICE, b"base", later)])

        assert {"cmdstat_get", "cmdstat_getrange", "cmdstat_hgetall"}.isdisjoint(client.info("commandstats"))
        assert client.get(keys.recent(0, ALICE)) == in_order(later)
        assert client.get(keys.forgotten(0, ALICE)) == kept
        repeats = [arrival(name) for name in ("e3", "imported", "t2", "l3")]
        known = [Outcome(seq_, duplicate=True) for seq_ in (4, None, seq - 1, seq + 3)]
        assert store.ingest(repeats, projection=0).outcomes == known
        (again,) = store.delete([Accepted("gone-again", "delete", ALICE)])
        assert store.ingest(repeats, projection=0).outcomes == known
        assert store.bury({ALICE: again}) == 1
        assert store.ingest(repeats, projection=0).outcomes == known
        assert not [key for key in client.scan_iter("*alice*")]

    def test_a_read_does_not_carry_them(self, store: Store, client: redis.Redis) -> None:
        """The record itself stays small."""
        store.publish(0, stamp(), [BaseRecord(ALICE, b"base", self.entries())])

        assert client.hget(keys.record(0, ALICE), keys.RECENT) == b"+"
        assert client.strlen(keys.recent(0, ALICE)) == 20 * self.COUNT
        assert 24 * 3600 < client.ttl(keys.recent(0, ALICE)) <= 25 * 3600

    def test_tail_copies_and_replayed_rows_of_them_go(self, store: Store) -> None:
        """Publish and replay look there as well."""
        rows = [(ALICE, row("e5", 2_001)), (ALICE, row("x", 2_002))]
        store.replay(rows)

        store.publish(0, stamp(seq=5), [BaseRecord(ALICE, b"base", self.entries())])

        assert seqs_of(store.records([ALICE]).records[0]) == [2_002]
        assert store.replay([(ALICE, row("e6", 2_003)), (ALICE, row("y", 2_004))]) == 1

    def test_after_24_hours_they_are_new(self, store: Store) -> None:
        """The edge is the same as within the record."""
        at(store, NOON_MS)
        store.publish(0, stamp(1), [BaseRecord(ALICE, b"base", self.entries(NOON_MS - DAY_MS))])
        assert store.ingest([arrival("e7")], projection=0).outcomes == accepted(1)
        store.publish(0, stamp(2), [BaseRecord(ALICE, b"base", self.entries(NOON_MS - DAY_MS + 1))])
        assert store.ingest([arrival("e8")], projection=0).outcomes == [Outcome(9, duplicate=True)]

    def test_the_key_goes_with_the_next_short_one(self, store: Store, client: redis.Redis) -> None:
        """A publish with few, or a sweep, leaves no key behind."""
        for version, few in ((1, recent_entry(b"A" * 8, NOON_MS, 1)), (3, b"")):
            store.publish(0, stamp(version), [BaseRecord(ALICE, b"base", self.entries())])
            store.publish(0, stamp(version + 1), [BaseRecord(ALICE, b"base", few)])
            assert not client.exists(keys.recent(0, ALICE))
        store.publish(0, stamp(5), [BaseRecord(ALICE, b"base", self.entries())])
        store.sweep_all([stamp(6)])
        assert not client.exists(keys.recent(0, ALICE))


class TestSweep:
    def test_older_bases_become_empty_and_keep_the_stamp(self, store: Store) -> None:
        """After a complete rebuild an id without a row has an empty base with its stamp; its tail after S stays."""
        store.publish(0, stamp(1, 1, seq=2), [BaseRecord(ALICE, b"old", recent_entry(b"A" * 8, NOON_MS, 1))])
        store.replay([(ALICE, row("e9", 9))])

        assert store.sweep_all([stamp(2, 2, seq=5)]) == 1

        (record,) = store.records([ALICE]).records
        assert (record.base, record.stamp, seqs_of(record)) == (None, stamp(2, 2, seq=5), [9])

    def test_bases_of_the_rebuild_itself_stay(self, store: Store) -> None:
        """Bases that the rebuild published, or a later one, are not swept."""
        store.publish(0, stamp(2, 2), [BaseRecord(ALICE, b"same")])
        store.publish(0, stamp(2, 3), [BaseRecord("user:bob", b"later")])

        assert store.sweep_all([stamp(2, 2)]) == 0
        assert [record.base for record in store.records([ALICE, "user:bob"]).records] == [b"same", b"later"]

    def test_an_id_without_a_base_gets_none(self, store: Store) -> None:
        """The shard's own stamp stands for ids that only have a tail."""
        store.ingest([arrival("e1")], projection=0)

        assert store.sweep_all([stamp(2, 2)]) == 0
        assert store.records([ALICE]).records[0].stamp is None

    def test_every_record_of_every_shard_is_walked(self, open_store: Callable[..., Store]) -> None:
        """A walk over more records than one step of SCAN finds them all, each in its own shard."""
        store = open_store(shards=4)
        ids = [f"user:{n}" for n in range(3_000)]
        by_shard: dict[int, list[BaseRecord]] = {}
        for id_ in ids:
            by_shard.setdefault(shard_of(id_, 4), []).append(BaseRecord(id_, b"old"))
        for shard, records in by_shard.items():
            store.publish(shard, stamp(1, 1), records)

        assert store.sweep_all([stamp(2, build) for build in (1, 2, 3, 4)]) == 3_000
        swept = store.records(ids).records
        assert all(record.stamp == stamp(2, 1 + shard_of(record.id, 4)) for record in swept)

    def test_a_swept_id_refuses_a_zombie(self, store: Store) -> None:
        """The empty base keeps the fence: an older run cannot bring the old base back."""
        store.publish(0, stamp(1, 1), [BaseRecord(ALICE, b"old")])
        store.sweep_all([stamp(2, 2)])

        assert store.publish(0, stamp(1, 9), [BaseRecord(ALICE, b"zombie")]) == [Published.OLDER]

    def test_what_is_still_empty_at_the_next_one_is_deleted(self, store: Store, client: redis.Redis) -> None:
        """The last receipt of an empty record goes with it.

        From then on the shard's own stamp stands for the id, as for any other.
        """
        store.ingest([arrival("e1")], projection=0)
        store.publish(0, stamp(1, 1, seq=1), [BaseRecord(ALICE, b"old", recent_entry(b"A" * 8, NOON_MS, 1))])
        assert store.sweep_all([stamp(2, 2, seq=1)]) == 1
        assert store.records([ALICE]).records[0].stamp == stamp(2, 2, seq=1)

        assert store.sweep_all([stamp(2, 2, seq=1)]) == 0
        assert client.exists(keys.record(0, ALICE))
        assert store.sweep_all([stamp(2, 3, seq=1)]) == 1
        assert not client.exists(keys.record(0, ALICE))
        assert store.sweep_all([stamp(2, 4, seq=1)]) == 0

    @pytest.mark.parametrize("field", ["o", "m", "u", "d", "r", b"8 bytes!"])
    def test_a_record_with_anything_else_is_kept(self, store: Store, client: redis.Redis, field: str | bytes) -> None:
        """An owner, members, a last unlink, a tombstone, covered events, or a tail beyond what is covered."""
        store.publish(0, stamp(1, 1), [BaseRecord(ALICE, b"old")])
        store.sweep_all([stamp(2, 2)])
        client.hset(keys.record(0, ALICE), field, (99).to_bytes(6, "big") + b"\0" * 12)

        store.sweep_all([stamp(2, 3)])
        assert client.exists(keys.record(0, ALICE))


class TestReplay:
    def test_lake_rows_become_the_tail_entries_they_were(self, store: Store) -> None:
        """A row has its own seq, time and receipt, and the record knows its last receipt."""
        assert store.replay([(ALICE, row("e4", 4, NOON_MS - 2, NOON_MS - 9)), (ALICE, row("e5", 5))]) == 2

        (record,) = store.records([ALICE]).records
        assert tail_of(record) == [(4, NOON_MS - 9, NOON_MS - 2), (5, NOON_MS, NOON_MS)]
        assert (record.last_received_ms, record.last_seq) == (NOON_MS, 5)

    def test_a_replay_can_be_repeated(self, store: Store) -> None:
        """Entries that are there already are left alone, a copy of a day later included."""
        rows = [(ALICE, row("e1", 1, NOON_MS - DAY_MS)), (ALICE, row("e1", 2)), ("user:bob", row("e1", 3))]

        assert [store.replay(rows[:1]), store.replay(rows), store.replay(rows)] == [1, 2, 0]
        assert seqs_of(store.records([ALICE]).records[0]) == [1, 2]

    def test_an_older_copy_may_come_after_a_newer_one(self, store: Store) -> None:
        """A replay that finds the later copy in place puts the older one beside it, and the later one decides."""
        store.resume(0, 5, NOON_MS)
        store.replay([(ALICE, row("e1", 5, NOON_MS - 1))])

        assert store.replay([(ALICE, row("e1", 1, NOON_MS - 2 * DAY_MS))]) == 1
        assert store.replay([(ALICE, row("e1", 1, NOON_MS - 2 * DAY_MS))]) == 0
        assert seqs_of(store.records([ALICE]).records[0]) == [1, 5]
        assert store.ingest([arrival("e1")], projection=0).outcomes == [Outcome(5, duplicate=True)]

    def test_covered_rows_stay_out(self, store: Store) -> None:
        """A row that the base covers is not put beside it."""
        store.publish(0, stamp(seq=4), [BaseRecord(ALICE, b"base")])

        assert store.replay([(ALICE, row("e4", 4)), (ALICE, row("e5", 5))]) == 1
        assert seqs_of(store.records([ALICE]).records[0]) == [5]

    def test_rows_before_a_delete_stay_out(self, store: Store, client: redis.Redis) -> None:
        """A row before the id's tombstone is not brought back."""
        client.hset(keys.record(0, ALICE), keys.TOMBSTONE, packed_seq(4))

        assert store.replay([(ALICE, row("e4", 4)), (ALICE, row("e5", 5))]) == 1

    def test_a_row_whose_import_is_covered_stays_out(self, store: Store) -> None:
        """An event that the base counts as an imported one is not put beside it."""
        recent = recent_entry(event_hash("e5"), NOON_MS - 1, None)
        store.publish(0, stamp(seq=4), [BaseRecord(ALICE, b"base", recent)])

        assert store.replay([(ALICE, row("e5", 5))]) == 0

    def test_what_was_replayed_is_known(self, store: Store) -> None:
        """A resend after a recovery is a duplicate, with the lake's seq."""
        at(store, NOON_MS)
        store.replay([(ALICE, row("e5", 5))])
        store.resume(0, 5, NOON_MS)

        assert store.ingest([arrival("e5")], projection=0).outcomes == [Outcome(5, duplicate=True)]

    def test_rows_of_many_shards_go_to_their_own(self, open_store: Callable[..., Store]) -> None:
        """Rows may come mixed; each lands in the record of its id."""
        store = open_store(shards=4)
        rows = [(f"user:{n % 50}", row(f"e{n}", n + 1)) for n in range(2_500)]

        assert store.replay(rows) == 2_500
        assert [len(record.tail) for record in store.records([f"user:{n}" for n in range(50)]).records] == [50] * 50


class TestNumbersThatOnlyRise:
    def test_a_log_resumes_above_the_lake(self, store: Store) -> None:
        """When the lake is ahead, its seqs are not given out again; what it holds counts as drained."""
        store.ingest([arrival("e1")], projection=0)

        assert store.resume(0, 9, NOON_MS) == 9
        assert store.ingest([arrival("e2")], projection=0).outcomes == accepted(10)
        (state,) = store.shard_states()
        assert (state.seq, state.drained, state.last_received_ms) == (10, 9, NOON_MS)

    def test_a_log_ahead_of_the_lake_goes_on(self, store: Store) -> None:
        """When Redis is ahead, as it usually is, resuming changes nothing."""
        store.ingest([arrival(f"e{n}") for n in range(5)], projection=0)

        assert store.resume(0, 3, 0) == 5

    def test_builds_only_rise(self, store: Store, client: redis.Redis) -> None:
        """A build is later than any before it, also when many begin at once, and when Redis forgot the last one."""
        before = [store.next_build() for _ in range(100)]
        assert before == sorted(set(before))

        client.hset(keys.rebuild(), "build", NOON_MS)
        assert store.next_build() == NOON_MS + 1
        store.raise_build(NOON_MS + 9)
        assert store.next_build() == NOON_MS + 10

        client.flushall()
        wait_until(lambda: store.now_ms() > before[-1], "the clock to pass the last build")
        assert store.next_build() > before[-1]

    def test_the_log_is_trimmed_up_to_what_the_lake_holds(self, store: Store) -> None:
        """Entries up to the committed seq go, less the margin; trimming again, or less, changes nothing."""
        store.ingest([arrival(f"e{n}") for n in range(1, 7)], projection=0)

        store.trim_log(0, committed=4, margin=1)
        assert [entry.seq for entry in store.read_log(0, 0, 10)] == [4, 5, 6]
        store.trim_log(0, committed=2)
        assert [entry.seq for entry in store.read_log(0, 0, 10)] == [4, 5, 6]
        assert store.shard_states()[0].drained == 4

    def test_a_trimmed_log_goes_on(self, store: Store) -> None:
        """An empty stream does not start over."""
        store.ingest([arrival("e1")], projection=0)
        store.trim_log(0, committed=1)

        assert store.ingest([arrival("e2")], projection=0).outcomes == accepted(2)
        assert [entry.seq for entry in store.read_log(0, 1, 10)] == [2]


class TestCatalogue:
    def test_only_the_expected_version_is_replaced(self, store: Store) -> None:
        """The second of two writers who read the same version is told so."""
        assert store.catalogue() is None
        assert store.replace_catalogue(b"one", expected=None, version=1)
        assert not store.replace_catalogue(b"other", expected=None, version=1)
        assert store.replace_catalogue(b"two", expected=1, version=2)
        assert not store.replace_catalogue(b"lost", expected=1, version=2)
        assert store.catalogue() == b"two"

    def test_every_read_brings_the_version(self, store: Store) -> None:
        """A reading says which catalogue stood when it was made; none while there is none."""
        assert store.records([]).catalogue_version is None
        store.replace_catalogue(b"text", expected=None, version=7)
        assert store.records([ALICE]).catalogue_version == 7


class TestRebuildRequests:
    def test_an_answer_takes_back_what_was_asked_before_it(self, store: Store) -> None:
        """A request that came while the rebuild ran stays; what it answered goes."""
        assert store.want_rebuild() == 1
        store.want_rebuild_of([ALICE, "user:bob"])
        requests = store.rebuild_requests()
        assert requests == RebuildRequests(1, 0, {0: {ALICE: 1, "user:bob": 1}})
        assert requests.is_full

        store.want_rebuild()
        store.want_rebuild_of([ALICE])
        store.answer_rebuilds(requests)

        assert store.rebuild_requests() == RebuildRequests(2, 1, {0: {ALICE: 2}})

    def test_an_old_answer_does_not_undo_a_newer_one(self, store: Store) -> None:
        """A zombie's answer leaves the newer one."""
        for _ in range(3):
            store.want_rebuild()
        store.answer_rebuilds(RebuildRequests(3, 0, {}))
        store.answer_rebuilds(RebuildRequests(1, 0, {}))

        assert not store.rebuild_requests().is_full


class TestLease:
    def test_one_token_holds_it(self, store: Store) -> None:
        """A lease is its holder's until given back; the holder may renew it, others neither take nor release it."""
        assert store.hold_lease("drain", "one", 60_000)
        assert store.hold_lease("drain", "one", 60_000)
        assert not store.hold_lease("drain", "two", 60_000)
        assert not store.release_lease("drain", "two")
        assert store.release_lease("drain", "one")
        assert store.hold_lease("drain", "two", 60_000)

    def test_it_runs_out(self, store: Store, client: redis.Redis) -> None:
        """A holder that stops renewing loses it."""
        store.hold_lease("drain", "one", 60_000)
        assert 0 < client.pttl(keys.lease("drain")) <= 60_000
        client.pexpire(keys.lease("drain"), 0)

        assert store.hold_lease("drain", "two", 60_000)


class TestRejected:
    def test_refused_events_are_kept_until_they_are_in_the_lake(self, store: Store) -> None:
        """Refused events come back in order, and go up to the entry that was stored."""
        store.reject([b"one", b"two", b"three"])

        entries = store.read_rejected(10)
        assert [entry.data for entry in entries] == [b"one", b"two", b"three"]
        store.trim_rejected(entries[1].entry_id)
        assert [entry.data for entry in store.read_rejected(10)] == [b"three"]
