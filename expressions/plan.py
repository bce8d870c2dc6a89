"""What a set of definitions needs: the distinct slots, and the event fields and profile keys that they read.

A **need** is one slot over one source in one window. Executions compute needs, and bases store their states. The
**projection** is what a record must keep of events so that every need can be answered. It follows from the definitions
alone: it grows when a new one needs more, and shrinks when one that needed more is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

from .aggregates import AGGREGATES, Slot
from .ops import Aggregation, Attribute, Expr, Source, distinct_parts
from .rules.windows import Window

#: The kinds of events that aggregations look at, at the root and under an event's name.
COUNTED_KINDS = frozenset({"track", "page", "screen"})


@dataclass(frozen=True)
class Need:
    """One slot over one source in one window (None: lifetime)."""

    source: Source
    slot: Slot
    window: Window | None

    @cached_property
    def state_id(self) -> str:
        """The name of what is folded, whatever the window: 12 hex digits, the same in every process and version."""
        text = repr((self.source, self.slot.lift, self.slot.monoid))
        return blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Projection:
    """What records keep of events and profiles, and how far back.

    `events` holds the properties to keep by event name; the name None keeps the times of all events. `attributes` are
    profile keys. Raw events must cover the finite windows in `reach`. `lifetime` are the state ids that are kept of all
    history.
    """

    events: Mapping[str | None, frozenset[str]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()
    reach: frozenset[Window] = frozenset()
    lifetime: frozenset[str] = frozenset()

    def __or__(self, other: Projection) -> Projection:
        """The least projection that holds both."""
        events = {
            name: self.events.get(name, frozenset()) | other.events.get(name, frozenset())
            for name in {*self.events, *other.events}
        }
        return Projection(
            events, self.attributes | other.attributes, self.reach | other.reach, self.lifetime | other.lifetime
        )

    def covers(self, other: Projection) -> bool:
        """Whether records that were kept under this projection answer all needs of the other.

        The longest window covers every shorter one: the events of both are raw in a light base.
        """
        longest = max((window.reach_ms for window in self.reach), default=0)
        return (
            all(name in self.events and properties <= self.events[name] for name, properties in other.events.items())
            and other.attributes <= self.attributes
            and all(window.reach_ms <= longest for window in other.reach)
            and other.lifetime <= self.lifetime
        )


@dataclass(frozen=True)
class Plan:
    """The distinct needs and profile keys of some expressions, and the projection that answers them."""

    needs: tuple[Need, ...]
    attributes: tuple[str, ...]

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The distinct finite windows, shortest first."""
        return tuple(sorted({need.window for need in self.needs if need.window}, key=lambda window: window.reach_ms))

    @property
    def reads_fields(self) -> bool:
        """Whether any property or attribute is read: without one an event is its name and time."""
        return bool(self.attributes) or any(self.projection.events.values())

    @cached_property
    def projection(self) -> Projection:
        """What a record must keep to answer all needs."""
        events: dict[str | None, frozenset[str]] = {}
        for need in self.needs:
            source = need.source
            events[source.event] = events.get(source.event, frozenset()).union(source.properties)
        return Projection(
            events=events,
            attributes=frozenset(self.attributes),
            reach=frozenset(need.window for need in self.needs if need.window),
            lifetime=frozenset(need.state_id for need in self.needs if need.window is None),
        )


def needs_of(aggregation: Aggregation) -> dict[str, Need]:
    """Slot name -> need, for one aggregation."""
    return {
        slot.name: Need(aggregation.source, slot, aggregation.window)
        for slot in AGGREGATES[aggregation.aggregate].slots
    }


def plan(expressions: Iterable[Expr]) -> Plan:
    """The plan of bound expressions, whose references are replaced; needs stand in the order of first use.

    An aggregation that is written twice is one need: its places take no part in comparison.
    """
    needs: dict[Need, None] = {}
    attributes: dict[str, None] = {}
    for node in distinct_parts(*expressions):
        if isinstance(node, Aggregation):
            needs.update(dict.fromkeys(needs_of(node).values()))
        elif isinstance(node, Attribute):
            attributes[node.key] = None
    return Plan(tuple(needs), tuple(sorted(attributes)))
