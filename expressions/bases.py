"""What is known of one raw id: raw events in columns, and partial states of older intervals.

A **base** is what the batch published of an id. The id's **tail** has the same shape, without spans. An answer merges
any number of them: the base and the tail of every id of a person. It needs only "merge two states", wherever history
was cut. Bases are immutable once they are built.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from .event_columns import EventColumn
from .plan import COUNTED_KINDS
from .rules.properties import attribute_recency
from .rules.values import from_json

#: A monoid's state in Python. Add: int. Min, Max: float or str. Earliest, Latest: (ts_ms, value). Union: frozenset of
#: order keys (`values.order_key`). Tally: {order key: count}. A state is never changed in place.
State: TypeAlias = Any


class Events(NamedTuple):
    """The events of one name: `ts_ms` ascending, and a column of the same length for every field, null where absent."""

    ts_ms: array[int]
    fields: Mapping[str, EventColumn]


@dataclass(frozen=True)
class SpanState:
    """Merged states, by state id, of the events with ``low_ms < ts <= high_ms``. None: no event added to the state.

    An absent state id was not computed, so this span cannot answer a need with that id.
    """

    low_ms: int
    high_ms: int
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Base:
    """Raw events by event name, spans of older events, and profile attributes.

    The event name None stands for all names that no definition reads. An attribute is (ts_ms, raw JSON value): the
    newest value of its key, null where it was removed. An id without events has an empty base. A span without events is
    left out. `live.lifting` keeps in `lifted` what it read from the events.
    """

    events: Mapping[str | None, Events] = field(default_factory=dict)
    spans: tuple[SpanState, ...] = ()
    profile: Mapping[str, tuple[int, Any]] = field(default_factory=dict)
    lifted: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


class RawEvent(NamedTuple):
    """One event on its way into a base: its kind, name and time, and its fields (an identify's are its attributes)."""

    kind: str
    name: str | None
    ts_ms: int
    fields: Mapping[str, Any]


def base_of(events: Iterable[RawEvent]) -> Base:
    """A base of raw events alone, given in any order. A tail is read as one."""
    rows_by_name: dict[str | None, list[tuple[int, Mapping[str, Any]]]] = {}
    profile: dict[str, tuple[int, Any]] = {}
    for kind, event_name, ts_ms, fields in events:
        if kind in COUNTED_KINDS:
            rows_by_name.setdefault(event_name, []).append((ts_ms, fields))
        elif kind == "identify":
            for key, value in fields.items():
                if key not in profile or attribute_recency(ts_ms, value) > attribute_recency(*profile[key]):
                    profile[key] = (ts_ms, value)
    columns: dict[str | None, Events] = {}
    for event_name, rows in rows_by_name.items():
        rows.sort(key=lambda row: row[0])
        columns[event_name] = Events(
            array("q", [ts_ms for ts_ms, _ in rows]),
            {
                name: [from_json(fields.get(name)) for _, fields in rows]
                for name in {name for _, fields in rows for name in fields}
            },
        )
    return Base(events=columns, profile=profile)
