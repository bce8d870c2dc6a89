"""Which share an id falls into: a stable hash to one of 100,000 buckets, and shares as sets of buckets.

    bucket = (the first 13 hexadecimal digits of SHA-256("salt:id") as a number) mod 100,000

Every language and every warehouse has SHA-256, so the same person is in the same bucket everywhere. 13 digits are 52
bits, which a double holds exactly. `tests/conformance/buckets.json` holds vectors for other implementations.

A share is a set of half-open **intervals** of buckets. When shares change, each keeps as many of its buckets as its new
size allows. Only the buckets that a share must give up go to those that grow, so no bucket moves without need.
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
#: Name -> its intervals, in order. The intervals of all names together cover each bucket at most once.
Shares: TypeAlias = Mapping[str, Sequence[Interval]]


def bucket_of(salt: str, id: str) -> int:
    """The bucket of an id under a salt, in [0, BUCKETS). The id is namespaced (`user:ada`) and hashed as UTF-8."""
    return int(sha256(f"{salt}:{id}".encode()).hexdigest()[:HASH_DIGITS], 16) % BUCKETS


def counts_of(weights: Mapping[str, float]) -> dict[str, int]:
    """The number of buckets for each name, by relative weights; together they are all buckets.

    The greatest remainders take what rounding down leaves. Equal remainders go by the order of the names. At least one
    weight must be above 0.
    """
    total = sum(weights.values())
    exact = {name: weight * BUCKETS / total for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    left = BUCKETS - sum(counts.values())
    for name in sorted(counts, key=lambda name: counts[name] - exact[name])[:left]:
        counts[name] += 1
    return counts


def moved(shares: Shares, counts: Mapping[str, int]) -> dict[str, list[Interval]]:
    """Shares of the given sizes, made of the shares so far; the fewest possible buckets move.

    The sizes together are all buckets. So many buckets move as half of the sum of the changes. A share that shrinks
    gives up its last buckets, and one that grows takes the first free ones.
    """
    moved_shares = {name: _first(shares.get(name, ()), count) for name, count in counts.items()}
    free = _between([interval for intervals in moved_shares.values() for interval in intervals])
    for name, count in counts.items():
        added = _first(free, count - _size(moved_shares[name]))
        moved_shares[name] = _joined([*moved_shares[name], *added])
        free = _rest(free, _size(added))
    return moved_shares


class Split:
    """Shares, sorted for the look-up of a bucket."""

    def __init__(self, shares: Shares) -> None:
        ordered = sorted((start, end, name) for name, intervals in shares.items() for start, end in intervals)
        self._starts = [start for start, _, _ in ordered]
        self._ordered = ordered

    def name_of(self, bucket: int) -> str | None:
        """The name whose share has a bucket; None where no share has it."""
        at = bisect_right(self._starts, bucket) - 1
        if at < 0 or bucket >= self._ordered[at][1]:
            return None
        return self._ordered[at][2]


def _size(intervals: Sequence[Interval]) -> int:
    return sum(end - start for start, end in intervals)


def _first(intervals: Sequence[Interval], count: int) -> list[Interval]:
    """The first `count` buckets of these intervals, or all of them."""
    first = []
    for (start, end), before in zip(
        intervals, accumulate((end - start for start, end in intervals), initial=0), strict=False
    ):
        if before >= count:
            break
        first.append((start, min(end, start + count - before)))
    return first


def _rest(intervals: Sequence[Interval], count: int) -> list[Interval]:
    """The buckets behind the first `count` of them."""
    rest = []
    for start, end in intervals:
        begin = min(end, start + count)
        count -= begin - start
        if begin < end:
            rest.append((begin, end))
    return rest


def _between(intervals: Sequence[Interval]) -> list[Interval]:
    """All buckets that are in none of these intervals."""
    gaps, at = [], 0
    for start, end in [*sorted(intervals), (BUCKETS, BUCKETS)]:
        if at < start:
            gaps.append((at, start))
        at = max(at, end)
    return gaps


def _joined(intervals: Sequence[Interval]) -> list[Interval]:
    """The same buckets, in order, with neighbouring intervals made one."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
