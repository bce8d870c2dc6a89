"""Stamps: what a base covers. Batch and speed are stitched by them."""

from __future__ import annotations

import msgspec


class Covered(msgspec.Struct, frozen=True, array_like=True):
    """The stamp of a shard's last complete rebuild: an id without a base has nothing at or before it.

    It has lake version V, build, seq S up to which the shard's log is in, instant T that windows are aligned to (UTC
    ms), and the version of the projection.
    """

    lake_version: int
    build: int
    seq: int
    as_of_ms: int
    projection: int


class Stamp(Covered, frozen=True, array_like=True):
    """The stamp of one record's base. `horizon_ms` is D of a heavy base, exact until T + D; of a light base it is 0."""

    horizon_ms: int = 0

    def heavy(self, horizon_ms: int) -> Stamp:
        """The same stamp on a base with another horizon."""
        return msgspec.structs.replace(self, horizon_ms=horizon_ms)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Stamp)


def encode(stamp: Stamp) -> bytes:
    """The stamp as msgpack: an array, V and build first, which scripts compare."""
    return _encoder.encode(stamp)


def decode(data: bytes) -> Stamp:
    """The stamp that `encode` wrote."""
    return _decoder.decode(data)
