"""Bytes out: answers that are written without a model in between, and refusals as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.refusals import (
    Changed,
    Conflict,
    Forbidden,
    Invalid,
    NotAtOnce,
    NotFound,
    Refusal,
    TooMany,
    Unauthenticated,
    Unavailable,
    cut,
)

_encode = msgspec.json.Encoder().encode

#: The HTTP status of each kind of refusal.
STATUSES: Mapping[type[Refusal], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Changed: 412,
    NotAtOnce: 409,
    TooMany: 429,
    Unavailable: 503,
}


#: The name, in a request's scope, of the reason for an answer that is no good one.
REASON = "tinycdp.reason"


class Ready(Response):
    """An answer whose body and headers are sent as they are. `reason` is for the log: why it is no good one."""

    reason: str | None = None

    def __init__(self, body: bytes, status: int, raw_headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = raw_headers
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, and leaves the reason with the request."""
        if self.reason is not None:
            scope[REASON] = self.reason
        await super().__call__(scope, receive, send)


def json_answer(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None, reason: str | None = None
) -> Response:
    """An answer with this value as JSON."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    answer = json_text(_encode(body), raw, status)
    answer.reason = reason
    return answer


def json_text(text: bytes, headers: Sequence[tuple[bytes, bytes]] = (), status: int = 200) -> Ready:
    """An answer with this JSON text. `headers` are sent as they are, after length and type."""
    return Ready(
        text, status, [(b"content-length", b"%d" % len(text)), (b"content-type", b"application/json"), *headers]
    )


def refusal_answer(refusal: Refusal) -> Response:
    """A refusal as an answer, with Retry-After where trying again helps."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if isinstance(refusal, TooMany) and refusal.retry_after_s is not None:
        headers["X-RateLimit-Reset"] = str(refusal.retry_after_s)  # older browser libraries read seconds from here
    if isinstance(refusal, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return json_answer(refusal_body(refusal), STATUSES[type(refusal)], headers, reason_of(refusal))


def reason_of(refusal: Refusal) -> str | None:
    """What the log says of a part that is away: the message, and what lies behind it. None for a caller's own fault."""
    if not isinstance(refusal, Unavailable):
        return None
    behind = refusal.why or (type(refusal.__cause__).__name__ if refusal.__cause__ is not None else None)
    return refusal.message if behind in (None, refusal.message) else f"{refusal.message}: {behind}"


def refusal_body(refusal: Refusal) -> dict[str, Any]:
    """The body of a refusal: `{success: false, code, message, details}`. The value in `details` is cut."""
    details = refusal.details
    if details is not None and isinstance(value := details.get("value"), str):
        details = details | {"value": cut(value)}
    return {"success": False, "code": refusal.code, "message": refusal.message, "details": details}
