"""Publishing a base and sweeping: what it covers leaves the tail, once, and never goes back; on a real Redis."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import redis

from pipelines.publish import send
from serving.ids import event_hash, shard_of
from serving.store import keys
from serving.store.errors import ServerReplaced
from serving.store.layout import (
    FORGOTTEN_BESIDE_BYTES_MAX,
    RECENT_ENTRY_BYTES,
    TAIL_VISITED_AT_ONCE,
    in_order,
    recent_entry,
)
from serving.store.logged_event import Accepted
from serving.store.requests import Command, Request
from serving.store.scripts import stage
from serving.store.scripts.ingest import Outcome
from serving.store.scripts.lua_copies import COPIES, REMEMBER
from serving.store.scripts.publish import BaseRecord, Published
from serving.store.scripts.replay import Row
from serving.store.scripts.stage import PIECE_BYTES
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
)

pytestmark = pytest.mark.usefixtures("clock")

ALICE = "user:alice"


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

    def test_what_lua_had_of_a_tail_is_given_up(self, store: Store, client: redis.Redis) -> None:
        """Entries that are alike in the letters that Lua hashes must not be in its memory together.

        20,000 of them took Redis more than half a second of its processor, and a delete as long. The memory tells.
        """
        count, payload = 8_000, b"\x93" + b"x" * 2_000
        rows = [Row(event_hash(f"e{n}"), n + 1, NOON_MS, NOON_MS, payload) for n in range(count)]
        look = client.register_script(
            COPIES + "local most = 0\n"
            "visit_tail(KEYS[1], function() most = math.max(most, collectgarbage('count')) end)\nreturn most"
        )
        for first in range(0, count, 1_000):
            store.replay([(ALICE, row) for row in rows[first : first + 1_000]])
        client.script_flush()
        before_kib = client.eval("collectgarbage() return collectgarbage('count')", 0)

        most_kib = look([keys.record(0, ALICE)]) - before_kib

        assert most_kib < 2 * TAIL_VISITED_AT_ONCE * len(payload) / 1024 + 2_000
        assert count * len(payload) / 1024 > 3 * most_kib

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
        """A delete gives the list of a base another name, and what it takes beside it stands in the record. A base that
        comes after it brings its list as it is: what was deleted is neither read nor written.

        Repeats of all are known, imported ones too; a second delete and a purge keep what the first one kept.
        """
        at(store, NOON_MS)
        imported = self.entries()[:-RECENT_ENTRY_BYTES] + recent_entry(event_hash("imported"), NOON_MS, None)
        store.publish(0, stamp(1, seq=self.COUNT), [BaseRecord(ALICE, b"base", imported)])
        store.ingest([arrival("t1"), arrival("t2")], projection=0)
        client.config_resetstat()
        (seq,) = store.delete([Accepted("gone", "delete", ALICE)])
        assert {"cmdstat_set", "cmdstat_setrange"}.isdisjoint(client.info("commandstats"))
        kept = client.get(keys.forgotten(0, ALICE))
        assert kept == in_order(imported) and 24 * 3600 < client.ttl(keys.forgotten(0, ALICE)) <= 25 * 3600
        assert len(client.hget(keys.record(0, ALICE), keys.FORGOTTEN)) == len(keys.APART) + 2 * RECENT_ENTRY_BYTES
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

    @pytest.mark.parametrize("is_first_long", [False, True])
    def test_a_second_delete_takes_only_the_shorter_list_apart(
        self, store: Store, client: redis.Redis, is_first_long: bool
    ) -> None:
        """What a delete took and what a base covers: the longer list is kept as it is, whichever it is. Taken apart, a
        million events blocked Redis for longer than a client waits."""
        at(store, NOON_MS)
        many = self.entries()
        few = b"".join(recent_entry(event_hash(name), NOON_MS, 7) for name in ("f1", "e1", "f2"))
        lists = [many, few] if is_first_long else [few, many]
        store.publish(0, stamp(1, seq=self.COUNT), [BaseRecord(ALICE, b"base", lists[0])])
        (seq,) = store.delete([Accepted("gone", "delete", ALICE)])
        store.publish(0, stamp(2, seq=seq + 1), [BaseRecord(ALICE, b"base", lists[1])])

        store.delete([Accepted("gone-again", "delete", ALICE)])

        assert client.get(keys.forgotten(0, ALICE)) == in_order(many)
        # Of an event that is in both, the base's stands: among the few it is taken along, among the many it is there.
        beside = client.hget(keys.record(0, ALICE), keys.FORGOTTEN)
        assert len(beside) == len(keys.APART) + (3 if is_first_long else 2) * RECENT_ENTRY_BYTES
        repeats = [arrival(name) for name in ("f1", "e1", "f2", "e3")]
        known = [Outcome(place, duplicate=True) for place in (7, 7 if is_first_long else 2, 7, 4)]
        assert store.ingest(repeats, projection=0).outcomes == known

    def test_two_long_lists_become_one(self, store: Store, client: redis.Redis) -> None:
        """What a delete took, beside which another one put some, and what a base covers: of an event that is in both,
        what the base covers stands."""
        at(store, NOON_MS)
        store.publish(0, stamp(1, seq=self.COUNT), [BaseRecord(ALICE, b"base", self.entries())])
        store.ingest([arrival("t1")], projection=0)
        (seq,) = store.delete([Accepted("gone", "delete", ALICE)])
        later = b"".join(recent_entry(event_hash(f"l{n}"), NOON_MS, 9_000 + n) for n in range(self.COUNT))
        later += recent_entry(event_hash("e1"), NOON_MS, 8_000)
        store.publish(0, stamp(2, seq=seq), [BaseRecord(ALICE, b"base", later)])

        store.delete([Accepted("gone-again", "delete", ALICE)])

        forgotten = client.get(keys.forgotten(0, ALICE))
        assert forgotten == in_order(forgotten) and len(forgotten) == (2 * self.COUNT + 1) * RECENT_ENTRY_BYTES
        assert client.hget(keys.record(0, ALICE), keys.FORGOTTEN) == keys.APART
        repeats = [arrival(name) for name in ("e1", "e3", "t1", "l3")]
        known = [Outcome(place, duplicate=True) for place in (8_000, 4, seq - 1, 9_003)]
        assert store.ingest(repeats, projection=0).outcomes == known

    def test_more_than_the_record_bears_goes_into_the_list(self, store: Store, client: redis.Redis) -> None:
        """What deletes put beside a long list is bounded: beyond that it is written into the list."""
        at(store, NOON_MS)
        store.publish(0, stamp(1, seq=self.COUNT), [BaseRecord(ALICE, b"base", self.entries())])
        store.delete([Accepted("gone", "delete", ALICE)])
        look = client.register_script(
            (COPIES + REMEMBER).replace(str(FORGOTTEN_BESIDE_BYTES_MAX), str(2 * RECENT_ENTRY_BYTES))
            + "local kept = {}\nkeep_all_but_the_longest(kept, KEYS[1], 0)\n"
            "for i = 1, #ARGV do kept[string.sub(ARGV[i], 1, 8)] = ARGV[i] end\nremember_forgotten(KEYS[1], kept)"
        )
        more = [recent_entry(event_hash(f"m{n}"), NOON_MS, n) for n in range(3)]

        look([keys.record(0, ALICE)], more[:2])
        assert client.get(keys.forgotten(0, ALICE)) == in_order(self.entries())
        assert len(client.hget(keys.record(0, ALICE), keys.FORGOTTEN)) == len(keys.APART) + 2 * RECENT_ENTRY_BYTES

        look([keys.record(0, ALICE)], more)
        assert client.get(keys.forgotten(0, ALICE)) == in_order(self.entries() + b"".join(more))
        assert client.hget(keys.record(0, ALICE), keys.FORGOTTEN) == keys.APART

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


class TestStagedEvents:
    """What a very busy id's record remembers is written beside it in pieces, and gets its place with the base."""

    COUNT = 10_000

    def record(self, base: bytes = b"base", names: str = "e") -> BaseRecord:
        entries = [recent_entry(event_hash(f"{names}{n}"), NOON_MS, n + 1) for n in range(self.COUNT)]
        return BaseRecord(ALICE, base, b"".join(entries))

    def test_no_step_takes_longer_than_a_piece(self, store: Store, client: redis.Redis) -> None:
        """No command has more bytes than a piece and some, however many events there are; each event is known then.

        One step for a million events held everybody up for a tenth of a second.
        """
        record = self.record()
        staging = store.operations.stage(0, stamp(seq=self.COUNT), record).commands
        publishing = store.operations.publish(0, stamp(seq=self.COUNT), [record]).commands
        assert max(size_of(command) for command in (*staging, *publishing)) < PIECE_BYTES + 1_024
        assert len(staging) == math.ceil(len(record.recent) / PIECE_BYTES) > 3

        store.resume(0, self.COUNT, NOON_MS)
        assert send(store, [record], {0: stamp(seq=self.COUNT)}) == {Published.DONE: 1}

        assert client.get(keys.recent(0, ALICE)) == in_order(record.recent)
        assert not list(client.scan_iter("staged:*"))
        outcomes = store.ingest([arrival(f"e{n}") for n in range(0, self.COUNT, 97)], projection=0).outcomes
        assert outcomes == [Outcome(n + 1, duplicate=True) for n in range(0, self.COUNT, 97)]

    def test_a_tail_copy_of_a_covered_event_goes(self, store: Store) -> None:
        """An entry after S goes when its id is among them, as it does with a short list; others stay."""
        store.replay([(ALICE, row("e7", self.COUNT + 1)), (ALICE, row("new", self.COUNT + 2))])

        send(store, [self.record()], {0: stamp(seq=self.COUNT)})

        assert seqs_of(store.records([ALICE]).records[0]) == [self.COUNT + 2]

    def test_a_record_that_is_refused_drops_them(self, store: Store, client: redis.Redis) -> None:
        """An older build, and one that a delete has overtaken, leave the list as it is and nothing beside it."""
        newer = self.record(b"new", "n")
        send(store, [newer], {0: stamp(2, seq=self.COUNT)})
        assert send(store, [self.record(b"old")], {0: stamp(1, seq=self.COUNT)}) == {Published.OLDER: 1}
        assert client.get(keys.recent(0, ALICE)) == in_order(newer.recent)
        assert store.records([ALICE]).records[0].base == b"new"

        store.delete([Accepted("gone", "delete", ALICE)])
        assert send(store, [self.record(b"old")], {0: stamp(3, seq=0)}) == {Published.DELETED: 1}
        assert not client.exists(keys.recent(0, ALICE))
        assert not list(client.scan_iter("staged:*"))

    @pytest.mark.parametrize("lost", ["all", "some"])
    def test_pieces_that_are_gone_publish_nothing(self, store: Store, client: redis.Redis, lost: str) -> None:
        """On a server that lost them meanwhile the work begins anew, and the record keeps its base and its tail."""
        store.ingest([arrival("e1"), arrival("e2")], projection=0)
        store.publish(0, stamp(1, seq=1), [BaseRecord(ALICE, b"before")])
        record = self.record()
        store.stage(0, stamp(2, seq=2), record)
        (staged,) = client.scan_iter("staged:*")
        assert 0 < client.ttl(staged) <= 600 and b"alice" not in staged
        if lost == "all":
            client.delete(staged)
        else:
            client.set(staged, client.getrange(staged, 0, 2 * PIECE_BYTES - 1), px=60_000)

        with pytest.raises(ServerReplaced):
            store.publish(0, stamp(2, seq=2), [record])

        kept = store.records([ALICE]).records[0]
        assert (kept.base, kept.stamp, seqs_of(kept)) == (b"before", stamp(1, seq=1), [2])
        assert not client.exists(keys.recent(0, ALICE)) and not client.exists(staged)

    def test_a_piece_without_those_before_it_is_refused(self, store: Store, client: redis.Redis) -> None:
        """Else the list would have a hole of zeros, and its length would be right."""
        request = store.operations.stage(0, stamp(seq=1), self.record())

        with pytest.raises(ServerReplaced):
            store.ask(Request(request.commands[1:], request.read))

        assert not list(client.scan_iter("staged:*"))

    def test_two_builds_mix_no_pieces(self, store: Store, client: redis.Redis) -> None:
        """Rebuilds at the same time write beside each other, and a piece that comes twice changes nothing."""
        one, other = self.record(b"one", "o"), self.record(b"other", "p")
        first = store.operations.stage(0, stamp(1, 1, seq=1), one).commands
        second = store.operations.stage(0, stamp(1, 2, seq=1), other).commands
        for pieces in zip(first, second, strict=True):
            for piece in (*pieces, pieces[0]):
                store.ask(Request([piece], lambda replies: stage.read(replies[0])))

        assert store.publish(0, stamp(1, 1, seq=1), [one]) == [Published.DONE]
        assert client.get(keys.recent(0, ALICE)) == in_order(one.recent)
        assert store.publish(0, stamp(1, 2, seq=1), [other]) == [Published.DONE]
        assert client.get(keys.recent(0, ALICE)) == in_order(other.recent)


def size_of(command: Command) -> int:
    """The bytes of a command's words."""
    return sum(len(word if isinstance(word, bytes) else str(word)) for word in command.words)


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
