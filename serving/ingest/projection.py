"""What a record keeps of an event: the payload of its tail entry, cut down to what definitions need.

Every event enters the tail, since its seq, its time and its id count; its name and fields are kept only where the
projection asks for them. Of an event that no definition names the time remains, for the aggregates over all events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expressions.plan import COUNTED_KINDS, Projection
from expressions.rules.properties import event_fields
from serving.store.logged_event import Accepted, packed


def projected(event: Accepted, projection: Projection) -> tuple[str, str | None, dict[str, Any]]:
    """(kind, name, fields): of a counted event the properties its name and the root need, of an identify the attributes
    needed, whole and null included (S8). The name is None, and there are no fields but the root's, where no definition
    names the event.
    """
    if event.kind in COUNTED_KINDS:
        named = projection.events.get(event.name) if event.name is not None else None
        wanted = projection.events.get(None, frozenset()) | (named or frozenset())
        fields = _kept(event_fields(event.properties), wanted) if wanted and event.properties else {}
        return event.kind, None if named is None else event.name, fields
    if event.kind == "identify":
        return event.kind, None, _kept(event.traits, projection.attributes)
    return event.kind, None, {}


def tail_payload(event: Accepted, projection: Projection) -> bytes:
    """The projected event as msgpack: [kind, name, fields].

    Made when an event comes in, and made again from its lake row when a shard is replayed (`pipelines.rows.replayed`).
    """
    return packed(projected(event, projection))


def _kept(fields: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    return {name: fields[name] for name in wanted if name in fields}
