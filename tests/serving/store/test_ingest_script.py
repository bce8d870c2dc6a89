"""Ingest: what counts, what is a duplicate, what a tail keeps and refuses; on a real Redis, and repeated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from serving.ids import event_hash
from serving.store import keys
from serving.store.errors import ProjectionOutdated, ShardNotReady, StoreFull
from serving.store.layout import recent_entry
from serving.store.scripts.ingest import EVENTS_MAX, Outcome
from serving.store.scripts.publish import BaseRecord
from serving.store.store import Store
from tests.serving.store.arrivals import (
    DAY_MS,
    NOON_MS,
    accepted,
    arrival,
    at,
    row,
    seqs_of,
    stamp,
    tail_of,
)

pytestmark = pytest.mark.usefixtures("clock")

ALICE = "user:alice"


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
