"""The payload of an event's tail entry: the part of the event that definitions need.

Every event enters the tail, since its seq, its time and its id count. Its name and its fields enter only where the
projection asks for them. An event that no definition names keeps its time, for the aggregates over all events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expressions.plan import COUNTED_KINDS, Projection
from expressions.rules.properties import event_fields
from serving.store.logged_event import Accepted, packed


def projected(event: Accepted, projection: Projection) -> tuple[str, str | None, dict[str, Any]]:
    """(kind, name, fields) as the tail keeps them.

    A counted event keeps the properties that its name and the root need. One that no definition names keeps those of
    the root alone, and its name is None. An identify keeps the attributes needed, whole, and null ones too (S8). Other
    kinds keep nothing.
    """
    if event.kind in COUNTED_KINDS:
        named = projection.events.get(event.name) if event.name is not None else None
        wanted = projection.events.get(None, frozenset()) | (named or frozenset())
        fields = _selected(event_fields(event.properties), wanted) if wanted and event.properties else {}
        return event.kind, None if named is None else event.name, fields
    if event.kind == "identify":
        return event.kind, None, _selected(event.traits, projection.attributes)
    return event.kind, None, {}


def tail_payload(event: Accepted, projection: Projection) -> bytes:
    """The projected event as msgpack: [kind, name, fields].

    Made when an event comes in, and made again from its lake row when a shard is replayed (`pipelines.rows.replayed`).
    """
    return packed(projected(event, projection))


def _selected(fields: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    return {name: fields[name] for name in wanted if name in fields}
