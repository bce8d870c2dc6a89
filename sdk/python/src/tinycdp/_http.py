"""Requests as this package makes them, and answers as it reads them: the one place that knows how the HTTP library is
used. The others make its clients and hand them on. Its types stand in no public signature.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from ._answers import Verdict, unanswered, verdict
from ._deadline import bounded, ends_within
from .errors import Unreachable


def _version() -> str:
    try:
        return version("tinycdp")
    except PackageNotFoundError:
        return "0"


USER_AGENT = f"tinycdp-python/{_version()}"


@dataclass(frozen=True)
class Ask:
    """A request: method, path with query, headers, and the body if it has one."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes | None = None


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

    def json(self) -> Any:
        """The body, decoded; None if there is none. Raises `Unreachable` for what is no JSON."""
        try:
            return json.loads(self.body) if self.body else None
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"{self.status}, and no JSON") from error

    def decoded(self) -> Any:
        """The body of a refusal, decoded; None if it is no JSON."""
        try:
            return self.json()
        except Unreachable:
            return None


#: A client takes no larger answer. A page of a person's events may be larger, where the `limit` is.
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class TooLarge(httpx2.ReadError):
    """The answer is larger than `ANSWER_BYTES_MAX`."""


def exchange(http: httpx2.Client, ask: Ask, timeout_s: float) -> Reply:
    """The answer to a request. Raises one of `FAILED`, also if the answer takes longer as a whole, or is too large."""
    body = bytearray()
    with (
        ends_within(timeout_s),
        http.stream(ask.method, ask.path, content=ask.content, headers=ask.headers, timeout=timeout_s) as response,
    ):
        for chunk in response.iter_bytes():
            body += chunk
            _bound(body)
    return _reply(response, bytes(body))


async def exchange_async(http: httpx2.AsyncClient, ask: Ask, timeout_s: float) -> Reply:
    """`exchange` for the event loop."""
    body = bytearray()
    try:
        async with (
            asyncio.timeout(timeout_s),
            http.stream(ask.method, ask.path, content=ask.content, headers=ask.headers, timeout=timeout_s) as response,
        ):
            async for chunk in response.aiter_bytes():
                body += chunk
                _bound(body)
    except TimeoutError as error:
        raise httpx2.ReadTimeout("no answer in time") from error
    return _reply(response, bytes(body))


def _bound(body: bytearray) -> None:
    if len(body) > ANSWER_BYTES_MAX:
        raise TooLarge(f"an answer of more than {ANSWER_BYTES_MAX} bytes")


def _reply(response: httpx2.Response, body: bytes) -> Reply:
    headers = response.headers
    return Reply(
        response.status_code, headers.get("retry-after"), headers.get("etag"), headers.get("cache-control"), body
    )


def headers_of(key: str | None, *, if_none_match: str | None = None) -> dict[str, str]:
    """The headers of a request with this key."""
    headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if if_none_match is not None:
        headers["If-None-Match"] = if_none_match
    return headers


def batch_ask(key: str | None, content: bytes) -> Ask:
    """The request that sends a batch."""
    return Ask("POST", "/v1/batch", headers_of(key), content)


def traits_ask(key: str | None, user_id: str | int) -> Ask:
    """The request for a user's traits."""
    return Ask("GET", f"/v1/users/{quote(str(user_id), safe='')}/traits", headers_of(key))


def client_arguments(url: str, timeout_s: float) -> dict[str, Any]:
    """What the library's clients are made with. No redirects: a key goes nowhere but to the address that was given."""
    return {
        "base_url": url,
        "timeout": httpx2.Timeout(timeout_s),
        "follow_redirects": False,
        "limits": httpx2.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=4.0),
    }


def client_of(url: str, timeout_s: float) -> httpx2.Client:
    """A client of the library for an address."""
    return bounded(httpx2.Client(**client_arguments(url, timeout_s)))


@cache
def load() -> None:
    """Imports what the library imports with its first transport, and Python with the first name of a host.

    A child that is forked in the middle of an import never gets the module: its sender would hang. So the thread that
    makes a client does it, and not the one that sends.
    """
    httpx2.HTTPTransport().close()
    codecs.lookup("idna")


#: The server cannot have seen the request.
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.ProxyError,
)
#: Whatever else may go wrong on the way.
FAILED = (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError, OSError)


def verdict_of_error(error: Exception) -> Verdict:
    """The verdict of a batch that got no answer."""
    return unanswered(reason_of(error), was_sent=not isinstance(error, NOT_SENT))


def reason_of(error: Exception) -> str:
    """Why there was no answer, in few words, without the address."""
    return f"no answer ({type(error).__name__})"


#: Bytes of a file that are written at once.
CHUNK_BYTES = 1024 * 1024


def download(client: httpx2.Client, url: str, path: Path) -> None:
    """Writes what stands at an address into a file, whole or not at all. Raises `Unreachable`.

    The address is signed, and may be an object store's: no key is sent there.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with client.stream("GET", url) as response, part.open("wb") as file:
            if response.status_code != 200:
                raise Unreachable(f"the exported file could not be read: {response.status_code}")
            for chunk in response.iter_bytes(CHUNK_BYTES):
                file.write(chunk)
        part.replace(path)
    except FAILED as error:
        raise Unreachable(f"the exported file could not be read: {reason_of(error)}") from error
    finally:
        part.unlink(missing_ok=True)
