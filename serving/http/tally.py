"""What one API process has done since it began, in plain numbers: requests, events, decisions.

Written on the hottest paths, so a note is a few additions in plain dicts and lists; `serving.api.prometheus` turns them
into what Prometheus reads when it asks. Only templates of paths, methods, statuses and reasons are kept, all of them
from closed lists: no id, key or text of a caller, and no growth with what callers send.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Protocol

#: Upper bounds of the buckets of a request's latency, in seconds.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Upper bounds of the buckets of a tail's length, in entries.
ENTRIES = (0, 1, 10, 100, 300, 1_000, 3_000, 10_000, 20_000)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: The template of paths that no route has: what callers make up must not make series.
UNMATCHED = "unmatched"


class _Decision(Protocol):
    @property
    def reason(self) -> str: ...


class _Record(Protocol):
    @property
    def tail(self) -> object: ...


class Spread:
    """How often a number fell into each bucket, the last one open; and the sum of all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, number: float) -> None:
        """Counts one number, at most as great as its bucket's bound."""
        self.counts[bisect_left(self.bounds, number)] += 1
        self.total += number


class _Requests:
    """The requests of one path template and method."""

    __slots__ = ("seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.seconds = Spread(SECONDS)


class Tally:
    """Everything counted. For one event loop: no lock."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], _Requests] = {}
        self.accepted = 0
        self.duplicates = 0
        self.rejected = 0
        self.reasons: dict[str, int] = {}
        self.tails = Spread(ENTRIES)

    def answered(self, method: str, template: str, status: int, seconds: float) -> None:
        """A request was answered."""
        found = self.requests.get((method, template))
        if found is None:
            known = method if method in METHODS else "OTHER"
            found = self.requests.setdefault((known, template), _Requests())
        found.statuses[status] = found.statuses.get(status, 0) + 1
        found.seconds.note(seconds)

    def ingested(self, events: int, duplicates: int) -> None:
        """Events were taken, so many of them repeats."""
        self.accepted += events - duplicates
        self.duplicates += duplicates

    def decided(self, decisions: Iterable[_Decision]) -> None:
        """Flags were decided."""
        reasons = self.reasons
        for one in decisions:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1

    def read(self, records: Iterable[_Record]) -> None:
        """Records were read for a decision; how long their tails are says how far rebuilds are behind."""
        for record in records:
            self.tails.note(len(record.tail))  # type: ignore[arg-type]
