"""Who falls into which share: a stable hash of an id to one of 100,000 buckets, and shares as sets of buckets.

    bucket = (the first 13 hexadecimal digits of SHA-256("salt:id") as a number) mod 100,000

SHA-256 because every language and every warehouse has it, so that the same person is in the same bucket everywhere; 13
digits because 52 bits are exact in a double. `tests/conformance/buckets.json` holds vectors for other implementations.

A share is a set of **intervals**, half-open, of buckets. When shares change, each keeps what it has as far as it still
may, and only what it must give up goes to those that grow: no bucket moves without need.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import TypeAlias

BUCKETS = 100_000
HASH_DIGITS = 13
SALT_CHARACTERS_MAX = 100

#: Buckets [start, end).
Interval: TypeAlias = tuple[int, int]
#: Name -> its intervals, in order. Of all names together they cover each bucket at most once.
Shares: TypeAlias = Mapping[str, Sequence[Interval]]


def bucket_of(salt: str, id: str) -> int:
    """The bucket of an id under a salt, in [0, BUCKETS). Ids are namespaced, `user:ada`, and hashed as UTF-8."""
    return int(sha256(f"{salt}:{id}".encode()).hexdigest()[:HASH_DIGITS], 16) % BUCKETS


def counts_of(weights: Mapping[str, float]) -> dict[str, int]:
    """How many buckets each of some relative weights has, of all; the greatest remainders take what rounding leaves.

    At least one weight is above 0. Equal remainders go by the order of the names given.
    """
    total = sum(weights.values())
    exact = {name: weight * BUCKETS / total for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    left = BUCKETS - sum(counts.values())
    for name in sorted(counts, key=lambda one: counts[one] - exact[one])[:left]:
        counts[name] += 1
    return counts


def moved(shares: Shares, counts: Mapping[str, int]) -> dict[str, list[Interval]]:
    """Shares of these sizes, which together are all buckets, from those held so far: as few buckets move as can.

    That is half of the sum of the changes. Who shrinks gives up its last buckets, who grows takes the first free ones.
    """
    kept = {name: _first(shares.get(name, ()), count) for name, count in counts.items()}
    free = _between([one for intervals in kept.values() for one in intervals])
    for name, count in counts.items():
        taken = _first(free, count - _size(kept[name]))
        kept[name] = _joined([*kept[name], *taken])
        free = _rest(free, _size(taken))
    return kept


class Split:
    """Shares, ready to be asked whose a bucket is."""

    def __init__(self, shares: Shares) -> None:
        ordered = sorted((start, end, name) for name, intervals in shares.items() for start, end in intervals)
        self._starts = [start for start, _, _ in ordered]
        self._ordered = ordered

    def name_of(self, bucket: int) -> str | None:
        """Whose a bucket is; None where it is nobody's."""
        at = bisect_right(self._starts, bucket) - 1
        if at < 0 or bucket >= self._ordered[at][1]:
            return None
        return self._ordered[at][2]


def _size(intervals: Sequence[Interval]) -> int:
    return sum(end - start for start, end in intervals)


def _first(intervals: Sequence[Interval], count: int) -> list[Interval]:
    """The first so many buckets of these intervals, or all."""
    found = []
    for (start, end), before in zip(
        intervals, accumulate((end - start for start, end in intervals), initial=0), strict=False
    ):
        if before >= count:
            break
        found.append((start, min(end, start + count - before)))
    return found


def _rest(intervals: Sequence[Interval], count: int) -> list[Interval]:
    """What is behind the first so many buckets."""
    found = []
    for start, end in intervals:
        begin = min(end, start + count)
        count -= begin - start
        if begin < end:
            found.append((begin, end))
    return found


def _between(intervals: Sequence[Interval]) -> list[Interval]:
    """All buckets that are in none of these intervals."""
    found, at = [], 0
    for start, end in [*sorted(intervals), (BUCKETS, BUCKETS)]:
        if at < start:
            found.append((at, start))
        at = max(at, end)
    return found


def _joined(intervals: Sequence[Interval]) -> list[Interval]:
    """The same buckets, in order, with neighbours made one."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found
