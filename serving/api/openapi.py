"""The OpenAPI document: what the framework derives from the routes, corrected where it cannot know better.

Keys become security schemes instead of parameters. A request that does not fit is 400 and not 422. Bodies that are
read by hand get their schemas. `tests/protocols/test_openapi.py` asks a live API for everything that the document says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.api.body_schemas import PARAMETERS, SCHEMAS, UNREAD, Schema, bodies
from serving.api.dependencies import ERROR_IN_JSON
from serving.api.permissions import permission
from serving.settings import Settings

SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as user name, without a password"},
    "query": {"type": "apiKey", "in": "query", "name": "apiKey"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

#: The text above the list of calls.
ABOUT = """Send events, ask for decisions, keep definitions.

Each call takes a key, `Authorization: Bearer <key>` or `?apiKey=<key>`: a write key sends events, a read key asks for
decisions, a profile key also reads a user's traits, a viewer's key also sees what admins see and changes nothing, an
admin key does everything; a call's 403 names its kinds. A refusal is `{success: false, code,
message, details}` and names the field, the value and the remedy; after 429 and 503 the same request may be sent again
when `Retry-After` is over, and counts once. A path that takes events may end in a slash, and its body is read as JSON
whatever its Content-Type says."""

#: The ways to send a key, by the beginning of a path; the first beginning that fits counts. Other paths need no key.
KEYS: dict[str, tuple[str, ...]] = {
    "/v1/projects/": (),
    "/v1/m": (),
    "/v1/stream/": (),
    "/v1/admin/": ("bearer", "query"),
    "/metrics": ("bearer", "query"),
    "/v1/export/": ("bearer", "query"),
    "/v1/decide": ("bearer", "query"),
    "/v1/users/": ("bearer", "query"),
    "/ofrep/": ("bearer", "header"),
    "/v1/": ("bearer", "basic", "query"),
}

#: Names of keys, which the framework takes for parameters.
_KEY_PARAMETERS = frozenset({"authorization", "apikey"})


def documents(app: FastAPI, settings: Settings) -> Callable[[], dict[str, Any]]:
    """A function that gives the document of this application. The document is made at the first call."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            derived = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
            body_schemas = bodies(settings)
            for path, method, operation in _operations(derived):
                _complete(path, method, operation, body_schemas)
            components = derived.setdefault("components", {})
            components["securitySchemes"] = SCHEMES
            components["schemas"] = components.get("schemas", {}) | SCHEMAS
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            app.openapi_schema = derived
        return app.openapi_schema

    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any], body_schemas: dict[str, Schema]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if method == "delete" and _is_empty(responses.get("200", {})):
        del responses["200"]["content"]
    parameters = [
        parameter for parameter in operation.get("parameters", []) if parameter["name"].lower() not in _KEY_PARAMETERS
    ]
    declared = {parameter["name"] for parameter in parameters}
    by_hand = _path_parameters(path) + PARAMETERS.get((method, path), [])
    parameters += [parameter for parameter in by_hand if parameter["name"] not in declared]
    if parameters:
        operation["parameters"] = parameters
    else:
        operation.pop("parameters", None)
    if path in body_schemas and method == "post":
        content = {"application/json": {"schema": body_schemas[path]}}
        operation["requestBody"] = {"required": path not in UNREAD, "content": content}
    schemes = next((KEYS[beginning] for beginning in KEYS if path.startswith(beginning)), ())
    if schemes:
        operation["security"] = [{scheme: []} for scheme in schemes]
    kinds = " or ".join(permission(method.upper(), path).kinds)
    keyed = _KEYED | {"403": f"The key is of another kind than {kinds}."}
    for status, description in (_ANY | keyed if schemes else _ANY).items():
        response = responses.setdefault(status, {"description": description, **ERROR_IN_JSON})
        if schemes and status in ("429", "503"):
            response.setdefault("headers", _RETRY_AFTER)
    operation["responses"] = dict(sorted(responses.items()))


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [{"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in names]


def _is_empty(response: dict[str, Any]) -> bool:
    return response.get("content", {}).get("application/json") == {"schema": {}}


#: Refusals of any call.
_ANY = {
    "400": "The request is not accepted; details name the field, the value and the remedy.",
    "500": "A mistake of ours; the log has where, under the answer's X-Request-Id.",
    "503": "A part is away or being restored; Retry-After says when to ask again.",
}

#: Refusals of any call with a key.
_KEYED = {
    "401": "No key, or an unknown one.",
    "429": "More than the key may ask for, or than can be taken now; Retry-After says when to ask again.",
}

_RETRY_AFTER = {"Retry-After": {"description": "in whole seconds", "schema": {"type": "integer", "minimum": 1}}}
