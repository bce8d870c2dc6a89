"""What is known of one raw id: raw events in columns, and partial states of older intervals.

A **base** is what the batch published of an id; the id's **tail** takes the same shape, with no spans. Answering merges
any number of them (base and tail, later every member of a person): only "merge two states", no matter where history
was cut. All of it is immutable once built.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from .event_columns import EventColumn
from .plan import COUNTED_KINDS
from .rules.properties import attribute_order_key
from .rules.values import from_json

#: A monoid's state in Python. Add: int. Min, Max: float or str. Earliest, Latest: (ts_ms, value).
#: Union: frozenset of order keys (`values.order_key`). Tally: {order key: count}, never changed in place.
State: TypeAlias = Any


class Events(NamedTuple):
    """The events of one name: `ts_ms` ascending, and for every field a column of the same length, null where absent."""

    ts_ms: array[int]
    fields: Mapping[str, EventColumn]


@dataclass(frozen=True)
class SpanState:
    """Merged states, by state id, of the events with ``low_ms < ts <= high_ms``; None: no event added to it.

    A state id that is absent was not computed, so what needs it cannot be answered from this span.
    """

    low_ms: int
    high_ms: int
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Base:
    """Raw events by event name (None: of names no definition reads), spans of older ones, and profile attributes.

    An attribute is (ts_ms, raw JSON value): the newest of its key, null where it was removed. An id without events has
    an empty base; a span without events is left out. `lifted` is where `to_state` keeps what it read from the events.
    """

    events: Mapping[str | None, Events] = field(default_factory=dict)
    spans: tuple[SpanState, ...] = ()
    profile: Mapping[str, tuple[int, Any]] = field(default_factory=dict)
    lifted: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


class RawEvent(NamedTuple):
    """One event on its way into a base: its kind, name, time, and its fields (of an identify: its attributes)."""

    kind: str
    name: str | None
    ts_ms: int
    fields: Mapping[str, Any]


def base_of(events: Iterable[RawEvent]) -> Base:
    """A base of raw events alone, in any order; what a tail is read as."""
    rows: dict[str | None, list[tuple[int, Mapping[str, Any]]]] = {}
    profile: dict[str, tuple[int, Any]] = {}
    for kind, event_name, ts_ms, given in events:
        if kind in COUNTED_KINDS:
            rows.setdefault(event_name, []).append((ts_ms, given))
        elif kind == "identify":
            for key, value in given.items():
                held = profile.get(key)
                if held is None or (ts_ms, attribute_order_key(value)) > (held[0], attribute_order_key(held[1])):
                    profile[key] = (ts_ms, value)
    columns: dict[str | None, Events] = {}
    for name, found in rows.items():
        found.sort(key=lambda row: row[0])
        names = {key for _, fields in found for key in fields}
        columns[name] = Events(
            array("q", [ts for ts, _ in found]),
            {key: [from_json(fields.get(key)) for _, fields in found] for key in names},
        )
    return Base(events=columns, profile=profile)
