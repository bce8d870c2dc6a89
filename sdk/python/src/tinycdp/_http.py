"""Requests as this package makes them, and answers as it reads them: the one place, with `client` and `async_client`,
that knows the HTTP library. Its types stand in no public signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx2

from ._answers import Verdict, unanswered, verdict


def _version() -> str:
    try:
        return version("tinycdp")
    except PackageNotFoundError:
        return "0"


USER_AGENT = f"tinycdp-python/{_version()}"


@dataclass(frozen=True)
class Reply:
    """An answer: status, the headers that matter, and the body."""

    status: int
    retry_after: str | None
    etag: str | None
    cache_control: str | None
    body: bytes

    def verdict(self) -> Verdict:
        """What it means for a batch."""
        return verdict(self.status, self.retry_after, self.body)


def reply_of(response: httpx2.Response) -> Reply:
    """The answer that the library read."""
    headers = response.headers
    return Reply(
        response.status_code,
        headers.get("retry-after"),
        headers.get("etag"),
        headers.get("cache-control"),
        response.content,
    )


def headers_of(key: str | None, *, if_none_match: str | None = None) -> dict[str, str]:
    """The headers of a request with this key."""
    headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if if_none_match is not None:
        headers["If-None-Match"] = if_none_match
    return headers


def client_arguments(url: str, timeout_s: float) -> dict[str, Any]:
    """What the library's clients are made with. No redirects: a key goes nowhere but to the address that was given."""
    return {
        "base_url": url,
        "timeout": httpx2.Timeout(timeout_s),
        "follow_redirects": False,
        "limits": httpx2.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=4.0),
    }


#: The server cannot have seen the request.
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.ProxyError,
)
#: Whatever else may go wrong on the way.
FAILED = (httpx2.RequestError, httpx2.InvalidURL, OSError)


def verdict_of_error(error: Exception) -> Verdict:
    """The verdict of a batch that got no answer."""
    return unanswered(reason_of(error), was_sent=not isinstance(error, NOT_SENT))


def reason_of(error: Exception) -> str:
    """Why there was no answer, in few words, without the address."""
    return f"no answer ({type(error).__name__})"
