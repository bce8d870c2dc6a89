"""Bytes out: answers written without a model in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from serving.refusals import Refusal

_encode = msgspec.json.Encoder().encode


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, ready to send."""
    return Response(_encode(body), status, headers, "application/json")


def refused(refusal: Refusal) -> Response:
    """A refusal as an answer, with Retry-After where trying again helps."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 429 and refusal.retry_after_s is not None:
        headers["X-RateLimit-Reset"] = str(refusal.retry_after_s)  # older browser libraries read seconds from here
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_answer(refusal.body(), refusal.status, headers)
