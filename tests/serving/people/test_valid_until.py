"""The instant until which a decision stands: no step before it changes the answer, whatever the decision rests on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from expressions.bases import Base, RawEvent, base_of
from expressions.live.changes import NoInstant, Work
from expressions.plan import plan
from expressions.rules.windows import DAY_MS, HOUR_MS, heavy_cuts, light_cuts
from serving.api.decide import _cached_s
from serving.api.wire.flags import wire_decision
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.definitions.flags import settings_after
from serving.people.decide import Decider
from serving.people.person import Person
from serving.store.records import Reading, Record
from serving.times import rfc3339
from tests.chance import seeded
from tests.expressions.live.cut_bases import NOW_MS, cut, event

RULES = (
    "true",
    "events.purchase.count_7d >= 2",
    "events.purchase.count_1d == 0 || events.view.count_30d > 1",
    "events.view.last_seen_hours_ago < 30",
    "orders > 0",
)
HORIZON_MS = 2 * DAY_MS
#: An instant of a schedule, in hours from now.
hours = st.sampled_from([None, -50, -1, 1, 30, 100])
purchases = st.lists(st.tuples(st.sampled_from(["purchase", "view"]), st.integers(0, 40 * 24)), max_size=8)


def flag(key: str, rule: str, starts: int | None, ends: int | None, **more: Any) -> StoredDefinition:
    """A flag with a schedule in hours from now."""
    at = {"starts_at": starts, "ends_at": ends}
    given = {name: rfc3339(NOW_MS + hour * HOUR_MS) for name, hour in at.items() if hour is not None} | more
    return StoredDefinition(kind="flag", key=key, expression=rule, settings=settings_after(key, {}, given))


def catalogue_of(*flags: StoredDefinition) -> Catalogue:
    """Flags beside a trait, live at once."""
    catalogue = Catalogue()
    for stored in (StoredDefinition(kind="trait", key="orders", expression="events.purchase.count_7d"), *flags):
        catalogue = catalogue.with_definition(stored)
        catalogue = catalogue.with_activation(catalogue.projection_version, (0,), True)
    return catalogue


def decider(
    catalogue: Catalogue, bases: list[Base], now_ms: int, work: int | None = None, until_ms: int | None = None
) -> Decider:
    """A decider for somebody with these bases, exact until then, who explains with so much work."""
    reading = Reading([Record("user:ada")], now_ms, catalogue.version)
    somebody = Person(reading, catalogue, bases, [(0, catalogue.covered[0])], now_ms, until_ms)
    found = Decider(somebody, with_tree=True)
    if work is not None:
        found._work = Work(work)
    return found


def instants(history: list[RawEvent]) -> list[int]:
    """All instants at which one of the flags may change, and those beside them."""
    steps = {NOW_MS + hour * HOUR_MS for hour in (1, 30, 100)}
    for past in history:
        steps |= {past.ts_ms + days * DAY_MS for days in (1, 7, 30)}
        steps |= {past.ts_ms + hour * HOUR_MS for hour in range(28, 33)}
    return sorted({at + beside for at in steps for beside in (-1, 0, 1) if at + beside > NOW_MS})


@seeded
@given(
    st.sampled_from(RULES),
    st.sampled_from(RULES),
    st.tuples(hours, hours, hours, hours),
    st.booleans(),
    st.booleans(),
    purchases,
    purchases,
    st.sampled_from(["raw", "light", "heavy"]),
    st.sampled_from([None, None, 0, 40]),
)
def test_no_step_before_it_changes_the_answer(
    rule: str,
    other_rule: str,
    schedule: tuple[int | None, int | None, int | None, int | None],
    needs_other: bool,
    by_trait: bool,
    based: list[tuple[str, int]],
    tailed: list[tuple[str, int]],
    cuts: str,
    work: int | None,
) -> None:
    """Schedule, prerequisite and its schedule, rule, bucket of a trait, a light or heavy base, a tail, and work that is
    spent: the answers of the events themselves are one and the same up to the instant told, and for ever if none will
    come. Where enough is known an instant is told."""
    starts, ends, other_starts, other_ends = schedule
    assume(starts is None or ends is None or starts < ends)
    assume(other_starts is None or other_ends is None or other_starts < other_ends)
    more: dict[str, Any] = {"variants": [{"name": "a"}, {"name": "b"}], "rollout": 70, "cache_seconds": 60}
    more |= {"bucket_by": "trait:orders"} if by_trait else {}
    more |= {"prerequisites": [{"flag": "other"}]} if needs_other else {}
    catalogue = catalogue_of(flag("other", other_rule, other_starts, other_ends), flag("f", rule, starts, ends, **more))
    history = [event(name, ago * HOUR_MS) for name, ago in based]
    tail = [event(name, ago * HOUR_MS) for name, ago in tailed]
    windows = plan(bound.expr for bound in catalogue.bounds.values()).windows
    at_cuts = {"light": light_cuts(windows, NOW_MS), "heavy": heavy_cuts(windows, NOW_MS, HORIZON_MS)}
    base = cut(history, catalogue.bounds.values(), at_cuts[cuts], NOW_MS) if cuts in at_cuts else base_of(history)

    decision = decider(catalogue, [base, base_of(tail)], NOW_MS, work).decision("f")
    until = decision.valid_until_ms

    def answer(at_ms: int) -> tuple[Any, ...]:
        told = decider(catalogue, [base_of([*history, *tail])], at_ms).decision("f")
        return told.allow, told.reason, told.variant

    now = answer(NOW_MS)
    assert decision.reason != "STALE"
    assert now == (decision.allow, decision.reason, decision.variant)
    if until is NoInstant.UNKNOWN:
        assert work is not None or cuts == "heavy"
    else:
        end = None if isinstance(until, NoInstant) else until
        assert all(answer(at) == now for at in instants(history + tail) if end is None or at < end)
    kept_ms = 1_000 * _cached_s(catalogue.flags["f"], decision, {"now": NOW_MS})
    assert all(answer(at) == now for at in instants(history + tail) if at <= NOW_MS + kept_ms)


@pytest.mark.parametrize("by", ["rule", "prerequisite", "bucket"])
def test_an_unknown_part_makes_the_whole_unknown(by: str) -> None:
    """Past its horizon a base of spans cannot tell when a count changes. The end of the schedule is then not named,
    though it is known, since the answer may change before; and the answer is not kept."""
    count = "events.purchase.count_7d > 100"
    more: dict[str, Any] = {
        "prerequisite": {"prerequisites": [{"flag": "other"}]},
        "bucket": {"bucket_by": "trait:orders", "rollout": 50},
    }.get(by, {})
    other = flag("other", count if by == "prerequisite" else "true", None, None)
    catalogue = catalogue_of(other, flag("f", count if by == "rule" else "true", None, 1_000, cache_seconds=60, **more))
    bounds = catalogue.bounds.values()
    cuts = heavy_cuts(plan(bound.expr for bound in bounds).windows, NOW_MS, HOUR_MS)
    base = cut([event("purchase", ago * HOUR_MS) for ago in range(160)], bounds, cuts, NOW_MS)

    decision = decider(catalogue, [base], NOW_MS + 2 * HOUR_MS, until_ms=NOW_MS + HOUR_MS).decision("f")

    assert decision.valid_until_ms is NoInstant.UNKNOWN
    assert wire_decision("f", "ada", decision)["valid_until"] is None
    assert _cached_s(catalogue.flags["f"], decision, {"now": NOW_MS + 2 * HOUR_MS}) == 0


def test_an_answer_is_kept_no_longer_than_what_it_needs_stands() -> None:
    """Of a flag that needs another the other's schedule counts, and a window that an event is about to leave."""
    soon = flag("soon", "true", None, None, cache_seconds=60, ends_at=rfc3339(NOW_MS + 20_000))
    kept = {"cache_seconds": 60}
    by_schedule = flag("by_schedule", "true", None, None, prerequisites=[{"flag": "soon"}], **kept)
    by_window = flag("by_window", "events.purchase.count_1d > 0", None, None, **kept)
    by_both = flag(
        "by_both", "true", None, None, prerequisites=[{"flag": "by_schedule"}, {"flag": "by_window"}], **kept
    )
    catalogue = catalogue_of(soon, by_schedule, by_window, by_both, flag("plain", "true", None, None, **kept))
    base = base_of([event("purchase", DAY_MS - 10_500)])
    ada = decider(catalogue, [base], NOW_MS)

    kept_s = {key: _cached_s(found, ada.decision(key), {"now": NOW_MS}) for key, found in catalogue.flags.items()}

    assert kept_s == {"soon": 20, "by_schedule": 20, "by_window": 10, "by_both": 10, "plain": 60}


def test_an_instant_beyond_the_years_that_can_be_written_is_not_told() -> None:
    """An age may reach a number in the year 12,000: the answer is null instead of an error."""
    catalogue = catalogue_of(flag("f", "events.purchase.last_seen_days_ago < 3650000", None, None))
    decision = decider(catalogue, [base_of([event("purchase")])], NOW_MS).decision("f")

    assert decision.valid_until_ms == NOW_MS + 3_650_000 * DAY_MS
    assert wire_decision("f", "ada", decision)["valid_until"] is None
