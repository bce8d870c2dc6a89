"""Bytes out: answers written without a model in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from serving.refusals import Refusal

_encode = msgspec.json.Encoder().encode


class Ready(Response):
    """An answer whose headers are as they are sent."""

    def __init__(self, body: bytes, status: int, raw_headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = raw_headers
        self.background = None


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, ready to send."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return json_text(_encode(body), raw, status)


def json_text(text: bytes, headers: Sequence[tuple[bytes, bytes]] = (), status: int = 200) -> Response:
    """The same of a body that is encoded, and headers as they are sent."""
    return Ready(
        text, status, [(b"content-length", b"%d" % len(text)), (b"content-type", b"application/json"), *headers]
    )


def refusal_answer(refusal: Refusal) -> Response:
    """A refusal as an answer, with Retry-After where trying again helps."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 429 and refusal.retry_after_s is not None:
        headers["X-RateLimit-Reset"] = str(refusal.retry_after_s)  # older browser libraries read seconds from here
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_answer(refusal.body(), refusal.status, headers)
