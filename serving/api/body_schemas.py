"""Bodies that are read by hand, as JSON schemas: what is accepted is what stands here, and the other way round."""

from __future__ import annotations

from typing import Any

from serving.api.segment import BATCH_PATHS, KINDS_OF_PATHS
from serving.ids import ID_CHARACTERS_MAX, ID_NUMBER_MAX
from serving.ingest.accept import (
    ATTRIBUTES_MAX,
    EVENT_KINDS,
    MESSAGE_ID_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    NESTING_MAX,
    PROPERTIES_MAX,
)
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS

_NAMES: dict[str, Any] = {"maxLength": NAME_CHARACTERS_MAX}
_NUMBER: dict[str, Any] = {"type": "number", "minimum": -ID_NUMBER_MAX, "maximum": ID_NUMBER_MAX}
_ID: dict[str, Any] = {"anyOf": [{"type": "string", "maxLength": ID_CHARACTERS_MAX}, _NUMBER, {"type": "null"}]}
_NAMED: dict[str, Any] = {"anyOf": [{"type": "string", "maxLength": ID_CHARACTERS_MAX, "pattern": r"\S"}, _NUMBER]}
_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_VALUE: dict[str, Any] = {"$ref": "#/components/schemas/Value"}
_OBJECT: dict[str, Any] = {
    "type": ["object", "null"],
    "propertyNames": _NAMES,
    "maxProperties": PROPERTIES_MAX,
    "additionalProperties": _VALUE,
}
_TIME: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": INSTANT_MIN_MS, "maximum": INSTANT_MAX_MS},
        {"type": "null"},
    ],
    "description": "ISO 8601, or milliseconds since 1970",
}

_USER = [{"required": ["userId"], "properties": {"userId": _NAMED}}]
_USER += [{"required": ["externalId"], "properties": {"externalId": _NAMED}}]
_DEVICE = [{"required": [name], "properties": {name: _NAMED}} for name in ("anonymousId", "deviceId")]
_EMAIL = [{"required": ["emailHash"], "properties": {"emailHash": _NAMED}}]

_IDS: dict[str, Any] = {
    "userId": _ID,
    "externalId": _ID,
    "anonymousId": _ID,
    "deviceId": _ID,
    "emailHash": _ID,
}
_EVENT: dict[str, Any] = {
    **_IDS,
    "messageId": {
        "anyOf": [{"type": "string", "maxLength": MESSAGE_ID_CHARACTERS_MAX}, _NUMBER, {"type": "null"}],
        "description": "what a repeat is known by",
    },
    "timestamp": _TIME,
    "ts": _TIME,
    "originalTimestamp": _TIME,
    "sentAt": {"description": "when the client sent it, by its own clock, if that can be read"},
    "context": _OBJECT,
}


#: What those bodies refer to.
SCHEMAS: dict[str, dict[str, Any]] = {
    "Value": {
        "description": f"any JSON; its objects hold at most {PROPERTIES_MAX} names together, {NESTING_MAX} levels deep",
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "items": _VALUE,
        "propertyNames": _NAMES,
        "additionalProperties": _VALUE,
    }
}


def _body(needed: dict[str, Any], more: dict[str, Any], *any_of: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**_EVENT, **more, **needed},
        "allOf": [{"anyOf": some} for some in any_of],
        **({"required": list(needed)} if needed else {}),
    }


_PROPERTIES: dict[str, Any] = {"properties": _OBJECT, "props": _OBJECT}
_VIEW: dict[str, Any] = {**_PROPERTIES, "name": _TEXT, "category": _TEXT}
_TRAITS: dict[str, Any] = {"traits": {**_OBJECT, "maxProperties": ATTRIBUTES_MAX}}
_ANYBODY = _USER + _DEVICE + _EMAIL
_EVENT_NAME: dict[str, Any] = {"type": "string", "pattern": r"\S", "maxLength": NAME_CHARACTERS_MAX}
_PREVIOUS = [{"required": ["previousId"], "properties": {"previousId": _NAMED}}]

_ASKED_OF_FLAGS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "context": {
            "type": ["object", "null"],
            "properties": {
                "targetingKey": {"type": ["string", "null"], "maxLength": ID_CHARACTERS_MAX},
                "anonymousId": _ID,
                "deviceId": _ID,
            },
            "description": "whom OpenFeature asks for, and the device; further entries are taken and not looked at",
        }
    },
}

_FLAGS: dict[str, Any] = {
    "flags": {
        "type": ["array", "null"],
        "maxItems": 1_000,
        "items": {"type": "string", "pattern": r"\S", "maxLength": ID_CHARACTERS_MAX},
        "description": "keys of flags; all where it is left out",
    },
    "explain": {"type": ["boolean", "null"]},
}

BODIES: dict[str, dict[str, Any]] = {
    "/ofrep/v1/evaluate/flags": _ASKED_OF_FLAGS,
    "/ofrep/v1/evaluate/flags/{key}": _ASKED_OF_FLAGS,
    "/v1/decide": {"type": "object", "properties": {**_IDS, **_FLAGS}, "anyOf": _ANYBODY},
    "/v1/track": _body({"event": _EVENT_NAME}, _PROPERTIES, _ANYBODY),
    "/v1/identify": _body({}, _TRAITS, _ANYBODY),
    "/v1/page": _body({}, _VIEW, _ANYBODY),
    "/v1/screen": _body({}, _VIEW, _ANYBODY),
    "/v1/group": _body({"groupId": _NAMED}, {"traits": _OBJECT}, _ANYBODY),
    "/v1/alias": _body({}, {"previousId": _ID}, _USER, _PREVIOUS + _DEVICE),
    "/v1/batch": {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {
                "type": "array",
                "maxItems": 2_500,
                "items": {
                    "description": "an event: what its own path takes, and its `type`; one that is not accepted is "
                    "named in `rejected` and leaves the others",
                    "examples": [{"type": kind} for kind in EVENT_KINDS],
                },
            },
            "context": {**_OBJECT, "description": "of all events that do not say otherwise"},
            "sentAt": {"description": "when the client sent it, by its own clock, if that can be read"},
        },
    },
    "/v1/m": {"description": "any JSON"},
}
#: Whose bodies nobody reads, so that there may be none.
FORGOTTEN = ("/v1/m",)
BODIES |= {f"/v1/{name}": BODIES[f"/v1/{kind}"] for name, kind in KINDS_OF_PATHS.items()}
BODIES |= {f"/v1/{name}": BODIES["/v1/batch"] for name in BATCH_PATHS}


def _query(name: str, schema: dict[str, Any], *, required: bool = False, where: str = "query") -> dict[str, Any]:
    return {"in": where, "name": name, "required": required, "schema": schema}


_STRING: dict[str, Any] = {"type": "string"}
_NAMED_USER: dict[str, Any] = {
    "type": "string",
    "pattern": r"\S",
    "maxLength": ID_CHARACTERS_MAX,
    "description": "in its place externalId, anonymousId, deviceId or emailHash do as well",
}

#: Parameters that are read by hand, by method and path.
QUERIES: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("get", "/v1/decide"): [
        _query("userId", _NAMED_USER, required=True),
        _query("flag", {"type": "string", "pattern": r"\S"}, required=True),
        _query("explain", {"type": "string"}),
        _query("If-None-Match", _STRING, where="header"),
    ],
    ("post", "/v1/decide"): [_query("If-None-Match", _STRING, where="header")],
    ("post", "/ofrep/v1/evaluate/flags"): [
        _query("If-None-Match", _STRING, where="header"),
        _query("flagConfigEtag", _STRING),
        _query("flagConfigLastModified", _STRING),
    ],
}
