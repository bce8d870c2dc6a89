"""Schemas of answers in OFREP 0.3.0, by hand from its OpenAPI document (`service/openapi.yaml`).

One repair: an answer's value is one of several kinds, which the document joins by `oneOf`. An integer is a number as
well, and "no value" fits everything, so no answer with a value is exactly one of them; `anyOf` is what is meant. The
code of a flag that is not known is added to the failures of a bulk answer, where the document's own example has it.
"""

from __future__ import annotations

from typing import Any

_METADATA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "number"}]},
}

_VALUE: dict[str, Any] = {
    "anyOf": [
        {"required": ["value"], "properties": {"value": {"type": kind}}}
        for kind in ("boolean", "string", "integer", "number", "object", "array")
    ]
}

SUCCESS: dict[str, Any] = {
    "type": "object",
    "allOf": [
        {
            "properties": {
                "key": {"type": "string"},
                "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]},
                "variant": {"type": "string"},
                "metadata": _METADATA,
            },
            "required": ["key", "reason"],
        },
        _VALUE,
    ],
}

FAILURE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "key": {"type": "string"},
        "errorCode": {
            "enum": ["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL", "FLAG_NOT_FOUND"],
        },
        "errorDetails": {"type": "string"},
    },
    "required": ["errorCode", "errorDetails"],
}

BULK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "flags": {"type": "array", "items": {"anyOf": [SUCCESS, {**FAILURE, "required": ["key", "errorCode"]}]}},
        "metadata": _METADATA,
    },
    "required": ["flags"],
}
