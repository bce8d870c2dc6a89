"""The check of one event: `accept` turns what a client sent into an `Accepted`, or raises `Invalid`.

    kind, name  →  ids  →  objects within bounds  →  summed properties  →  event time  →  Accepted

A refusal names the field, the value and the remedy. Pure, except that an event without an id gets a random one. Each
event is checked by itself, so the good ones of a batch stand whatever the others are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from expressions.rules.properties import event_fields
from expressions.rules.values import SUMMED_MAX
from serving.ids import (
    ANONYMOUS_FIELDS,
    EMAIL_FIELDS,
    USER_FIELDS,
    checked_record,
    digits,
    identifier,
    ids_in,
    prefixed,
    require_text,
    routed,
)
from serving.ingest.event_time import event_time
from serving.ingest.message_ids import made_id
from serving.refusals import Invalid, invalid
from serving.store.logged_event import Accepted

EVENT_KINDS = ("track", "identify", "page", "screen", "group", "alias")
NAME_CHARACTERS_MAX = 200
MESSAGE_ID_CHARACTERS_MAX = 99
PROPERTIES_MAX = 512
NESTING_MAX = 16
#: Bounds of one identify (S8).
ATTRIBUTES_MAX = 256
ATTRIBUTE_BYTES_MAX = 8 * 1024

#: The remedy for a number that is too large for a sum. Its field is a property that an admin's definition names.
SUMMED_REMEDY = "a trait sums it: send at most 10^12 either way"
#: The fields of an event that have a meaning. Clients make up all other names in it.
FIELDS = frozenset(
    (
        *("body", "type", "event", "messageId", "name", "category", "groupId", "previousId"),
        *(*USER_FIELDS, *ANONYMOUS_FIELDS, *EMAIL_FIELDS),
        *("timestamp", "ts", "originalTimestamp", "sentAt", "context", "properties", "props", "traits"),
    )
)

#: The names under which page and screen events count, as audience builders elsewhere call them.
NAMES_OF_KINDS = {"page": "Page Viewed", "screen": "Screen Viewed"}


@dataclass(frozen=True)
class Limits:
    """The bounds that definitions set: per event name the properties that are summed, and so bounded (S6)."""

    summed: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Envelope:
    """What a request says of all of its events: when it was received (UTC ms), when it was sent, their context, and the
    label of the key that it came with.
    """

    received_ms: int = 0
    sent_at: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)
    key_label: str | None = None


NO_ENVELOPE = Envelope()


def accept(
    raw: Mapping[str, Any], limits: Limits, kind: str | None = None, envelope: Envelope = NO_ENVELOPE
) -> Accepted:
    """The event that a client sent, checked. Its kind is `kind` where the path says it, else its own `type`.

    Unknown fields are ignored. Without `messageId` the event gets an id of its own, so it is never a duplicate.
    Raises `Invalid`.
    """
    if not isinstance(raw, dict):
        raise invalid("event", raw, "send a JSON object")
    kind = kind or raw.get("type")
    if kind not in EVENT_KINDS:
        raise invalid("type", kind, f"use one of {', '.join(EVENT_KINDS)}")
    name = _event_name(raw) if kind == "track" else NAMES_OF_KINDS.get(kind)
    user_id, anonymous_id, email_hash = ids_in(raw)
    if kind == "alias":
        anonymous_id = _previous(raw, user_id, anonymous_id)
    if user_id is None and anonymous_id is None and email_hash is None:
        raise Invalid(_identifier_message(kind), {"field": "userId", "value": None, "remedy": "send one of them"})
    context = _context(raw, envelope)
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    match kind:
        case "track":
            properties = checked_object(raw, "properties", "props")
        case "page" | "screen":
            properties = _named(raw, checked_object(raw, "properties", "props"))
        case "identify":
            # Some clients send the attributes of an identify in its context alone.
            traits = checked_object(raw, "traits") or checked_object(context, "traits")
            _check_attributes(traits)
        case "group":
            properties = {"groupId": _group(raw)}
            traits = checked_object(raw, "traits")
    if name is not None:
        check_summed(name, properties, limits)
    at = event_time(raw, envelope.sent_at, envelope.received_ms)
    if at.clock is not None:
        context = {**context, "clock": at.clock}
    return Accepted(
        event_id=_message_id(raw),
        kind=kind,
        id=routed(user_id, anonymous_id, email_hash),
        user_id=user_id,
        anonymous_id=anonymous_id,
        name=name,
        original_ts=at.ms,
        properties=properties,
        traits=traits,
        context=context,
        email_hash=email_hash,
        key_label=envelope.key_label,
    )


def _identifier_message(kind: str) -> str:
    if kind == "identify":
        return "At least one identifier (deviceId, userId, or externalId) is required"
    return "At least one identifier (userId, deviceId, or externalId) is required"


def _event_name(raw: Mapping[str, Any]) -> str:
    name = raw.get("event")
    if not isinstance(name, str) or not name.strip():
        raise invalid("event", name, "name what happened", "Event name is required and cannot be empty")
    if len(name) > NAME_CHARACTERS_MAX:
        raise invalid("event", name, f"use at most {NAME_CHARACTERS_MAX} characters")
    require_text("event", name)
    return name


def _named(raw: Mapping[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """The properties of a page or a screen, together with `name` and `category`, which clients send beside them."""
    beside = {key: raw[key] for key in ("name", "category") if raw.get(key) is not None and key not in properties}
    if not beside:
        return properties
    for key, value in beside.items():
        if not isinstance(value, str):
            raise invalid(key, value, "send a string")
        require_text(key, value)
    return {**properties, **beside}


def _group(raw: Mapping[str, Any]) -> str:
    group_id = identifier(raw, "groupId")
    if group_id is None:
        raise invalid("groupId", None, "name the group", "groupId is required")
    return group_id


def _previous(raw: Mapping[str, Any], user_id: str | None, anonymous_id: str | None) -> str:
    """The id that the user of an alias had before."""
    named = raw.get("previousId")
    if isinstance(named, str) and prefixed(named) is not None:
        checked_record("previousId", named)
        previous: str | None = named
    else:
        previous = identifier(raw, "previousId") or anonymous_id
    if user_id is None:
        raise invalid("userId", None, "name the user that the previous id belongs to", "userId is required")
    if previous is None:
        raise invalid("previousId", None, "name the id that the user had before", "previousId is required")
    return previous


def _context(raw: Mapping[str, Any], envelope: Envelope) -> dict[str, Any]:
    """The context of the event, over that of its request."""
    context = checked_object(raw, "context")
    return {**envelope.context, **context} if envelope.context else context


def _message_id(raw: Mapping[str, Any]) -> str:
    value = raw.get("messageId")
    if value is None or value == "":
        return made_id()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = digits("messageId", value)
    if not isinstance(value, str) or len(value) > MESSAGE_ID_CHARACTERS_MAX:
        raise invalid("messageId", value, f"send a string of at most {MESSAGE_ID_CHARACTERS_MAX} characters")
    require_text("messageId", value)
    return value


def checked_object(raw: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """The object in the first of these fields that has one; an empty one where none has.

    Raises `Invalid` for a field that holds anything else, or an object beyond the bounds.
    """
    first: dict[str, Any] | None = None
    for name in fields:
        value = raw.get(name)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise invalid(name, value, "send a JSON object")
        _check_tree(name, value, NESTING_MAX, [PROPERTIES_MAX])
        first = value if first is None else first
    return {} if first is None else first


def _check_tree(place: str, tree: dict[str, Any] | list[Any], depth: int, names_left: list[int]) -> None:
    """Raises `Invalid` beyond the bounds on depth and names, and for a number that is not finite (S5).

    `names_left` is one number, which all levels count down. Places of values are written out for refusals alone.
    """
    if depth == 0:
        raise invalid(place, "nested too deeply", f"nest at most {NESTING_MAX} levels")
    if isinstance(tree, dict):
        names_left[0] -= len(tree)
        if names_left[0] < 0:
            raise invalid(place, f"more than {PROPERTIES_MAX} names", f"send at most {PROPERTIES_MAX} in one event")
        for name in tree:
            if len(name) > NAME_CHARACTERS_MAX:
                raise invalid(place, name, f"name it in at most {NAME_CHARACTERS_MAX} characters")
    items: Iterable[tuple[str | int, Any]] = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for at, value in items:
        kind = type(value)
        if kind is str:
            if not value.isascii():
                require_text(f"{place}.{at}", value)
        elif kind is float:
            if not math.isfinite(value):
                raise invalid(f"{place}.{at}", value, "send a finite number")
        elif kind is int:
            if value.bit_length() > 1_023:
                raise invalid(f"{place}.{at}", "too large a number", "send a number within 64-bit floating point")
        elif kind is dict or kind is list:
            _check_tree(f"{place}.{at}", value, depth - 1, names_left)


def _check_attributes(traits: Mapping[str, Any]) -> None:
    if len(traits) > ATTRIBUTES_MAX:
        raise invalid("traits", f"{len(traits)} keys", f"send at most {ATTRIBUTES_MAX} keys")
    size = len(msgspec.json.encode(traits))
    if size > ATTRIBUTE_BYTES_MAX:
        raise invalid("traits", f"{size} bytes of JSON", f"send at most {ATTRIBUTE_BYTES_MAX} at once")


def check_summed(name: str, properties: Mapping[str, Any], limits: Limits) -> None:
    """Raises `Invalid` for a number in a summed property that is too large (S6)."""
    summed = limits.summed.get(name)
    if not summed:
        return
    for dotted in summed:
        value = event_fields(properties).get(dotted) if "." in dotted else properties.get(dotted)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) > SUMMED_MAX:
            raise invalid(f"properties.{dotted}", value, SUMMED_REMEDY)
