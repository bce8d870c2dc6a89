"""Bytes in: request bodies are read and unpacked within a bound, and decoded as JSON whatever their Content-Type says.

Clients send JSON as `text/plain` (a browser then asks no permission first), as a form, gzipped under any type. So the
type is not looked at, and `Content-Encoding` alone says whether a body is gzipped. The bound holds for the bytes on the
wire and for the bytes they unpack to: a kilobyte that unpacks to a gigabyte is given up at the bound. All bodies that
are still on their way have one more bound together, since a client may begin many and end none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request

from serving.refusals import Invalid, Unavailable, invalid

T = TypeVar("T")

#: Bytes of the bodies that are on their way to this process, of all clients together.
ARRIVING_BYTES_MAX = 256 * 1024 * 1024
#: Bytes of a body that are searched in the event loop; more take longer than a moment.
SHORT_BYTES = 16 * 1024
#: Levels of JSON in a body. An event's objects may have fewer (`serving.ingest.accept`).
NESTING_MAX = 32

#: Members of one gzip: clients send one, and each further one costs a copy of the bytes after it.
GZIP_MEMBERS_MAX = 16

#: zlib's windowBits that ask for gzip's header and trailer
_GZIP = 31

_decode = msgspec.json.Decoder().decode


@dataclass
class Arriving:
    """The bytes that this process holds of bodies whose end has not come yet."""

    bytes: int = 0


arriving = Arriving()
#: One body at a time is unpacked for callers whose key is not known yet.
_unpacking = CapacityLimiter(1)


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The bytes of a body, unpacked.

    Raises `Invalid` beyond `bytes_max` and for a body that is not the gzip it claims to be, `Unavailable` while too
    much is on its way, and `ClientDisconnect` when the client leaves.
    """
    is_packed = is_gzip(request)
    body = await _arrived(request, bytes_max)
    return gunzipped(body, bytes_max) if is_packed else body


async def read_beside(request: Request, bytes_max: int, read: Callable[[bytes], T]) -> tuple[bytes, T]:
    """The bytes of a body, unpacked, and what `read` finds in them: for somebody whose key is not known yet.

    Whoever sends packed or long bodies waits for each other, in a thread: nobody else waits for them. Raises as
    `body_of` does.
    """
    is_packed = is_gzip(request)
    body = await _arrived(request, bytes_max)
    if not is_packed and len(body) <= SHORT_BYTES:
        return body, read(body)

    def work() -> tuple[bytes, T]:
        unpacked = gunzipped(body, bytes_max) if is_packed else body
        return unpacked, read(unpacked)

    arriving.bytes += len(body)
    try:
        if arriving.bytes > ARRIVING_BYTES_MAX:
            raise _crowded()
        return await to_thread.run_sync(work, limiter=_unpacking)
    finally:
        arriving.bytes -= len(body)


def is_gzip(request: Request) -> bool:
    """Whether a body is packed. Raises `Invalid` for an encoding that is not taken."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return False
    if encoding not in ("gzip", "x-gzip"):
        raise invalid("Content-Encoding", encoding, "send gzip, or no encoding")
    return True


async def _arrived(request: Request, bytes_max: int) -> bytes:
    """The bytes of a body as they were sent. Raises as `body_of` does."""
    if _declared(request) > bytes_max:
        raise _too_long(bytes_max)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            size += len(part)
            arriving.bytes += len(part)
            if size > bytes_max:
                raise _too_long(bytes_max)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
            if arriving.bytes > ARRIVING_BYTES_MAX:
                raise _crowded()
    finally:
        arriving.bytes -= size


def _declared(request: Request) -> int:
    """The Content-Length; 0 where there is none. The parser lets only digits through."""
    return int(request.headers.get("content-length", "0"))


def gunzipped(packed: bytes, bytes_max: int) -> bytes:
    """The bytes that gzip packed, in one member or several. Unpacks at most a byte beyond `bytes_max`.

    Raises `Invalid` beyond it, beyond `GZIP_MEMBERS_MAX`, and for gzip that is damaged or cut off.
    """
    unpacked = bytearray()
    members = 0
    try:
        while packed:
            members += 1
            if members > GZIP_MEMBERS_MAX:
                raise invalid("body", f"gzip of over {GZIP_MEMBERS_MAX} members", "pack the whole body at once")
            member = zlib.decompressobj(_GZIP)
            unpacked += member.decompress(packed, bytes_max + 1 - len(unpacked))
            if len(unpacked) > bytes_max:
                raise _too_long(bytes_max)
            if not member.eof:
                raise invalid("body", "gzip that ends too early", "send the whole of it")
            packed = member.unused_data
    except zlib.error as error:
        raise invalid("body", f"no gzip: {error}", "send gzip, or leave Content-Encoding out") from None
    return bytes(unpacked)


def json_of(body: bytes | msgspec.Raw) -> Any:
    """The value that JSON text stands for. Raises `Invalid`."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"unable to decode request body: {error}",
            # A body that cannot be read may hold a key anywhere, so none of it is repeated.
            {"field": "body", "value": f"{len(memoryview(body))} bytes", "remedy": "send JSON in UTF-8"},
        ) from None
    except RecursionError:
        raise invalid("body", "nested too deeply", "send flatter JSON") from None


def require_flat(value: Any) -> None:
    """Raises `Invalid` for JSON that nests deeper than the framework, which reads it again, can follow."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(NESTING_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise invalid("body", "nested too deeply", f"nest at most {NESTING_MAX} levels")


def _crowded() -> Unavailable:
    return Unavailable("too much is being sent at once", {"remedy": "try again"}, retry_after_s=1)


def _too_long(bytes_max: int) -> Invalid:
    return invalid("body", f"over {bytes_max} bytes", "send less in one request")
