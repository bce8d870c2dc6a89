"""Token buckets that the API processes of one address share: places in a file that all of them have open.

A process finds the bucket of a key by a digest of its id, reads it, takes tokens and writes it back. Nobody waits for a
lock, so tokens that two processes take within the same microsecond may count once: a key may have some more than its
rate, by less than a hundredth.

A bucket that is full again says the same as none, so its place may be taken by another key's. There are more places
than keys can be known, so one is always free.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from hashlib import blake2b
from typing import TypeAlias

#: The tokens of a bucket, and the instant of that count, in seconds of the machine's monotonic clock.
Bucket: TypeAlias = tuple[float, float]

#: Places of a file. Twice as many as there can be keys (`made_keys.ALIVE_MAX`, and those of the configuration).
PLACES = 2_048
_TAG_BYTES = 16
_BUCKET = struct.Struct("=dd")
_PLACE_BYTES = _TAG_BYTES + _BUCKET.size


class SharedBuckets(MutableMapping[str, Bucket]):
    """The buckets by the id of a key, in a file. One in which `full` tokens are is full; `per_second` flow in.

    Where the disk is full, a bucket stays as it was.
    """

    def __init__(self, descriptor: int, per_second: float, full: float) -> None:
        self._file = descriptor
        self._per_second, self._full = per_second, full
        #: Where a key's bucket was last, and the tag that is to be there.
        self._known: dict[str, tuple[int, bytes]] = {}

    def __getitem__(self, key_id: str) -> Bucket:
        place, tag = self._known.get(key_id) or (0, _tag_of(key_id))
        held = os.pread(self._file, _PLACE_BYTES, place)
        if held[:_TAG_BYTES] != tag:
            found = self._place_of(tag)
            if found is None:
                raise KeyError(key_id)
            place, held = found
        self._known[key_id] = place, tag
        left, at_s = _BUCKET.unpack_from(held, _TAG_BYTES)
        return left, at_s

    def __setitem__(self, key_id: str, bucket: Bucket) -> None:
        if key_id not in self:
            self._known[key_id] = self._free_place(bucket[1]), _tag_of(key_id)
        place, tag = self._known[key_id]
        with suppress(OSError):
            os.pwrite(self._file, tag + _BUCKET.pack(*bucket), place)

    def __delitem__(self, key_id: str) -> None:
        """Lets this process forget where a bucket is. Its place is free once it is full again."""
        del self._known[key_id]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._known))

    def __len__(self) -> int:
        return len(self._known)

    def _place_of(self, tag: bytes) -> tuple[int, bytes] | None:
        """Where a tag is, and what its place holds; None where it is in no place."""
        for place, held in self._places():
            if held[:_TAG_BYTES] == tag:
                return place, held
        return None

    def _free_place(self, now_s: float) -> int:
        end = 0
        for place, held in self._places():
            left, at_s = _BUCKET.unpack_from(held, _TAG_BYTES)
            if left + (now_s - at_s) * self._per_second >= self._full:
                return place
            end = place + _PLACE_BYTES
        return end % (PLACES * _PLACE_BYTES)

    def _places(self) -> Iterator[tuple[int, bytes]]:
        """The places that were ever taken, with what they hold."""
        everything = os.pread(self._file, PLACES * _PLACE_BYTES, 0)
        for place in range(0, len(everything), _PLACE_BYTES):
            yield place, everything[place : place + _PLACE_BYTES]


def _tag_of(key_id: str) -> bytes:
    return blake2b(key_id.encode(), digest_size=_TAG_BYTES).digest()
