"""What one API process has done since it began, in plain numbers: requests, events, decisions.

The hottest paths write here, so a note is a few additions in plain dicts and lists; `serving.api.prometheus` turns the
numbers into metrics when Prometheus asks, and `serving.activity` adds them to those of other processes. The words kept
beside them are path templates, methods, statuses, reasons, and flags with their variants, all from closed lists: no id,
key or text of a caller, and nothing that grows with what callers send.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping
from typing import Protocol, TypeAlias

#: Upper bounds of the buckets of a request's latency, in seconds.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Upper bounds of the buckets of a tail's length, in entries.
ENTRIES = (0, 1, 10, 100, 300, 1_000, 3_000, 10_000, 20_000)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: The template of every path that no route has: paths that callers make up must not make series of metrics.
UNMATCHED = "unmatched"


class _Decision(Protocol):
    @property
    def allow(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def variant(self) -> str | None: ...


#: A flag, what it answered (a variant, or "on" and "off"), and whether it was named rather than asked in bulk. A plain
#: tuple, since one is made for each answer.
Answered: TypeAlias = tuple[str, str, bool]


class Spread:
    """How many numbers fell into each bucket, of which the last is open, and the sum of all numbers."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, number: float) -> None:
        """Counts one number, in the first bucket whose bound is not below it."""
        self.counts[bisect_left(self.bounds, number)] += 1
        self.total += number

    def add(self, other: Spread) -> None:
        """Counts all numbers of another one with the same bounds."""
        self.counts = [count + more for count, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


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
        #: What apps were answered since `serving.activity` took it last; bounded by the flags and their variants.
        self.answers: dict[Answered, int] = {}
        self.tails = Spread(ENTRIES)

    def answered(self, method: str, template: str, status: int, seconds: float) -> None:
        """A request was answered."""
        requests = self.requests.get((method, template))
        if requests is None:
            known_method = method if method in METHODS else "OTHER"
            requests = self.requests.setdefault((known_method, template), _Requests())
        requests.statuses[status] = requests.statuses.get(status, 0) + 1
        requests.seconds.note(seconds)

    def ingested(self, events: int, duplicates: int) -> None:
        """Events were taken; `duplicates` of them were repeats."""
        self.accepted += events - duplicates
        self.duplicates += duplicates

    def decided(self, decisions: Iterable[_Decision]) -> None:
        """Flags were decided."""
        reasons = self.reasons
        for decision in decisions:
            reasons[decision.reason] = reasons.get(decision.reason, 0) + 1

    def answered_app(self, decisions: Mapping[str, _Decision], known: Container[str], by_name: bool) -> None:
        """An app was answered these decisions, by flag; those that are not `known` are no flags."""
        answers = self.answers
        for key, decision in decisions.items():
            if key in known:
                answered = key, decision.variant or ("on" if decision.allow else "off"), by_name
                answers[answered] = answers.get(answered, 0) + 1

    def read(self, tails: Iterable[int]) -> None:
        """Records with so many entries in their tails were read for a decision: it says how far rebuilds are behind."""
        for entries in tails:
            self.tails.note(entries)


def sum_of(tallies: Iterable[Tally]) -> Tally:
    """What several processes counted together, but for `answers`, which each of them hands on itself."""
    total = Tally()
    for tally in tallies:
        for key, answered in tally.requests.items():
            requests = total.requests.setdefault(key, _Requests())
            for status, count in answered.statuses.items():
                requests.statuses[status] = requests.statuses.get(status, 0) + count
            requests.seconds.add(answered.seconds)
        total.accepted += tally.accepted
        total.duplicates += tally.duplicates
        total.rejected += tally.rejected
        for reason, count in tally.reasons.items():
            total.reasons[reason] = total.reasons.get(reason, 0) + count
        total.tails.add(tally.tails)
    return total
