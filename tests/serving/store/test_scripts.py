"""Each script does what it says on a real Redis, refuses what it must, and can be repeated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from serving.ids import event_hash
from serving.store import keys
from serving.store.layout import recent_entry
from serving.store.operations.rebuild_requests import RebuildRequests
from serving.store.scripts.ingest import Outcome
from serving.store.scripts.publish import BaseRecord
from serving.store.store import Store
from tests.serving.store.arrivals import (
    DAY_MS,
    NOON_MS,
    accepted,
    arrival,
    at,
    packed_seq,
    row,
    seqs_of,
    stamp,
    tail_of,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("clock")

ALICE = "user:alice"


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

    def test_a_clock_that_went_back_does_not_prolong_it(self, store: Store, client: redis.Redis) -> None:
        """A lease of somebody who is gone, and a wish to be next, last as long as a new one from the next try on."""
        assert store.hold_lease("drain", "one", 15_000)
        assert not store.hold_lease("drain", "two", 15_000, "next")
        for key in (keys.lease("drain"), keys.next_lease("drain")):
            client.pexpire(key, 3_600_000)  # as a clock that goes back by an hour leaves it

        assert not store.hold_lease("drain", "three", 15_000, "gives way")
        assert max(client.pttl(keys.lease("drain")), client.pttl(keys.next_lease("drain"))) <= 15_000
        assert store.hold_lease("drain", "one", 15_000)


class TestRejected:
    def test_refused_events_are_kept_until_they_are_in_the_lake(self, store: Store) -> None:
        """Refused events come back in order, and go up to the entry that was stored."""
        store.reject([b"one", b"two", b"three"])

        entries = store.read_rejected(10)
        assert [entry.data for entry in entries] == [b"one", b"two", b"three"]
        store.trim_rejected(entries[1].entry_id)
        assert [entry.data for entry in store.read_rejected(10)] == [b"three"]


class TestSending:
    def test_of_different_events_the_first_is_sent(self, store: Store) -> None:
        """The same one may be sent by others too; another is not, until the last call of it has taken it back."""
        this, that = ("user:ada", "e1"), ("user:ada", "e2")
        begun = [
            store.begin_sending({"r1": event, "r2": event}, token)
            for event, token in ((this, "a"), (that, "b"), (this, "c"))
        ]
        store.end_sending({"r1": that}, "b")
        store.end_sending({"r1": this}, "a")

        assert begun == [[True, True], [False, False], [True, True]]
        assert store.begin_sending({"r1": that}, "d") == [False]
        store.end_sending({"r1": this}, "c")
        assert store.begin_sending({"r1": that}, "e") == [True]

    def test_nobody_is_named(self, store: Store, client: redis.Redis) -> None:
        """What is kept while an event is sent has no id in it that a purge would have to find."""
        store.begin_sending({"r1": ("user:ada", "order-1")}, "a")

        assert b"ada" not in client.get(keys.sending("r1"))
