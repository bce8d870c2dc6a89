"""From records to answers: base and tail are one history, `now` never goes back, and what is not certain is said."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from expressions.bases import Base, RawEvent, base_of
from expressions.definitions import Key
from expressions.rules.values import Value
from expressions.rules.windows import DAY_MS, HOUR_MS, heavy_cuts
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.ids import shard_of
from serving.ingest.projection import tail_payload
from serving.people.person import Answers, DecodedBases, decoded_bytes, person, tail_base
from serving.store import base_codec
from serving.store.base_codec import CodecError
from serving.store.logged_event import packed
from serving.store.operations.events import Arrival
from serving.store.records import Reading, Record
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Covered, Stamp
from serving.store.store import Store
from tests.expressions.live.cut_bases import NOW_MS, cut, event, identify
from tests.serving.store.arrivals import arrival, ready, tail_entry

SHARDS = 4
ALICE = "user:alice"
PHONE = "anon:phone"
COUNT: Key = ("trait", "t0")


def catalogue_of(*texts: str, seqs: Sequence[int] = (0,) * SHARDS, is_empty: bool = False) -> Catalogue:
    """Traits t0, t1, …, each activated where the log of each shard stood at `seqs`."""
    catalogue = Catalogue()
    for index, text in enumerate(texts):
        catalogue = catalogue.with_definition(StoredDefinition(kind="trait", key=f"t{index}", expression=text))
        catalogue = catalogue.with_activation(catalogue.projection_version, seqs, is_empty)
    return catalogue


def stamp_of(catalogue: Catalogue, seq: int = 0, as_of_ms: int = NOW_MS, horizon_ms: int = 0, build: int = 1) -> Stamp:
    """What a base of now covers."""
    return Stamp(7, build, seq, as_of_ms, catalogue.projection_version, horizon_ms)


def tail_of(*events: RawEvent, first_seq: int = 1, received_ms: int = NOW_MS) -> list[bytes]:
    """Tail entries as ingest writes them."""
    return [
        tail_entry(first_seq + index, event.ts_ms, received_ms, packed((event.kind, event.name, event.fields)))
        for index, event in enumerate(events)
    ]


def record(id: str = ALICE, base: Base | None = None, tail: Sequence[bytes] = (), **more: Any) -> Record:
    """A record with these parts."""
    return Record(id, base=None if base is None else base_codec.encode(base), tail=tail, **more)


def answers_of(
    catalogue: Catalogue, *records: Record, clock_ms: int = NOW_MS, bases: DecodedBases | None = None
) -> Answers:
    """The answers of all definitions of a catalogue for these records."""
    reading = Reading(list(records), clock_ms, catalogue.version)
    return person(reading, catalogue, bases or DecodedBases()).answers(list(catalogue.definitions))


def values(answers: Answers) -> dict[str, Value]:
    """Key -> value."""
    return {key: answer.value for (_, key), answer in answers.values.items()}


class TestOneHistory:
    def test_base_and_tail_are_merged(self) -> None:
        """The published base and the events since count together, in windows that reach over both."""
        catalogue = catalogue_of(
            "events.purchase.count_30d", "events.purchase.amount.sum", "events.purchase.amount.last"
        )
        base = base_of([event("purchase", 40 * DAY_MS, amount=1), event("purchase", 2 * DAY_MS, amount=2.5)])
        tail = tail_of(event("purchase", HOUR_MS, amount=4), event("purchase", 3 * DAY_MS, amount=8))

        answers = answers_of(catalogue, record(base=base, tail=tail, stamp=stamp_of(catalogue)))

        assert values(answers) == {"t0": 3.0, "t1": 15.5, "t2": 4.0}
        assert answers.exact
        assert not answers.warming

    def test_the_records_of_a_person_are_merged(self) -> None:
        """A user and a device that belongs to them answer as one; the newest attribute wins, wherever it stands."""
        catalogue = catalogue_of("events.purchase.count", "profile.plan", "first_seen_days_ago", is_empty=True)
        user = record(tail=tail_of(event("purchase", HOUR_MS), identify(HOUR_MS, plan="pro")))
        phone = record(PHONE, base=base_of([event("purchase", 9 * DAY_MS), identify(5, plan="free")]))

        answers = answers_of(catalogue, user, phone._replace(stamp=stamp_of(catalogue)))

        assert values(answers) == {"t0": 2.0, "t1": "free", "t2": 9.0}

    def test_nobody_has_answers_too(self) -> None:
        """An id that never sent anything has zeros and nulls, for good: its shard is covered."""
        answers = answers_of(catalogue_of("events.purchase.count", "profile.plan", is_empty=True), record())

        assert values(answers) == {"t0": 0.0, "t1": None}
        assert answers.exact
        assert not answers.warming

    def test_a_tail_entry_keeps_every_kind_of_value(self) -> None:
        """Numbers, texts, booleans, lists and a negative instant come out of an entry as they went in."""
        entry = tail_of(RawEvent("track", "purchase", -5, {"n": 3, "s": "é", "b": True, "l": [1, None]}))

        (read,) = tail_base(entry).events.values()

        assert read.ts_ms.tolist() == [-5]
        assert read.fields == {"n": [3.0], "s": ["é"], "b": [True], "l": [(1.0, None)]}

    def test_damaged_bytes_are_never_read_as_something_else(self) -> None:
        """A base or a tail entry that is none raises, so that a decision gives its default and says ERROR."""
        catalogue = catalogue_of("events.purchase.count", is_empty=True)
        whole = record(base=base_of([event()]), stamp=stamp_of(catalogue))
        assert whole.base is not None

        for damaged in (whole._replace(base=whole.base[:-1]), record(tail=[bytes(18) + b"\xc1"])):
            with pytest.raises(CodecError):
                answers_of(catalogue, damaged)


class TestNow:
    def test_now_is_the_latest_of_clock_receipts_and_bases(self) -> None:
        """A clock that went back a little does not bring back what a window has let go. A receipt that is far ahead of
        the clock is not believed."""
        catalogue = catalogue_of("events.purchase.count_1h")
        user = record(base=base_of([event()]), stamp=stamp_of(catalogue, as_of_ms=NOW_MS + 3), last_received_ms=NOW_MS)
        phone = record(PHONE, last_received_ms=NOW_MS + 2)

        assert answers_of(catalogue, user, phone, clock_ms=NOW_MS + 9).now_ms == NOW_MS + 9
        assert answers_of(catalogue, user, phone, clock_ms=NOW_MS - DAY_MS).now_ms == NOW_MS + 3
        assert answers_of(catalogue, phone, clock_ms=NOW_MS - 60_000).now_ms == NOW_MS + 2
        assert answers_of(catalogue, phone, clock_ms=NOW_MS - DAY_MS).now_ms == NOW_MS - DAY_MS

    def test_windows_finish_at_now_without_an_event(self) -> None:
        """An event leaves its window to the millisecond, though the records are the same."""
        catalogue = catalogue_of("events.purchase.count_1h")
        user = record(base=base_of([event()]), stamp=stamp_of(catalogue))

        assert values(answers_of(catalogue, user, clock_ms=NOW_MS + HOUR_MS - 1)) == {"t0": 1.0}
        assert values(answers_of(catalogue, user, clock_ms=NOW_MS + HOUR_MS)) == {"t0": 0.0}

    def test_an_answer_names_what_it_rests_on(self) -> None:
        """`asof` has the instant, the catalogue's version, and of each id its last seq and what its base covers."""
        catalogue = catalogue_of("events.purchase.count")
        user = record(stamp=stamp_of(catalogue, seq=40, build=9), last_seq=42)

        assert answers_of(catalogue, user, record(PHONE, last_seq=3)).asof == {
            "now": NOW_MS,
            "catalogue": catalogue.version,
            "ids": {ALICE: {"seq": 42, "version": 7, "build": 9, "covered": 40}, PHONE: {"seq": 3}},
        }


class TestWarming:
    def test_a_base_of_an_older_projection_warms(self) -> None:
        """A base from before the fields were kept gives the value so far, and only the definitions over them warm."""
        before = catalogue_of("events.purchase.count")
        catalogue = catalogue_of("events.purchase.count", "events.purchase.amount.sum")
        user = record(base=base_of([event()]), stamp=stamp_of(before), tail=tail_of(event(amount=5)))

        answers = answers_of(catalogue, user)

        assert values(answers) == {"t0": 2.0, "t1": 5.0}
        assert answers.warming == {("trait", "t1")}
        assert not answers.lacking

    @pytest.mark.parametrize(("covered", "is_warming"), [(11, True), (12, False), (13, False)])
    def test_a_base_answers_once_it_covers_the_activation(self, covered: int, is_warming: bool) -> None:
        """Events up to the activation may be in the log without their fields; a base must have read them anew."""
        catalogue = catalogue_of("events.purchase.amount.sum", seqs=(12,) * SHARDS)

        answers = answers_of(catalogue, record(base=base_of([event()]), stamp=stamp_of(catalogue, seq=covered)))

        assert bool(answers.warming) is is_warming

    def test_an_id_without_a_base_goes_by_its_shard(self) -> None:
        """An id without a base is ready once a complete rebuild of its shard says that there was nothing."""
        catalogue = catalogue_of("events.purchase.count", seqs=(5,) * SHARDS)
        version = catalogue.projection_version
        covered = [Covered(7, 1, 5 if shard == shard_of(ALICE, SHARDS) else 4, NOW_MS, version) for shard in range(4)]
        other = next(
            f"user:{number}" for number in range(99) if shard_of(f"user:{number}", SHARDS) != shard_of(ALICE, 4)
        )

        assert answers_of(catalogue, record()).warming == {COUNT}
        assert not answers_of(catalogue.with_covered(covered), record()).warming
        assert answers_of(catalogue.with_covered(covered), record(other)).warming == {COUNT}

    def test_every_record_of_a_person_must_be_ready(self) -> None:
        """One member that is not covered makes the person's answer the value so far."""
        catalogue = catalogue_of("events.purchase.count")
        user = record(stamp=stamp_of(catalogue))

        assert not answers_of(catalogue, user).warming
        assert answers_of(catalogue, user, record(PHONE)).warming == {COUNT}

    def test_what_reads_no_record_is_always_ready(self) -> None:
        """A definition of constants alone waits for nothing."""
        answers = answers_of(catalogue_of("1 + 1"), record())

        assert values(answers) == {"t0": 2.0}
        assert not answers.warming

    def test_a_definition_over_kept_fields_is_ready_at_once(self) -> None:
        """A light base holds raw events, so a new window or filter over the same fields needs no rebuild."""
        before = catalogue_of("events.purchase.amount.sum_30d")
        catalogue = before.with_definition(
            StoredDefinition(kind="trait", key="t1", expression="events.purchase.where(amount > 3).count_7d")
        )

        answers = answers_of(catalogue, record(base=base_of([event(amount=5)]), stamp=stamp_of(before)))

        assert values(answers) == {"t0": 5.0, "t1": 1.0}
        assert not answers.warming


class TestHeavy:
    HORIZON_MS = 4 * HOUR_MS

    def heavy(self, catalogue: Catalogue, *texts: str) -> Record:
        """A heavy record of now with an event an hour, built for a catalogue of these traits."""
        built_for = catalogue_of(*texts) if texts else catalogue
        cuts = heavy_cuts(built_for.plan.windows, NOW_MS, self.HORIZON_MS)
        events = [event("purchase", ago * HOUR_MS, amount=ago) for ago in range(8 * 24)]
        base = cut(events, built_for.bounds.values(), cuts, NOW_MS)
        return record(base=base, stamp=stamp_of(catalogue, horizon_ms=self.HORIZON_MS))

    def test_it_is_exact_until_its_horizon(self) -> None:
        """Up to its horizon a heavy base loses the events of a window one by one, as if all were raw."""
        catalogue = catalogue_of("events.purchase.count_7d", "events.purchase.amount.max_7d")
        heavy = self.heavy(catalogue)

        for hours in range(4):
            answers = answers_of(catalogue, heavy, clock_ms=NOW_MS + hours * HOUR_MS)
            assert values(answers) == {"t0": 168.0 - hours, "t1": 167.0 - hours}
            assert answers.exact
            assert not answers.lacking

    @pytest.mark.parametrize(("after_ms", "exact"), [(-1, True), (0, False), (1, False)])
    def test_its_horizon_is_half_open(self, after_ms: int, exact: bool) -> None:
        """A heavy base is exact until a millisecond before its horizon, and says that it is not from there."""
        catalogue = catalogue_of("events.purchase.count_7d")
        answers = answers_of(catalogue, self.heavy(catalogue), clock_ms=NOW_MS + self.HORIZON_MS + after_ms)

        assert answers.exact is exact

    def test_past_its_horizon_it_says_so_and_asks_for_a_rebuild(self) -> None:
        """Past the horizon a window that cuts through a span is not exact, and all time still is."""
        catalogue = catalogue_of("events.purchase.count_7d", "events.purchase.count")
        heavy = self.heavy(catalogue)
        reading = Reading([heavy], NOW_MS + self.HORIZON_MS + 1, catalogue.version)
        alice = person(reading, catalogue, DecodedBases())

        windowed, lifetime = alice.answers([COUNT]), alice.answers([("trait", "t1")])

        assert alice.is_past_horizon
        assert (windowed.exact, windowed.warming, windowed.lacking) == (False, frozenset(), (ALICE,))
        assert (lifetime.exact, lifetime.lacking, values(lifetime)) == (True, (), {"t1": 192.0})

    def test_a_state_it_lacks_warms_until_the_id_is_rebuilt(self) -> None:
        """Spans cannot be folded anew, so a new definition over the same fields waits for a rebuild of this id."""
        catalogue = catalogue_of("events.purchase.amount.sum_7d", "events.purchase.amount.max_7d")
        answers = answers_of(catalogue, self.heavy(catalogue, "events.purchase.amount.sum_7d"))

        assert answers.values[COUNT].exact
        assert answers.warming == {("trait", "t1")}
        assert answers.lacking == (ALICE,)

    def test_a_window_it_was_not_cut_for_warms(self) -> None:
        """A new window that cuts through a span before the horizon is warming, and the answer stays exact."""
        catalogue = catalogue_of("events.purchase.count_7d", "events.purchase.count_3d")
        answers = answers_of(catalogue, self.heavy(catalogue, "events.purchase.count_7d"))

        assert answers.warming == {("trait", "t1")}
        assert answers.lacking == (ALICE,)
        assert answers.exact


class TestKept:
    def test_a_base_is_decoded_once(self) -> None:
        """A base with the same stamp is decoded once; one of another build is decoded anew."""
        catalogue = catalogue_of("events.purchase.count")
        bases = DecodedBases()
        user = record(base=base_of([event()]), stamp=stamp_of(catalogue))

        (first,) = bases.parts(user)
        (again,) = bases.parts(user)
        (rebuilt,) = bases.parts(user._replace(stamp=stamp_of(catalogue, build=2)))

        assert first is again
        assert first is not rebuilt

    def test_a_new_event_leaves_the_base_as_it_is(self) -> None:
        """A new event has only the tail decoded anew."""
        catalogue = catalogue_of("events.purchase.count")
        bases = DecodedBases()
        user = record(base=base_of([event()]), stamp=stamp_of(catalogue), tail=tail_of(event()), last_seq=1)
        grown = user._replace(tail=tail_of(event(), event()), last_seq=2)

        base, tail = bases.parts(user)
        same_base, longer = bases.parts(grown)

        assert base is same_base
        assert len(tail.events["purchase"].ts_ms) == 1
        assert len(longer.events["purchase"].ts_ms) == 2
        assert bases.parts(grown)[1] is longer

    def test_a_seq_that_comes_again_is_another_event(self) -> None:
        """After Redis lost its last events a seq is given out again; the receipt tells the two apart."""
        bases = DecodedBases()
        lost = record(tail=tail_of(event(amount=1)), last_seq=1, last_received_ms=NOW_MS)
        later = record(tail=tail_of(event(amount=2)), last_seq=1, last_received_ms=NOW_MS + 1)

        bases.parts(lost)
        (tail,) = bases.parts(later)

        assert tail.events["purchase"].fields == {"amount": [2.0]}

    def test_what_is_kept_is_bounded(self) -> None:
        """Beyond the bound the record that was used longest ago is forgotten first."""
        catalogue = catalogue_of("events.purchase.count")
        users = [record(f"user:{number}", base_of([event()]), stamp=stamp_of(catalogue)) for number in range(3)]
        bases = DecodedBases(bytes_max=2 * decoded_bytes(users[0]))

        first, second = bases.parts(users[0])[0], bases.parts(users[1])[0]
        bases.parts(users[0])
        bases.parts(users[2])

        assert bases.parts(users[0])[0] is first
        assert bases.parts(users[1])[0] is not second

    def test_a_record_that_is_read_anew_is_counted_once(self) -> None:
        """A record that is decoded again and again takes no room from the others."""
        catalogue = catalogue_of("events.purchase.count")
        quiet = record(PHONE, base=base_of([event()]), stamp=stamp_of(catalogue))
        busy = record(base=base_of([event()]), stamp=stamp_of(catalogue))
        bases = DecodedBases(bytes_max=10 * decoded_bytes(quiet))

        (first,) = bases.parts(quiet)
        for build in range(30):
            bases.parts(busy._replace(stamp=stamp_of(catalogue, build=build)))

        assert bases.parts(quiet)[0] is first

    @pytest.mark.parametrize(("in_base", "in_tail"), [(0, 1), (0, 30), (1, 0), (10, 1), (100, 0), (100, 10)])
    def test_what_is_kept_takes_no_more_memory_than_is_counted(self, in_base: int, in_tail: int) -> None:
        """Decoded records take no more memory than is counted, also many small ones."""
        bases, count = DecodedBases(), 500
        base = base_of([event(amount=number) for number in range(in_base)]) if in_base else None
        users = [
            record(
                f"user:{number:020d}",
                base,
                tail_of(*(event(amount=amount) for amount in range(in_tail)), first_seq=number),
                stamp=stamp_of(catalogue_of("events.purchase.count")) if base is not None else None,
                last_seq=number,
            )
            for number in range(count)
        ]
        tracemalloc.start()
        for user in users:
            bases.parts(user)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert used <= sum(map(decoded_bytes, users))

    def test_one_record_larger_than_the_bound_is_still_read(self) -> None:
        """A record larger than the bound is decoded at each read."""
        bases = DecodedBases(bytes_max=1)
        user = record(base=base_of([event()]), stamp=stamp_of(catalogue_of("events.purchase.count")))

        assert bases.parts(user) == bases.parts(user) == [base_of([event()])]

    def test_answers_do_not_depend_on_what_is_kept(self) -> None:
        """A person who is read again, later and after new events, answers as if read for the first time."""
        catalogue = catalogue_of("events.purchase.count_1h", "events.purchase.amount.sum")
        bases = DecodedBases()
        user = record(base=base_of([event(amount=1)]), stamp=stamp_of(catalogue))
        for number in range(5):
            user = user._replace(
                tail=[*user.tail, *tail_of(event(amount=number), first_seq=number)], last_seq=number + 1
            )
            clock_ms = NOW_MS + number * HOUR_MS // 2
            assert answers_of(catalogue, user, clock_ms=clock_ms, bases=bases) == answers_of(
                catalogue, user, clock_ms=clock_ms
            )


class TestOnRedis:
    @pytest.fixture
    def store(self, redis_url: str) -> Iterator[Store]:
        """An open store."""
        with Store(redis_url, shards=SHARDS) as opened:
            yield ready(opened)

    def test_the_next_read_sees_what_was_acknowledged(self, store: Store) -> None:
        """Each event counts as soon as ingest has answered; a repeat does not; a publish changes nothing."""
        catalogue = catalogue_of("events.purchase.count_1h", "events.purchase.amount.sum", is_empty=True)
        bases = DecodedBases()
        shard = shard_of(ALICE, SHARDS)

        def now() -> dict[str, Value]:
            answers = person(store.records([ALICE]), catalogue, bases).answers(list(catalogue.definitions))
            assert answers.exact
            assert not answers.warming
            return values(answers)

        def purchase(event_id: str, amount: int) -> Arrival:
            event = arrival(event_id, amount=amount).event
            return Arrival(event, tail_payload(event, catalogue.projection))

        assert now() == {"t0": 0.0, "t1": 0.0}
        store.ingest([purchase("e1", 5)], catalogue.projection_version)
        assert now() == {"t0": 1.0, "t1": 5.0}
        store.ingest([purchase("e1", 5), purchase("e2", 7)], catalogue.projection_version)
        assert now() == {"t0": 2.0, "t1": 12.0}

        (alice,) = store.records([ALICE]).records
        stamp = stamp_of(catalogue, seq=alice.last_seq, as_of_ms=store.now_ms())
        store.publish(shard, stamp, [BaseRecord(ALICE, base_codec.encode(tail_base(alice.tail)))])
        assert not store.records([ALICE]).records[0].tail
        assert now() == {"t0": 2.0, "t1": 12.0}
        store.ingest([purchase("e3", 1)], catalogue.projection_version)
        assert now() == {"t0": 3.0, "t1": 13.0}
