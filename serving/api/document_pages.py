"""The OpenAPI document as it is served: as JSON, and as a plain page that asks no other host for anything.

Both are made once, before a process takes requests: to make them takes far longer than an answer.
"""

from __future__ import annotations

from hashlib import blake2b
from html import escape
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.http.answers import Ready
from serving.http.conditions import client_has

#: The page runs no script and loads nothing.
_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "summary{cursor:pointer}p{white-space:pre-line}code{font-size:.95em}"
)


class _Page:
    """One text with its tag, answered as bytes."""

    def __init__(self, text: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.tag = f'"{blake2b(text, digest_size=16).hexdigest()}"'
        self.text = text
        self.content_type = content_type
        self.kept = [(b"etag", self.tag.encode()), (b"cache-control", b"no-cache"), *headers]

    def answer(self, request: Request) -> Response:
        # Each answer has a list of its own: what stands before the routes adds headers to it.
        if client_has(request.headers.get("if-none-match"), self.tag):
            return Ready(b"", 304, list(self.kept))
        length = (b"content-length", b"%d" % len(self.text))
        return Ready(self.text, 200, [length, (b"content-type", self.content_type), *self.kept])


def serve_document(app: FastAPI) -> None:
    """Adds `/openapi.json` and `/docs` to the application."""

    async def document(request: Request) -> Response:
        return pages(app)[0].answer(request)

    async def page(request: Request) -> Response:
        return pages(app)[1].answer(request)

    app.add_route("/openapi.json", document, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)


def pages(app: FastAPI) -> tuple[_Page, _Page]:
    """The document as JSON and as a page, made at the first call."""
    made: tuple[_Page, _Page] | None = getattr(app.state, "document_pages", None)
    if made is None:
        document = app.openapi()
        made = (
            _Page(msgspec.json.encode(document), b"application/json"),
            _Page(_html(document).encode(), b"text/html; charset=utf-8", (b"content-security-policy", _POLICY)),
        )
        app.state.document_pages = made
    return made


def _html(document: dict[str, Any]) -> str:
    """Every call with what it does, what it takes and what it answers."""
    calls = "".join(
        _call(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    title = escape(document["info"]["title"])
    about = escape(document["info"].get("description", ""))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{about}</p>"
        f'<p>The same for programs, with all schemas: <a href="openapi.json">openapi.json</a></p>{calls}</html>'
    )


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{escape(parameter['name'])}</code> in the {escape(parameter['in'])}"
        f"{': ' + escape(parameter['description']) if 'description' in parameter else ''}</li>"
        for parameter in operation.get("parameters", ())
    )
    answers = "".join(
        f"<li><code>{escape(status)}</code> {escape(response.get('description', ''))}</li>"
        for status, response in operation["responses"].items()
    )
    return (
        f"<details><summary><code>{method.upper()} {escape(path)}</code></summary>"
        f"<p>{escape(operation.get('description', ''))}</p><ul>{parameters}</ul><ul>{answers}</ul></details>"
    )
