"""Answering at read time: the same value however a person's history was cut, and a word on what is not certain."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions import ops
from expressions.aggregates import AGGREGATES
from expressions.bases import Base, Events, RawEvent, SpanState, base_of
from expressions.definitions import Key
from expressions.functions import FUNCTIONS
from expressions.live.evaluate import FUNCTIONS as EVALUATORS
from expressions.live.evaluate import evaluator
from expressions.live.lifting import COLUMN_FUNCTIONS
from expressions.live.monoids import MONOIDS
from expressions.live.to_state import Answer, Frame
from expressions.monoids import VALUES_MAX, Monoid
from expressions.ops import Call, Constant, Expr, Property
from expressions.plan import plan
from expressions.rules.values import Value, from_json, order_key
from expressions.rules.windows import DAY_MS, HOUR_MS, MINUTE_MS, UTC_ZONE, Cuts, Zone, heavy_cuts, light_cuts
from tests.chance import seeded
from tests.expressions.live.cut_bases import (
    NOW_MS,
    answer,
    bounds_of,
    cut,
    event,
    events,
    identify,
    program_of,
    raw_values,
)

ZONES = (UTC_ZONE, Zone("Europe/Berlin"), Zone("Asia/Kathmandu"))

#: Every aggregate, in a window and over all time, with filters, at the root, and profile attributes.
EVERYTHING = bounds_of(
    *(
        f"events.purchase{'' if aggregate.takes == 'optional' else '.amount'}.{aggregate.name}{window}"
        for aggregate in AGGREGATES.values()
        for window in ("", "_30d", "_7d")
    ),
    "events.purchase.where(kind == 'a' || amount > 1).amount.sum_30d",
    "events.purchase.where(kind in ['a', 1] && !(amount == null)).count_1d",
    "events.purchase.amount.values_1h",
    "events.view.count_90m",
    "unique_days_30d",
    "last_seen_minutes_ago",
    "profile.plan",
    "profile.address.city",
    "events.purchase.amount.sum_30d / events.purchase.count_7d > 3 && last_seen_days_ago < 20",
)


def comparable(answers: dict[Key, Answer]) -> dict[str, tuple[object, ...]]:
    """Answers as something that tells True from 1.0."""
    return {
        key: (order_key(value), exact, missing, straddled)
        for (_, key), (value, exact, missing, straddled) in answers.items()
    }


class TestHistoryCutAnywhere:
    """Base and tail, light and heavy, member by member: a value does not know how its history was cut."""

    @seeded
    @given(events, st.integers(0, 2**32), st.sampled_from(ZONES))
    def test_events_may_be_dealt_out_to_any_bases_in_any_order(
        self, history: list[RawEvent], seed: int, zone: Zone
    ) -> None:
        """Three bases that share the events between them answer as one base that has them all."""
        chance = random.Random(seed)
        program = EVERYTHING_IN[zone]
        dealt: list[list[RawEvent]] = [[], [], []]
        for past in chance.sample(history, len(history)):
            chance.choice(dealt).append(past)

        whole = program.evaluate([base_of(history)], NOW_MS)

        assert comparable(whole) == comparable(program.evaluate([base_of(part) for part in dealt], NOW_MS))

    @seeded
    @given(events, st.integers(0, 2 * DAY_MS), st.integers(0, 100 * DAY_MS), st.sampled_from(ZONES))
    def test_a_light_base_answers_as_its_events(
        self, history: list[RawEvent], tail_ms: int, later_ms: int, zone: Zone
    ) -> None:
        """What is older than every window is one state; the base is as good at any later time."""
        as_of_ms = NOW_MS - tail_ms
        cuts = light_cuts(plan(bound.expr for bound in EVERYTHING.values()).windows, as_of_ms, zone)

        assert_cut_is_whole(history, cuts, as_of_ms, NOW_MS + later_ms, zone)

    @seeded
    @given(events, st.integers(0, 2 * DAY_MS), st.integers(HOUR_MS, 3 * DAY_MS), st.data(), st.sampled_from(ZONES))
    def test_a_heavy_base_answers_as_its_events_until_its_horizon(
        self, history: list[RawEvent], tail_ms: int, horizon_ms: int, data: st.DataObject, zone: Zone
    ) -> None:
        """Spans between edges give the same values at every instant from T up to T + D, every aggregate included."""
        as_of_ms = NOW_MS - tail_ms
        windows = plan(bound.expr for bound in EVERYTHING.values()).windows
        now_ms = as_of_ms + data.draw(st.integers(0, horizon_ms - 1))
        before = [past for past in history if past.ts_ms <= now_ms]

        assert_cut_is_whole(before, heavy_cuts(windows, as_of_ms, horizon_ms, zone), as_of_ms, now_ms, zone)


EVERYTHING_IN = {
    zone: program_of(*(bound.definition.expression for bound in EVERYTHING.values()), zone=zone) for zone in ZONES
}


def assert_cut_is_whole(history: list[RawEvent], cuts: Cuts, as_of_ms: int, now_ms: int, zone: Zone) -> None:
    """The base that the batch cuts at T, with what came after T as a tail, answers as all events raw."""
    program = EVERYTHING_IN[zone]
    base = cut((past for past in history if past.ts_ms <= as_of_ms), EVERYTHING.values(), cuts, as_of_ms, zone)
    tail = base_of(past for past in history if past.ts_ms > as_of_ms)

    answers = program.evaluate([base, tail], now_ms)

    assert comparable(answers) == comparable(program.evaluate([base_of(history)], now_ms))
    assert not any(missing or straddled for _, _, missing, straddled in answers.values())


class TestWindowEdges:
    @pytest.mark.parametrize(
        ("ago_ms", "expected"),
        [(-1, 0.0), (0, 1.0), (HOUR_MS - 1, 1.0), (HOUR_MS, 0.0), (HOUR_MS + 1, 0.0)],
    )
    def test_an_event_counts_from_its_instant_until_it_is_a_window_old(self, ago_ms: int, expected: float) -> None:
        """At now it is in, exactly one window old it is out, to the millisecond."""
        assert answer("events.purchase.count_1h", base_of([event("purchase", ago_ms)])).value == expected

    def test_what_comes_after_now_does_not_count(self) -> None:
        """An event at now is in although later ones are there, in a window and over all time."""
        base = base_of([event("purchase", ago) for ago in (5, 0, 0, -1, -2)])

        assert answer("events.purchase.count_1h", base).value == 3.0
        assert answer("events.purchase.count", base).value == 3.0

    def test_dates_are_those_of_the_zone(self) -> None:
        """An event before midnight in Kathmandu, yesterday there and today in UTC, is outside one date there."""
        base = base_of([event("purchase", NOW_MS % DAY_MS - MINUTE_MS * 60)])

        assert answer("events.purchase.unique_days_1d", base).value == 1.0
        assert answer("events.purchase.unique_days_1d", base, zone=Zone("Asia/Kathmandu")).value == 1.0
        assert answer("events.purchase.unique_days_1d", base, NOW_MS + 8 * HOUR_MS, Zone("Asia/Kathmandu")).value == 0.0


#: A week of purchases, two of them at one instant; a view beside them.
WEEK = [
    event("purchase", 7 * DAY_MS, amount=1),
    event("purchase", 7 * DAY_MS, amount=5),
    event("purchase", 3 * DAY_MS, amount="small"),
    event("purchase", 3 * DAY_MS - HOUR_MS, amount=5),
    event("purchase", DAY_MS, note="no amount"),
    event("purchase", DAY_MS, amount=[1, "x"]),
    event("purchase", HOUR_MS, amount=2.5),
    event("purchase", HOUR_MS, amount=False),
    event("view", 1, amount=100),
]


class TestAggregates:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("count", 9.0),
            ("events.purchase.count", 8.0),
            ("events.purchase.count_7d", 6.0),
            ("events.purchase.amount.count", 7.0),
            ("events.purchase.amount.count_2d", 3.0),
            ("events.purchase.unique_days", 4.0),
            ("events.purchase.unique_days_2d", 2.0),
            ("events.purchase.amount.sum", 13.5),
            ("events.purchase.amount.sum_7d", 7.5),
            ("events.purchase.amount.avg", 3.375),
            ("events.purchase.amount.min", 1.0),
            ("events.purchase.amount.max", "small"),
            ("events.purchase.amount.max_2d", 2.5),
            ("events.purchase.amount.first", 1.0),
            ("events.purchase.amount.first_2d", (1.0, "x")),
            ("events.purchase.amount.last", 2.5),
            ("events.purchase.amount.unique", 5.0),
            ("events.purchase.amount.values", (False, 1.0, 2.5, 5.0, "small")),
            ("events.purchase.amount.most_frequent", 5.0),
            ("events.purchase.amount.most_frequent_2d", False),
            ("events.purchase.amount.median", 3.75),
            ("events.purchase.amount.p90", 5.0),
            ("events.purchase.first_seen_hours_ago", 168.0),
            ("events.purchase.last_seen_minutes_ago", 60.0),
            ("last_seen_days_ago", 0.0),
        ],
    )
    @pytest.mark.parametrize("parts", [1, 2, 9])
    def test_each_answers_by_its_sentence(self, text: str, expected: Value, parts: int) -> None:
        """One value an aggregate, worked out by hand; from one base, two that overlap in time, and one an event."""
        bases = [base_of(WEEK[::-1][start::parts]) for start in range(parts)]

        assert kinds([expected]) == kinds([answer(text, bases).value])


def test_what_is_too_great_to_sum_is_in_no_mean() -> None:
    """S6: a number beyond 10^12 that came before the sum was defined is left out of sum and average alike."""
    base = base_of([event(amount=3), event(amount=1e12 + 1), event(amount=-1e13)])

    assert answer("events.purchase.amount.sum", base).value == 3.0
    assert answer("events.purchase.amount.avg", base).value == 3.0
    assert answer("events.purchase.amount.max", base).value == 1e12 + 1


class TestSources:
    def test_the_root_counts_events_of_every_name(self) -> None:
        """Named and unnamed events count together, in the order of their times; an identify does not."""
        base = base_of([event("view", 5), event(None, 3), event("purchase", 60_000), identify(1, plan="pro")])

        assert answer("count", base).value == 3.0
        assert answer("first_seen_minutes_ago", base).value == 1.0
        assert answer("last_seen_minutes_ago", base).value == 0.0

    def test_an_event_never_done_is_zero_empty_or_null(self) -> None:
        """S2, for a person with nothing at all: no base, or an empty one."""
        for bases in ([], [Base()]):
            assert answer("events.x.count", bases).value == 0.0
            assert answer("events.x.a.sum_30d", bases).value == 0.0
            assert answer("events.x.unique_days_7d", bases).value == 0.0
            assert answer("events.x.a.values", bases).value == ()
            assert answer("events.x.a.max", bases).value is None
            assert answer("events.x.a.avg", bases).value is None
            assert answer("events.x.last_seen_days_ago", bases).value is None

    def test_a_filter_reads_the_event_at_hand(self) -> None:
        """Where keeps the events for which it holds, before the property is taken."""
        base = base_of([event(amount=5, kind="a"), event(amount=7, kind="b"), event(amount=11)])

        assert answer('events.purchase.where(kind != "b").amount.sum', base).value == 16.0


class TestAttributes:
    def test_the_newest_of_any_base_wins(self) -> None:
        """A person's attribute is the one set last, whichever record it came with; null removes it."""
        bases = [
            base_of([identify(5, plan="pro")]),
            base_of([identify(3, plan="free")]),
            base_of([identify(9, plan="x")]),
        ]

        assert answer("profile.plan", bases).value == "free"
        assert answer("profile.plan", [*bases, base_of([identify(1, plan=None)])]).value is None

    def test_at_one_instant_a_value_beats_null_and_the_greater_value_the_lesser(self) -> None:
        """S8, in either order of the bases."""
        parts = [base_of([identify(1, plan=value)]) for value in (None, "a", "b", 7)]

        for bases in (parts, parts[::-1]):
            assert answer("profile.plan", bases).value == "b"

    def test_a_path_reads_inside_the_whole_value(self) -> None:
        """An object is replaced whole, so a field that the newer one lacks is null."""
        bases = [
            base_of([identify(5, address={"city": "Oslo", "zip": "0150"})]),
            base_of([identify(2, address={"zip": "1"})]),
        ]

        assert answer("profile.address.city", bases[:1]).value == "Oslo"
        assert answer("profile.address.city", bases).value is None
        assert answer("profile.address", bases).value is None


class TestWhatIsSaidOfAnAnswer:
    def test_a_state_that_a_span_lacks_is_missing(self) -> None:
        """A base built before a definition answers with what it has, and says that it is not all."""
        old = SpanState(-(2**62), NOW_MS - DAY_MS, {})
        base = Base(events=base_of([event(amount=2)]).events, spans=(old,))

        given = answer("events.purchase.count", base)

        assert given == Answer(1.0, missing=True)

    def test_a_window_that_does_not_reach_a_span_does_not_miss_it(self) -> None:
        """Only what a window needs can be missing from it."""
        old = SpanState(-(2**62), NOW_MS - DAY_MS, {})

        assert answer("events.purchase.count_1d", Base(spans=(old,))) == Answer(0.0)

    def test_a_span_that_a_window_cuts_through_is_taken_whole_and_said(self) -> None:
        """Past its horizon a base gives a value near the right one, marked."""
        bounds = bounds_of("events.purchase.count_7d")
        heavy = heavy_cuts(plan(bound.expr for bound in bounds.values()).windows, NOW_MS, HOUR_MS)
        base = cut([event("purchase", ago) for ago in (0, 6 * DAY_MS)], bounds.values(), heavy, NOW_MS)

        assert answer("events.purchase.count_7d", base, NOW_MS + HOUR_MS - 1) == Answer(2.0)
        assert answer("events.purchase.count_7d", base, NOW_MS + HOUR_MS) == Answer(2.0, straddled=True)

    def test_an_empty_state_is_cut_through_unnoticed(self) -> None:
        """A span in which nothing adds to a need cannot make its answer uncertain."""
        bounds = bounds_of("events.purchase.where(amount > 5).count_7d")
        (need,) = plan(bound.expr for bound in bounds.values()).needs
        base = Base(spans=(SpanState(NOW_MS - 8 * DAY_MS, NOW_MS, {need.state_id: None}),))

        assert answer("events.purchase.where(amount > 5).count_7d", base) == Answer(0.0)

    def test_a_part_that_is_not_evaluated_says_nothing(self) -> None:
        """`&&` and `||` stop where the answer is known, so what the rest lacks does not matter."""
        base = Base(spans=(SpanState(-(2**62), NOW_MS, {}),))

        assert answer("true || events.purchase.count > 3", base) == Answer(True)
        assert answer("events.purchase.count_1h > 3 && events.purchase.count > 3", Base(spans=())) == Answer(False)

    @pytest.mark.parametrize("over", [0, 1])
    def test_beyond_its_bound_a_list_keeps_the_least_values_and_says_so(self, over: int) -> None:
        """S12: 10,000 distinct values are exact; with one more the least 10,000 answer, wherever they were cut."""
        numbers = [float(number) for number in range(VALUES_MAX + over)]
        random.Random(1).shuffle(numbers)
        halves = [
            Base(events={"purchase": Events(array("q", range(len(half))), {"amount": list(half)})})
            for half in (numbers[:5000], numbers[5000:])
        ]

        given = answer("events.purchase.amount.values", halves)

        assert given == Answer(tuple(float(number) for number in range(VALUES_MAX)), exact=not over)
        assert answer("events.purchase.amount.unique", halves) == Answer(float(VALUES_MAX), exact=not over)
        assert answer("events.purchase.amount.max", halves) == Answer(float(VALUES_MAX + over - 1))
        assert answer("events.purchase.amount.p90", halves).exact is (not over)


class TestReading:
    def test_only_what_was_asked_is_computed(self) -> None:
        """A definition that nobody asks for leaves no trace on the base."""
        program = program_of("events.purchase.count", "events.view.amount.sum")
        base = base_of([event(), event("view", amount=1)])

        assert program.evaluate([base], NOW_MS, [("trait", "t0")]) == {("trait", "t0"): Answer(1.0)}
        assert len(base.lifted) == 1

    def test_windows_and_aggregates_share_what_was_lifted(self) -> None:
        """One source under one lift is read once from a base, whatever windows ask for it, and kept for later."""
        program = program_of(
            "events.purchase.amount.sum_7d", "events.purchase.amount.sum_30d", "events.purchase.amount.avg"
        )
        base = base_of([event(amount=3)])

        program.evaluate([base], NOW_MS)
        kept = dict(base.lifted)
        program.evaluate([base], NOW_MS + DAY_MS)

        assert len(kept) == 3  # a column of millionths, the series of them, and how many there are
        assert all(base.lifted[key] is series for key, series in kept.items())

    def test_two_programs_do_not_share_dates_of_different_zones(self) -> None:
        """What is kept with a base is kept by zone."""
        base = base_of([event("purchase", NOW_MS % DAY_MS + 1), event("purchase", 0)])

        assert answer("events.purchase.unique_days", base).value == 2.0
        assert answer("events.purchase.unique_days", base, zone=Zone("Asia/Kathmandu")).value == 1.0

    def test_asking_changes_no_base(self) -> None:
        """A base is equal before and after, its states included."""
        history = [event("purchase", ago * HOUR_MS, amount=ago % 5) for ago in range(60)]
        bounds = EVERYTHING.values()
        cuts = heavy_cuts(plan(bound.expr for bound in bounds).windows, NOW_MS, HOUR_MS)
        base, again = (cut(history, bounds, cuts, NOW_MS) for _ in range(2))

        EVERYTHING_IN[UTC_ZONE].evaluate([base, base_of(history)], NOW_MS)

        assert base == again

    def test_a_frame_answers_one_definition_after_another(self) -> None:
        """What is said of one answer is not said of the next."""
        program = program_of("events.purchase.count", "events.purchase.count_1h")
        frame = Frame(program, [Base(spans=(SpanState(-(2**62), NOW_MS - DAY_MS, {}),))], NOW_MS)

        assert frame.answer(program.compiled(("trait", "t0"))).missing
        assert not frame.answer(program.compiled(("trait", "t1"))).missing
        assert frame.answer(program.compiled(("trait", "t0"))).missing

    def test_an_unknown_key_is_refused(self) -> None:
        """A program answers for its own definitions alone."""
        with pytest.raises(KeyError):
            program_of("1").evaluate([], NOW_MS, [("trait", "other")])


class TestCompleteness:
    def test_every_node_is_known(self) -> None:
        """Each node of the language has an evaluator, or is read in a way of its own; one that has none is named."""
        read = {Constant, Property, ops.Attribute, ops.TraitRef, ops.SegmentRef, ops.Aggregation, ops.Argument}
        read |= {ops.EventTime, ops.EventDay, ops.SlotValue, ops.Now}

        # Another test makes a node of its own, which is there until somebody looks for garbage.
        nodes = {node for node in Expr.__subclasses__() if node.__module__.startswith("expressions.")}
        assert set(evaluator.registry) - {object, Expr} | read == nodes
        with pytest.raises(TypeError, match="Now"):
            evaluator(ops.Now())

    def test_every_function_and_every_monoid_is_known(self) -> None:
        """The tables are those of the language, no more and no less."""
        assert set(EVALUATORS) == set(FUNCTIONS)
        assert set(MONOIDS) == set(Monoid.__subclasses__())

    @pytest.mark.parametrize("function", COLUMN_FUNCTIONS)
    @seeded
    @given(column=st.lists(raw_values.map(from_json) | st.floats(allow_nan=False, allow_infinity=False)))
    def test_a_column_at_a_time_is_one_value_at_a_time(self, function: str, column: list[Value]) -> None:
        """The short way over a column gives what the function gives for each value."""
        evaluate = evaluator(Call(function, (Property("amount"),)))

        assert kinds([evaluate(value) for value in column]) == kinds(COLUMN_FUNCTIONS[function](column))


def kinds(column: Sequence[object]) -> list[tuple[type, object]]:
    """Values with their types."""
    return [(type(value), value) for value in column]
