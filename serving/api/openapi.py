"""The OpenAPI document: what the framework derives from the routes, put right where it cannot know.

Keys are security schemes instead of parameters, a request that does not fit is 400 and not 422, and bodies that are
read by hand are described. `tests/protocols/test_openapi.py` asks a live API for everything that stands here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.api.body_schemas import BODIES, FORGOTTEN, QUERIES, SCHEMAS

SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as user name, without a password"},
    "query": {"type": "apiKey", "in": "query", "name": "apiKey"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

#: What stands above the list of calls.
ABOUT = """Send events, ask for decisions, keep definitions.

Each call takes a key, `Authorization: Bearer <key>` or `?apiKey=<key>`: a write key sends events, a read key asks for
decisions, an admin key does everything. A refusal is `{success: false, code, message, details}` and names the field,
the value and the remedy; after 429 and 503 the same request may be sent again when `Retry-After` is over, and counts
once. A path that takes events may end in a slash, and its body is read as JSON whatever its Content-Type says."""

#: By how a path begins, the first that fits: the ways to send its key. Paths that begin with none of them need no key.
KEYS: dict[str, tuple[str, ...]] = {
    "/v1/projects/": (),
    "/v1/m": (),
    "/v1/admin/": ("bearer", "query"),
    "/metrics": ("bearer", "query"),
    "/v1/export/": ("bearer", "query"),
    "/v1/decide": ("bearer", "query"),
    "/v1/users/": ("bearer", "query"),
    "/ofrep/": ("bearer", "header"),
    "/v1/": ("bearer", "basic", "query"),
}

#: What the framework takes for parameters and is a key.
_KEY_PARAMETERS = frozenset({"authorization", "apikey"})

_ERROR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}}


def documents(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What answers with the document of this application, made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
            for path, method, operation in _operations(found):
                _complete(path, method, operation)
            components = found.setdefault("components", {})
            components["securitySchemes"] = SCHEMES
            components["schemas"] = components.get("schemas", {}) | SCHEMAS
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            app.openapi_schema = found
        return app.openapi_schema

    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if method == "delete" and _says_nothing(responses.get("200", {})):
        del responses["200"]["content"]
    parameters = [one for one in operation.get("parameters", []) if one["name"].lower() not in _KEY_PARAMETERS]
    declared = {one["name"] for one in parameters}
    parameters += [one for one in _in_path(path) + QUERIES.get((method, path), []) if one["name"] not in declared]
    if parameters:
        operation["parameters"] = parameters
    else:
        operation.pop("parameters", None)
    if path in BODIES and method == "post":
        content = {"application/json": {"schema": BODIES[path]}}
        operation["requestBody"] = {"required": path not in FORGOTTEN, "content": content}
    ways = next((KEYS[begin] for begin in KEYS if path.startswith(begin)), ())
    if ways:
        operation["security"] = [{scheme: []} for scheme in ways]
    for status, description in (_ANY | _KEYED if ways else _ANY).items():
        response = responses.setdefault(status, {"description": description, **_ERROR})
        if ways and status in ("429", "503"):
            response.setdefault("headers", _RETRY_AFTER)
    operation["responses"] = dict(sorted(responses.items()))


def _in_path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [{"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in names]


def _says_nothing(response: dict[str, Any]) -> bool:
    return response.get("content", {}).get("application/json") == {"schema": {}}


#: What any call may answer.
_ANY = {
    "400": "What was sent is not accepted; details name the field, the value and the remedy.",
    "500": "A mistake of ours; the log has where, under the answer's X-Request-Id.",
    "503": "A part is away or being restored; Retry-After says when to ask again.",
}

#: What any call with a key may answer.
_KEYED = {
    "401": "No key, or one that is not known.",
    "403": "The key is of another kind.",
    "429": "More than the key may ask for, or than can be taken now; Retry-After says when to ask again.",
}

_RETRY_AFTER = {"Retry-After": {"description": "in whole seconds", "schema": {"type": "integer", "minimum": 1}}}
