"""A position in a shard's log, as records keep it: two numbers of six bytes each, big-endian.

Of the last delete and the last unlink they are seq and receipt in ms; of the last entry they are receipt in ms and seq.
"""

from __future__ import annotations


def encode(first: int, second: int) -> bytes:
    """The two numbers, each below 2**48, as twelve bytes."""
    return first.to_bytes(6, "big") + second.to_bytes(6, "big")


def decode(data: bytes) -> tuple[int, int]:
    """The two numbers that `encode` wrote."""
    return int.from_bytes(data[:6], "big"), int.from_bytes(data[6:12], "big")
