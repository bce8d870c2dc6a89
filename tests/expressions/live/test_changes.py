"""The next change that is told is the next change: nothing moves before it, and it moves there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.aggregates import AGE_UNITS_MS, AGGREGATES
from expressions.bases import Base, RawEvent, base_of
from expressions.live.changes import Moves, NextChange, NoInstant, Work, earliest, next_change_ms
from expressions.live.to_state import Frame, Program
from expressions.ops import Now, walk
from expressions.plan import plan
from expressions.rules.windows import DAY_MS, HOUR_MS, MINUTE_MS, UTC_ZONE, Zone, heavy_cuts, light_cuts
from tests.chance import seeded
from tests.expressions.live.cut_bases import NOW_MS, bounds_of, cut, event, events, identify

TEXTS = (
    "events.purchase.count_7d >= 2",
    "events.purchase.count_30d",
    "events.purchase.amount.sum_1d > 3 || events.view.count_30d > 0",
    "events.purchase.unique_days_7d >= 1",
    "events.purchase.where(amount > 1).amount.max_7d",
    "last_seen_days_ago < 3",
    "5 <= last_seen_hours_ago",
    "events.purchase.last_seen_hours_ago / 2 > 10",
    "events.purchase.first_seen_days_ago",
    "events.view.last_seen_days_ago == 3 && events.purchase.count_30d > 0",
    "last_seen_days_ago < events.purchase.count_30d",
    "events.purchase.count > 2",
    "if(events.purchase.count_7d > 0, last_seen_days_ago, 100) > 9.5",
)
KATHMANDU = Zone("Asia/Kathmandu")


def next_change(text: str, *bases: Base, zone: Zone = UTC_ZONE, now_ms: int = NOW_MS) -> NextChange:
    """When an expression next changes for whom these bases are of."""
    (bound,) = bounds_of(text).values()
    return next_change_ms(bound.expr, Frame(Program([bound], zone), bases, now_ms))


def checked_change(text: str, base: Base, history: list[RawEvent], zone: Zone, now_ms: int) -> NextChange:
    """The next change of an expression; fails where the events themselves say otherwise."""
    (bound,) = bounds_of(text).values()
    program = Program([bound], zone)
    compiled = program.compile(bound.expr)
    whole = base_of(history)

    def value(at_ms: int) -> object:
        return Frame(program, [whole], at_ms).answer(compiled).value

    at = next_change_ms(bound.expr, Frame(program, [base], now_ms))
    if not isinstance(at, NoInstant):
        assert at > now_ms
        assert value(at - 1) == value(now_ms) != value(at)
        assert all(value(now_ms) == value(instant) for instant in instants(history, zone) if now_ms < instant < at)
    if at is NoInstant.NEVER:
        assert all(value(now_ms) == value(instant) for instant in instants(history, zone) if now_ms < instant)
    return at


def instants(history: list[RawEvent], zone: Zone) -> Iterator[int]:
    """Around every instant at which one of the texts may change, half a year long."""
    for past in history:
        for length in (DAY_MS, 7 * DAY_MS, 30 * DAY_MS):
            yield from range(past.ts_ms + length - 1, past.ts_ms + length + 2)
        for hours in range(0, 12 * 24, 1):
            yield past.ts_ms + hours * HOUR_MS
    for day in range(180):
        yield zone.day_start_ms(zone.day(NOW_MS) + day)


class TestNextChange:
    @seeded
    @given(st.sampled_from(TEXTS), events, st.sampled_from([UTC_ZONE, KATHMANDU]))
    def test_it_is_the_first_instant_with_another_value(self, text: str, history: list[RawEvent], zone: Zone) -> None:
        """At the instant told the value differs, and at no instant before it; where none will come, at none at all.

        Only an age that grows for ever, and moves nothing, spends the work."""
        at = checked_change(text, base_of(history), history, zone, NOW_MS)

        assert at is not NoInstant.UNKNOWN or "_ago" in text

    @seeded
    @given(st.sampled_from(TEXTS), events, st.booleans(), st.integers(0, 2 * DAY_MS - 1))
    def test_what_a_cut_base_tells_is_true_of_its_events(
        self, text: str, history: list[RawEvent], is_heavy: bool, later_ms: int
    ) -> None:
        """A base of spans tells a change only where it knows of it: never a wrong instant, never one too late."""
        bounds = bounds_of(text)
        windows = plan(bound.expr for bound in bounds.values()).windows
        cuts = heavy_cuts(windows, NOW_MS, 2 * DAY_MS) if is_heavy else light_cuts(windows, NOW_MS)

        checked_change(text, cut(history, bounds.values(), cuts, NOW_MS), history, UTC_ZONE, NOW_MS + later_ms)

    @seeded
    @given(st.lists(st.sampled_from(TEXTS), min_size=1, unique=True), events, st.booleans())
    def test_nothing_changes_before_what_moves_first(
        self, texts: list[str], history: list[RawEvent], is_heavy: bool
    ) -> None:
        """Of several expressions together: none of them changes before the first instant at which anything moves."""
        of_texts = list(bounds_of(*texts).values())
        windows = plan(bound.expr for bound in of_texts).windows
        cuts = heavy_cuts(windows, NOW_MS, 2 * DAY_MS) if is_heavy else light_cuts(windows, NOW_MS)
        base = cut(history, of_texts, cuts, NOW_MS)
        frame = Frame(Program(of_texts, UTC_ZONE), [base], NOW_MS)
        moves_ms = Moves([bound.expr for bound in of_texts], frame.program).next_ms(frame)

        for bound in of_texts:
            at = next_change_ms(bound.expr, frame)
            assert isinstance(at, NoInstant) or (moves_ms is not None and NOW_MS < moves_ms <= at)

    def test_a_count_falls_when_the_event_that_holds_it_leaves(self) -> None:
        """count >= k ends when the k-th newest event is a window old."""
        base = base_of([event("purchase", ago * HOUR_MS) for ago in (1, 5, 20)])

        assert next_change("events.purchase.count_1d >= 2", base) == NOW_MS - 5 * HOUR_MS + DAY_MS
        assert next_change("events.purchase.count_1d >= 1", base) == NOW_MS - HOUR_MS + DAY_MS
        assert next_change("events.purchase.count_1d >= 4", base) is NoInstant.NEVER

    def test_one_type_becoming_another_is_a_change(self) -> None:
        """true and 1 are two values (S3), whatever Python says."""
        base = base_of([event("purchase", HOUR_MS)])

        assert next_change("if(events.purchase.count_1d > 0, true, 1)", base) == NOW_MS - HOUR_MS + DAY_MS

    def test_an_age_passes_the_number_it_is_compared_with(self) -> None:
        """last_seen < n ends when the last event is n units old, however many units that are from now."""
        base = base_of([event("purchase", 90_000)])
        seen_ms = NOW_MS - 90_000

        assert next_change("last_seen_minutes_ago < 1440", base) == seen_ms + 1440 * MINUTE_MS
        assert next_change("last_seen_minutes_ago <= 1440", base) == seen_ms + 1441 * MINUTE_MS
        assert next_change("last_seen_minutes_ago < 5000000", base) == seen_ms + 5_000_000 * MINUTE_MS
        assert next_change("last_seen_minutes_ago < 1e300", base) is NoInstant.NEVER
        assert next_change("last_seen_minutes_ago", base) == seen_ms + 2 * MINUTE_MS

    def test_an_age_is_known_from_history_that_is_no_longer_raw(self) -> None:
        """The last event is a state among others; its age goes on."""
        text = "events.purchase.last_seen_days_ago < 400"
        bounds = bounds_of(text, "count_1d")
        windows = plan(bound.expr for bound in bounds.values()).windows
        base = cut([event("purchase", 390 * DAY_MS)], bounds.values(), light_cuts(windows, NOW_MS), NOW_MS)

        assert not base.events
        assert next_change(text, base) == NOW_MS + 10 * DAY_MS

    def test_a_date_in_the_profile_ages(self) -> None:
        """days_since changes by time alone too."""
        base = base_of([identify(1, since="2026-01-01")])
        start_ms = 1_767_225_600_000

        assert next_change("days_since(profile.since) >= 365", base) == start_ms + 365 * DAY_MS
        assert next_change("days_since(profile.since) + 0", base) == (NOW_MS // DAY_MS + 1) * DAY_MS
        assert next_change("days_since(profile.other) > 3", base) is NoInstant.NEVER

    @pytest.mark.parametrize("zone", [KATHMANDU, Zone("America/New_York"), Zone("Pacific/Apia")])
    def test_a_date_is_counted_in_dates_of_the_zone(self, zone: Zone) -> None:
        """The number of dates grows where a date begins there, also beside a date that the zone left out."""
        base = base_of([identify(1, since="2026-01-01")])
        start_ms = zone.day_start_ms(20_454)

        assert next_change("days_since(profile.since) >= 365", base, zone=zone) == zone.day_start_ms(20_454 + 365)
        assert next_change("days_since(profile.since)", base, zone=zone, now_ms=start_ms - 1) == start_ms
        text = "days_since('2011-12-28')"
        tomorrow_ms = zone.day_start_ms(15_338)  # 2011-12-30, which Apia left out: there the next date begins
        assert next_change(text, base, zone=zone, now_ms=tomorrow_ms - 1) == tomorrow_ms
        assert next_change(f"{text} >= 2", base, zone=zone, now_ms=tomorrow_ms - DAY_MS) == tomorrow_ms

    def test_what_chooses_between_two_dates_may_age_itself(self) -> None:
        """The date that counts may change before a day is over."""
        base = base_of([event("purchase", 60_000)])
        text = "days_since(if(last_seen_minutes_ago < 5, '2020-01-01', '2030-01-01')) > 0"

        assert next_change(text, base) == NOW_MS + 4 * MINUTE_MS

    @pytest.mark.parametrize("text", ["1 == 1", "profile.plan == 'pro'", "events.purchase.count > 3", "segments == 1"])
    def test_what_time_does_not_move_has_no_next_change(self, text: str) -> None:
        """Constants, attributes and lifetime counts stay as they are."""
        text = text.replace("segments", "events.purchase.amount.values")

        assert next_change(text, base_of([event(amount=1), identify(1, plan="pro")])) is NoInstant.NEVER

    def test_past_its_horizon_a_base_tells_nothing(self) -> None:
        """A span that a window cuts through may lose events at any instant, so none is named."""
        bounds = bounds_of("events.purchase.count_7d")
        cuts = heavy_cuts(plan(bound.expr for bound in bounds.values()).windows, NOW_MS, HOUR_MS)
        history = [event("purchase", ago * HOUR_MS) for ago in range(167)]
        base = cut(history, bounds.values(), cuts, NOW_MS)

        assert next_change("events.purchase.count_7d > 160", base) is NoInstant.UNKNOWN
        assert next_change("events.purchase.count_7d > 160", base, now_ms=NOW_MS + 2 * HOUR_MS) is NoInstant.UNKNOWN

    def test_at_its_horizon_a_base_tells_nothing_either(self) -> None:
        """There the next instant already cuts through a span, which the window would pass as a whole later."""
        bounds = bounds_of("events.purchase.count_7d > 1", "count_1d")
        cuts = heavy_cuts(plan(bound.expr for bound in bounds.values()).windows, NOW_MS, HOUR_MS)
        history = [event("purchase", 6 * DAY_MS), event("purchase", 5 * DAY_MS)]
        base = cut(history, bounds.values(), cuts, NOW_MS)
        tail = base_of([event("purchase", -HOUR_MS)])

        (bound, _) = bounds.values()
        frame = Frame(Program([bound]), [base, tail], NOW_MS + HOUR_MS)
        assert frame.answer(frame.program.compile(bound.expr)).value is True
        assert next_change_ms(bound.expr, frame) is NoInstant.UNKNOWN

    def test_no_more_is_spent_than_allowed(self) -> None:
        """Where too many instants would have to be tried, nothing is told, and what was left is gone."""
        (bound,) = bounds_of("last_seen_minutes_ago + 0 > 1000000").values()
        work = Work(500)

        assert (
            next_change_ms(bound.expr, Frame(Program([bound]), [base_of([event()])], NOW_MS), work) is NoInstant.UNKNOWN
        )
        assert work.left < 0

    def test_a_part_that_comes_into_play_may_be_unknown(self) -> None:
        """Where the left of `||` falls, the right decides. If the base lacks its state, that is not known."""
        text = "events.view.count_1d > 0 || events.purchase.count > 5"
        (bound,) = bounds_of(text).values()
        known = bounds_of("events.view.count_1d").values()
        cuts = light_cuts(plan(other.expr for other in known).windows, NOW_MS)
        base = cut([event("purchase", 9 * DAY_MS)], known, cuts, NOW_MS)
        seen = base_of([event("view", HOUR_MS)])

        assert next_change_ms(bound.expr, Frame(Program([bound]), [base, seen], NOW_MS)) is NoInstant.UNKNOWN

    @pytest.mark.parametrize("text", ["events.purchase.count > 0", "events.purchase.count_1d > 0"])
    def test_an_event_whose_time_is_to_come_counts_when_it_comes(self, text: str) -> None:
        """A clock may have been ahead when the event was received."""
        assert next_change(text, base_of([event("purchase", -HOUR_MS)])) == NOW_MS + HOUR_MS

    def test_what_is_not_known_of_one_is_not_known_of_all(self) -> None:
        """The earliest of several changes may be the one that is not known."""
        assert earliest([NoInstant.NEVER, 7, 3]) == 3
        assert earliest([3, NoInstant.UNKNOWN]) is NoInstant.UNKNOWN
        assert earliest([NoInstant.NEVER]) is earliest([]) is NoInstant.NEVER


def test_each_aggregate_that_reads_the_clock_is_an_age() -> None:
    """Else it would move by itself, and no instant would be told for it."""
    present = {name: list(walk(aggregate.present)) for name, aggregate in AGGREGATES.items()}
    reading = {name for name, parts in present.items() if any(isinstance(part, Now) for part in parts)}

    assert reading == set(AGE_UNITS_MS)
