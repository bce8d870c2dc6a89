"""How much a key may ask for: a token bucket for each known key, in the memory of the machine.

A request takes one token and a batch takes one for each of its events, so many small requests cost the same as few
large ones. A bucket holds what flows in within `BURST_S`. A caller whose bucket is empty is refused. One whose bucket
holds anything is let in whole and may leave it in debt: a batch may be larger than a full bucket.

The count is kept here and not in Redis, where it would cost each request a round trip. The processes of one address
share it (`serving.access.shared_buckets`); with N addresses a key has up to N times its rate. Keys that are not known
have no bucket, so nobody can make this grow. They are not counted by address either: keys of 192 bits are not found by
trying, an address table is memory that strangers fill, and behind a proxy all of them are one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, MutableMapping

from serving.access.shared_buckets import Bucket, SharedBuckets
from serving.refusals import TooMany

#: A full bucket, in seconds of its rate.
BURST_S = 2.0
#: The greatest Retry-After: clients wait no longer, whatever they are told.
RETRY_AFTER_S_MAX = 300


class Rates:
    """The buckets by the id of a key: the tokens in each, and the instant of that count, in seconds of `clock`.

    `shared`: the descriptor of a file that other processes keep the same buckets in.
    """

    def __init__(
        self, per_second: float = 0, clock: Callable[[], float] = time.monotonic, shared: int | None = None
    ) -> None:
        self.per_second = per_second
        self._clock = clock
        self._full = max(1.0, per_second * BURST_S)
        self._buckets: MutableMapping[str, Bucket] = {}
        if shared is not None and per_second:
            self._buckets = SharedBuckets(shared, per_second, self._full)

    def take(self, key_id: str, tokens: int = 1) -> None:
        """Takes tokens of a key. Raises `TooMany` while there are none; without a rate it does nothing."""
        if not self.per_second:
            return
        now = self._clock()
        left, at = self._buckets.get(key_id, (self._full, now))
        left = min(self._full, left + (now - at) * self.per_second)
        if left < 1.0:
            wait_s = math.ceil((1.0 - left) / self.per_second)
            raise TooMany(
                f"this key may ask for {self.per_second:g} requests and events a second",
                {"field": "key", "value": key_id, "remedy": "send the same request again after Retry-After"},
                min(max(wait_s, 1), RETRY_AFTER_S_MAX),
            )
        self._buckets[key_id] = left - tokens, now

    def owe(self, key_id: str, tokens: int) -> None:
        """Takes more tokens of a key that was let in, once it is known how many its request costs: one at the least."""
        if self.per_second and key_id in self._buckets:
            left, at = self._buckets[key_id]
            self._buckets[key_id] = left - max(tokens, 0), at

    @property
    def known(self) -> set[str]:
        """The ids of the keys that have a bucket."""
        return set(self._buckets)

    def keep(self, key_ids: Iterable[str]) -> None:
        """Forgets the buckets of all keys but these."""
        known = set(key_ids)
        for key_id in self._buckets.keys() - known:
            del self._buckets[key_id]
