"""Bytes in: request bodies read with a bound, unpacked with a bound, and decoded whatever their Content-Type says.

Clients send JSON as `text/plain` (a browser then asks no permission first), as a form, gzipped under any type. So the
type is not looked at, and `Content-Encoding` alone says whether a body is gzipped. The bound holds for the bytes on the
wire and for the bytes they unpack to: a kilobyte that unpacks to a gigabyte is given up at the bound.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from starlette.requests import Request

from serving.refusals import Invalid, invalid

#: zlib's windowBits that ask for gzip's header and trailer
_GZIP = 31

_decode = msgspec.json.Decoder().decode


async def json_body(request: Request, bytes_max: int) -> Any:
    """The JSON of a body. Raises `Invalid` for one that is too long, wrongly packed, or no JSON."""
    return json_of(await body_of(request, bytes_max))


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The bytes of a body, unpacked. Raises `Invalid` beyond `bytes_max`, and for what is not the gzip it claims."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise _too_long(bytes_max)
        parts.append(part)
    body = b"".join(parts)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise invalid("Content-Encoding", encoding, "send gzip, or no encoding")
    return gunzipped(body, bytes_max)


def gunzipped(packed: bytes, bytes_max: int) -> bytes:
    """What gzip packed, of one member or several. Unpacks at most a byte beyond `bytes_max`; raises `Invalid`."""
    unpacked = bytearray()
    try:
        while packed:
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
            {"field": "body", "value": repr(bytes(body)[:50]), "remedy": "send JSON in UTF-8"},
        ) from None
    except RecursionError:
        raise invalid("body", "nested too deeply", "send flatter JSON") from None


def _too_long(bytes_max: int) -> Invalid:
    return invalid("body", f"over {bytes_max} bytes", "send fewer events in one request")
