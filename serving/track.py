"""From what a client sends to accepted events: validate, name the id, and hand over to the store.

Pure until `ingest`: `accept` turns one raw event into an `Accepted` or raises an `Invalid` that names the field, the
value and the remedy. In a batch the good events stand whatever the others are.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from expressions.properties import event_fields
from expressions.values import SUMMED_MAX, instant_ms
from serving.accepted import Accepted
from serving.ids import routed
from serving.refusals import Invalid, invalid

EVENT_KINDS = ("track", "identify", "page", "screen")
ID_BYTES_MAX = 256
NAME_CHARACTERS_MAX = 200
MESSAGE_ID_CHARACTERS_MAX = 100
PROPERTIES_MAX = 512
NESTING_MAX = 16
#: S8
ATTRIBUTES_MAX = 256
ATTRIBUTE_BYTES_MAX = 8 * 1024

#: page and screen events count under these names, as audience builders elsewhere call them
NAMES_OF_KINDS = {"page": "Page Viewed", "screen": "Screen Viewed"}

_TIMESTAMP_MESSAGE = "Invalid timestamp format. Use ISO 8601 format (e.g., '2023-01-01T12:00:00Z')"


def _identifier_message(kind: str) -> str:
    if kind == "identify":
        return "At least one identifier (deviceId, userId, or externalId) is required"
    return "At least one identifier (userId, deviceId, or externalId) is required"


def identifier(raw: Mapping[str, Any], *fields: str) -> str | None:
    """The first of these fields that holds an id; numbers become text, blanks are none. Raises `Invalid`."""
    for name in fields:
        value = raw.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise invalid(name, value, "send a string")
        text = str(value)
        if len(text.encode("utf-8", "surrogatepass")) > ID_BYTES_MAX:
            raise invalid(name, text, f"send at most {ID_BYTES_MAX} bytes")
        if not text.strip():
            continue
        _require_text(name, text)
        return text
    return None


def _require_text(name: str, text: str) -> None:
    """Text that has no UTF-8 form (lone surrogates) cannot be stored; nor can it come from valid JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(name, text, "send valid Unicode") from None


def timestamp_ms(raw: Mapping[str, Any]) -> int | None:
    """The client's time in UTC ms, from `timestamp` or `ts`: ISO 8601 text or epoch milliseconds; None if absent."""
    name = "timestamp" if raw.get("timestamp") is not None else "ts"
    value = raw.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        found = instant_ms(value.strip())
        if found is None:
            found = _other_iso_ms(value.strip())
        if found is not None and abs(found) < 2**47:
            return found
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**47:
        return math.floor(value)
    raise invalid(name, value, "use ISO 8601, as 2023-01-01T12:00:00Z", _TIMESTAMP_MESSAGE)


def _other_iso_ms(text: str) -> int | None:
    """The further ISO 8601 forms that the standard library reads, such as 20230101T120000Z; a bare year is none."""
    if len(text) < 8:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return math.floor(aware.timestamp() * 1000)


def _object(raw: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    for name in fields:
        value = raw.get(name)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise invalid(name, value, "send a JSON object")
        _check_tree(name, value, NESTING_MAX, [PROPERTIES_MAX])
        return value
    return {}


def _check_tree(place: str, value: Any, depth: int, left: list[int]) -> None:
    """Bounds on depth and count, and no number that is not finite (S5)."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise invalid(place, value, "send a finite number")
    elif isinstance(value, int):
        if not isinstance(value, bool) and abs(value) >= 2**1023:
            raise invalid(place, "a number that is too large", "send a number within 64-bit floating point")
    elif isinstance(value, str):
        _require_text(place, value)
    elif isinstance(value, (dict, list)):
        if depth == 0:
            raise invalid(place, "nested too deeply", f"nest at most {NESTING_MAX} levels")
        left[0] -= len(value) if isinstance(value, dict) else 0
        if left[0] < 0:
            raise invalid(place, f"more than {PROPERTIES_MAX} names", f"send at most {PROPERTIES_MAX} in one event")
        items = value.items() if isinstance(value, dict) else ((str(index), item) for index, item in enumerate(value))
        for name, item in items:
            if len(name) > NAME_CHARACTERS_MAX:
                raise invalid(place, name, f"name it in at most {NAME_CHARACTERS_MAX} characters")
            _check_tree(f"{place}.{name}", item, depth - 1, left)


@dataclass(frozen=True)
class Limits:
    """What the definitions ask of events: per event name the properties that are summed."""

    summed: Mapping[str, frozenset[str]] = field(default_factory=dict)


def accept(raw: Mapping[str, Any], limits: Limits, kind: str | None = None) -> Accepted:
    """One raw event, checked. `kind` where the path says it, else the event's own `type`.

    Unknown fields are ignored. Without `messageId` the event gets an id of its own, so it is never a duplicate.
    Raises `Invalid`.
    """
    if not isinstance(raw, dict):
        raise invalid("event", raw, "send a JSON object")
    kind = kind or raw.get("type")
    if kind not in EVENT_KINDS:
        raise invalid("type", kind, f"use one of {', '.join(EVENT_KINDS)}")
    user_id = identifier(raw, "userId", "externalId")
    anonymous_id = identifier(raw, "anonymousId", "deviceId")
    if user_id is None and anonymous_id is None:
        raise Invalid(_identifier_message(kind), {"field": "userId", "value": None, "remedy": "send one of them"})
    name: str | None = None
    if kind == "track":
        name = raw.get("event")
        if not isinstance(name, str) or not name.strip():
            raise invalid("event", name, "name what happened", "Event name is required and cannot be empty")
        if len(name) > NAME_CHARACTERS_MAX:
            raise invalid("event", name, f"use at most {NAME_CHARACTERS_MAX} characters")
        _require_text("event", name)
    else:
        name = NAMES_OF_KINDS.get(kind)
    original_ts = timestamp_ms(raw)
    properties = _object(raw, "properties", "props") if kind != "identify" else {}
    traits = _object(raw, "traits") if kind == "identify" else {}
    if kind == "identify":
        _check_attributes(traits)
    elif name is not None:
        _check_summed(name, properties, limits)
    return Accepted(
        event_id=_message_id(raw),
        kind=kind,
        id=routed(user_id, anonymous_id),
        user_id=user_id,
        anonymous_id=anonymous_id,
        name=name,
        original_ts=original_ts,
        properties=properties,
        traits=traits,
        context=_object(raw, "context"),
    )


def _message_id(raw: Mapping[str, Any]) -> str:
    value = raw.get("messageId")
    if value is None or value == "":
        return str(uuid.uuid4())
    if not isinstance(value, str) or len(value) > MESSAGE_ID_CHARACTERS_MAX:
        raise invalid("messageId", value, f"send a string of at most {MESSAGE_ID_CHARACTERS_MAX} characters")
    _require_text("messageId", value)
    return value


def _check_attributes(traits: Mapping[str, Any]) -> None:
    if len(traits) > ATTRIBUTES_MAX:
        raise invalid("traits", f"{len(traits)} keys", f"send at most {ATTRIBUTES_MAX} keys")
    size = len(repr(traits).encode("utf-8", "surrogatepass"))
    if size > ATTRIBUTE_BYTES_MAX:
        raise invalid("traits", f"{size} bytes", f"keep a profile within {ATTRIBUTE_BYTES_MAX} bytes")


def _check_summed(name: str, properties: Mapping[str, Any], limits: Limits) -> None:
    summed = limits.summed.get(name)
    if not summed:
        return
    fields = event_fields(properties)
    for dotted in summed:
        value = fields.get(dotted)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) > SUMMED_MAX:
            raise invalid(f"properties.{dotted}", value, "a trait sums it: send at most 10^12 either way")
