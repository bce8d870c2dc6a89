"""Test vocabulary: definitions as text, events, and the bases a batch would make of them, cut as `windows.py` says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from hypothesis import strategies as st

from expressions.bases import Base, RawEvent, SpanState, base_of
from expressions.definitions import Bound, Definition, Key
from expressions.live.lifting import Lift
from expressions.live.monoids import MONOIDS
from expressions.live.to_state import Answer, Program
from expressions.plan import Need, plan
from expressions.rules.windows import DAY_MS, HOUR_MS, UTC_ZONE, Cuts, Zone, lower_ms
from expressions.text.bind import bind

#: A noon, so that dates and 24-hour days differ.
NOW_MS = 20_700 * DAY_MS + 12 * HOUR_MS


def bounds_of(*texts: str) -> dict[Key, Bound]:
    """Traits t0, t1, …, bound."""
    return dict(bind([Definition("trait", f"t{index}", text) for index, text in enumerate(texts)]))


def program_of(*texts: str, zone: Zone = UTC_ZONE) -> Program:
    """Traits t0, t1, …, compiled."""
    return Program(bounds_of(*texts).values(), zone)


def answer(text: str, bases: Base | Sequence[Base], now_ms: int = NOW_MS, zone: Zone = UTC_ZONE) -> Answer:
    """What one expression answers."""
    given = [bases] if isinstance(bases, Base) else bases
    return program_of(text, zone=zone).evaluate(given, now_ms)["trait", "t0"]


def event(name: str | None = "purchase", ago_ms: int = 0, /, **fields: Any) -> RawEvent:
    """A track event so long before NOW_MS."""
    return RawEvent("track", name, NOW_MS - ago_ms, fields)


def identify(ago_ms: int = 0, /, **attributes: Any) -> RawEvent:
    """An identify so long before NOW_MS."""
    return RawEvent("identify", None, NOW_MS - ago_ms, attributes)


def cut(events: Iterable[RawEvent], bounds: Iterable[Bound], cuts: Cuts, as_of_ms: int, zone: Zone = UTC_ZONE) -> Base:
    """One id's base: raw events at the edges, a state of every need that reaches a span, the newest attributes."""
    history = list(events)
    needs = plan(bound.expr for bound in bounds).needs
    raw = base_of(
        past for past in history if past.kind == "identify" or any(low < past.ts_ms <= high for low, high in cuts.edges)
    )
    spans = []
    for low, high in cuts.spans:
        part = base_of(past for past in history if past.kind != "identify" and low < past.ts_ms <= high)
        if part.events:
            states = {
                need.state_id: state_of(part, need, zone)
                for need in needs
                if low >= lower_ms(need.window, as_of_ms, zone)
            }
            spans.append(SpanState(low, high, states))
    return Base(raw.events, tuple(spans), raw.profile)


def state_of(base: Base, need: Need, zone: Zone = UTC_ZONE) -> Any:
    """All raw events of a base folded; None where none adds anything."""
    monoid = MONOIDS[type(need.slot.monoid)]
    series = [(times, lifted) for times, lifted in Lift(need, zone).series(base) if times]
    states = [monoid.fold(times, lifted, 0, len(times)) for times, lifted in series]
    return reduce(monoid.merge, states) if states else None


#: Instants that meet often, before NOW_MS, at the edges of windows and of days.
agos = st.one_of(
    st.sampled_from([0, HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 400 * DAY_MS]).flatmap(
        lambda edge: st.sampled_from([max(edge - 1, 0), edge, edge + 1])
    ),
    st.integers(0, 40).map(lambda days: days * DAY_MS + 12 * HOUR_MS),
    st.integers(0, 400 * DAY_MS),
)
#: What apps send, repeats and ties of kinds among them.
raw_values = st.one_of(
    st.integers(-1, 3),
    st.sampled_from([0.5, 19.99, -0.0000005, 0.0000015, 1e12, 1e13]),
    st.sampled_from(["a", "b", "B", ""]),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from([1, "a", None]), max_size=2),
)
_purchases = st.builds(
    lambda ago, fields: RawEvent("track", "purchase", NOW_MS - ago, fields),
    agos,
    st.fixed_dictionaries({"amount": st.integers(0, 3) | raw_values}, optional={"kind": raw_values}),
)
_others = st.builds(
    lambda name, ago, fields: RawEvent("track", name, NOW_MS - ago, fields),
    st.sampled_from(["view", None]),
    agos,
    st.fixed_dictionaries({}, optional={"amount": raw_values}),
)
_identifies = st.builds(
    lambda ago, fields: RawEvent("identify", None, NOW_MS - ago, fields),
    agos,
    st.fixed_dictionaries({}, optional={"plan": raw_values, "address": st.just({"city": "Oslo"})}),
)
events = st.tuples(
    st.lists(_purchases, max_size=30), st.lists(_others, max_size=6), st.lists(_identifies, max_size=4)
).map(lambda parts: [past for part in parts for past in part])
