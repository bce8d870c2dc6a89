"""Bytes in and out: bodies read with a bound, answers written without a model in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving.refusals import Invalid, Refusal, invalid

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, ready to send."""
    return Response(_encode(body), status, headers, "application/json")


def refused(refusal: Refusal) -> Response:
    """A refusal as an answer, with Retry-After where trying again helps."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_answer(refusal.body(), refusal.status, headers)


async def json_body(request: Request, bytes_max: int) -> Any:
    """The JSON of a body, whatever its Content-Type. Raises `Invalid` for one that is too long or no JSON."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise invalid("body", f"over {bytes_max} bytes", "send fewer events in one request")
        parts.append(part)
    try:
        return _decode(b"".join(parts))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"unable to decode request body: {error}",
            {"field": "body", "value": repr(b"".join(parts)[:50]), "remedy": "send JSON in UTF-8"},
        ) from None
    except RecursionError:
        raise invalid("body", "nested too deeply", "send flatter JSON") from None
