"""JSON schemas of what the API reads by hand, for the OpenAPI document: bodies, and parameters beside them.

A schema accepts what the reading code accepts, and nothing else. Each bound comes from the code that holds it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from serving.api.decide import FLAGS_MAX
from serving.api.segment import BATCH_PATHS, KINDS_OF_PATHS
from serving.ids import ID_CHARACTERS_MAX, ID_KINDS, ID_NUMBER_MAX
from serving.ingest.accept import (
    ATTRIBUTES_MAX,
    EVENT_KINDS,
    MESSAGE_ID_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    NESTING_MAX,
    PROPERTIES_MAX,
)
from serving.ingest.event_time import INSTANT_MAX_MS, NUMBER_MIN_MS
from serving.settings import Settings

Schema: TypeAlias = dict[str, Any]

# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────

_STRING: Schema = {"type": "string"}
_STRING_OR_NULL: Schema = {"type": ["string", "null"]}
_NUMBER: Schema = {"type": "number", "minimum": -ID_NUMBER_MAX, "maximum": ID_NUMBER_MAX}
#: An id, or none.
_ID: Schema = {"anyOf": [{"type": "string", "maxLength": ID_CHARACTERS_MAX}, _NUMBER, {"type": "null"}]}
#: An id that must be there.
_REQUIRED_ID: Schema = {"anyOf": [{"type": "string", "maxLength": ID_CHARACTERS_MAX, "pattern": r"\S"}, _NUMBER]}
#: An id with its kind before it, which counts for nothing in its length.
_NAMED_ID: Schema = {"type": "string", "pattern": rf"^({'|'.join(ID_KINDS)}):[^\s]{{1,{ID_CHARACTERS_MAX}}}$"}
_EVENT_NAME: Schema = {"type": "string", "pattern": r"\S", "maxLength": NAME_CHARACTERS_MAX}
_PROPERTY_NAME: Schema = {"maxLength": NAME_CHARACTERS_MAX}
_VALUE: Schema = {"$ref": "#/components/schemas/Value"}
_OBJECT: Schema = {
    "type": ["object", "null"],
    "propertyNames": _PROPERTY_NAME,
    "maxProperties": PROPERTIES_MAX,
    "additionalProperties": _VALUE,
}
_TIME: Schema = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": NUMBER_MIN_MS, "maximum": INSTANT_MAX_MS},
        {"type": "null"},
    ],
    "description": "ISO 8601, or milliseconds since 1970; a number before 1990 is refused, as seconds",
}
_SENT_AT: Schema = {"description": "when the client sent it, by the client's clock; ignored if it cannot be read"}

#: Schemas that bodies refer to by name.
SCHEMAS: dict[str, Schema] = {
    "Value": {
        "description": f"any JSON; its objects hold at most {PROPERTIES_MAX} names together, {NESTING_MAX} levels deep",
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "items": _VALUE,
        "propertyNames": _PROPERTY_NAME,
        "additionalProperties": _VALUE,
    }
}

# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

_IDS: dict[str, Schema] = {name: _ID for name in ("userId", "externalId", "anonymousId", "deviceId", "emailHash")}
_EVENT: dict[str, Schema] = {
    **_IDS,
    "messageId": {
        "anyOf": [{"type": "string", "maxLength": MESSAGE_ID_CHARACTERS_MAX}, _NUMBER, {"type": "null"}],
        "description": "the id of the event: a repeat of it is not counted again",
    },
    "timestamp": _TIME,
    "ts": _TIME,
    "originalTimestamp": _TIME,
    "sentAt": _SENT_AT,
    "context": _OBJECT,
}
_PROPERTIES: dict[str, Schema] = {"properties": _OBJECT, "props": _OBJECT}
_VIEW: dict[str, Schema] = {**_PROPERTIES, "name": _STRING_OR_NULL, "category": _STRING_OR_NULL}
_TRAITS: dict[str, Schema] = {"traits": {**_OBJECT, "maxProperties": ATTRIBUTES_MAX}}


def _with_one_of(*names: str) -> list[Schema]:
    """Schemas of objects with an id under one of these names."""
    return [{"required": [name], "properties": {name: _REQUIRED_ID}} for name in names]


_USER = _with_one_of("userId", "externalId")
_DEVICE = _with_one_of("anonymousId", "deviceId")
_ANYBODY = _USER + _DEVICE + _with_one_of("emailHash")
_PREVIOUS_ID: Schema = {"anyOf": [*_ID["anyOf"], _NAMED_ID]}
_PREVIOUS: list[Schema] = [
    {"required": ["previousId"], "properties": {"previousId": {"anyOf": [*_REQUIRED_ID["anyOf"], _NAMED_ID]}}}
]


def _event(required: dict[str, Schema], optional: dict[str, Schema], *any_of: list[Schema]) -> Schema:
    """An event with these fields beside those of all events, which fits one schema of each list."""
    return {
        "type": "object",
        "properties": {**_EVENT, **optional, **required},
        "allOf": [{"anyOf": schemas} for schemas in any_of],
        **({"required": list(required)} if required else {}),
    }


_KINDS: dict[str, Schema] = {
    "track": _event({"event": _EVENT_NAME}, _PROPERTIES, _ANYBODY),
    "identify": _event({}, _TRAITS, _ANYBODY),
    "page": _event({}, _VIEW, _ANYBODY),
    "screen": _event({}, _VIEW, _ANYBODY),
    "group": _event({"groupId": _REQUIRED_ID}, {"traits": _OBJECT}, _ANYBODY),
    "alias": _event({}, {"previousId": _PREVIOUS_ID}, _USER, _PREVIOUS + _DEVICE),
}


def _batch(settings: Settings) -> Schema:
    return {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {
                "type": "array",
                "maxItems": settings.batch_events_max,
                "items": {
                    "description": "an event: the body of its own path, and its `type`; a refused one is named in "
                    "`rejected`, and the others are taken",
                    "examples": [{"type": kind} for kind in EVENT_KINDS],
                },
            },
            "context": {
                "description": "an object, the context of all events; an event's own entries replace it. One that "
                "cannot be taken is left out, and `warnings` says why",
                "examples": [{"locale": "en-GB"}],
            },
            "sentAt": _SENT_AT,
        },
    }


# ── flags ────────────────────────────────────────────────────────────────────────────────────────────────────────

_FLAGS: dict[str, Schema] = {
    "flags": {
        "type": ["array", "null"],
        "maxItems": FLAGS_MAX,
        "items": {"type": "string", "pattern": r"\S", "maxLength": ID_CHARACTERS_MAX},
        "description": "keys of flags; without it all flags are decided",
    },
    "explain": {"type": ["boolean", "null"]},
    "stream": {
        "type": ["boolean", "null"],
        "description": "whether the answer about all flags is to have the address at which a change is told",
    },
}
_OFREP: Schema = {
    "type": "object",
    "properties": {
        "context": {
            "type": ["object", "null"],
            "properties": {
                "targetingKey": {"anyOf": [{"type": ["string", "null"], "maxLength": ID_CHARACTERS_MAX}, _NAMED_ID]},
                "anonymousId": _ID,
                "deviceId": _ID,
            },
            "description": "the user that OpenFeature asks for, and the device; other entries are ignored",
        }
    },
}

# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────

#: Paths whose bodies nobody reads, so that there may be none.
UNREAD = ("/v1/m",)


def bodies(settings: Settings) -> dict[str, Schema]:
    """The schema of each body that is read by hand, by the path that it is posted to."""
    return {
        "/ofrep/v1/evaluate/flags": _OFREP,
        "/ofrep/v1/evaluate/flags/{key}": _OFREP,
        "/v1/decide": {"type": "object", "properties": {**_IDS, **_FLAGS}, "anyOf": _ANYBODY},
        **{f"/v1/{name}": _KINDS[kind] for name, kind in KINDS_OF_PATHS.items()},
        **{f"/v1/{name}": _batch(settings) for name in BATCH_PATHS},
        **{path: {"description": "any JSON"} for path in UNREAD},
    }


def _parameter(name: str, schema: Schema, *, required: bool = False, where: str = "query") -> Schema:
    return {"in": where, "name": name, "required": required, "schema": schema}


_IF_NONE_MATCH = _parameter("If-None-Match", _STRING, where="header")
_USER_ID: Schema = {
    "type": "string",
    "pattern": r"\S",
    "maxLength": ID_CHARACTERS_MAX,
    "description": "externalId, anonymousId, deviceId or emailHash may be sent instead",
}

#: Parameters that are read by hand, by method and path.
PARAMETERS: dict[tuple[str, str], list[Schema]] = {
    ("get", "/v1/decide"): [
        _parameter("userId", _USER_ID, required=True),
        _parameter("flag", {"type": "string", "pattern": r"\S"}, required=True),
        _parameter("explain", _STRING),
        _IF_NONE_MATCH,
    ],
    ("post", "/v1/decide"): [_IF_NONE_MATCH],
    ("post", "/ofrep/v1/evaluate/flags"): [
        _IF_NONE_MATCH,
        _parameter("flagConfigEtag", _STRING),
        _parameter("flagConfigLastModified", _STRING),
    ],
}
