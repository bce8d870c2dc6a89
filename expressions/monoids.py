"""The closed set of ways to combine two states.

A **monoid** has a zero and an associative, commutative merge. So history can be split anywhere, states can be merged in
any order, and late events need no code of their own. Add is the only one that is not idempotent, so an event is
deduplicated in exactly one place, before it is lifted. (Algebird's monoids are the model. Chronon's SimpleAggregators
show what goes wrong when ties follow arrival.)

A monoid also says what its slot **reads** as inside `present`. Add, Min and Max read as themselves, Earliest and Latest
as the value they carry, Union as the list of its values in order. A Tally is read by `most_frequent` and `percentile`.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A list or a tally holds this many values. Beyond, it keeps the least ones and is not exact (S12). To keep the least k
#: of a union is itself a monoid, so the answer still does not depend on order or on where history was split.
VALUES_MAX = 10_000


@dataclass(frozen=True)
class Monoid:
    """A way to combine two states. A null lifted value adds nothing: no monoid ever sees one."""


@dataclass(frozen=True)
class Add(Monoid):
    """The sum of two integers; zero is 0. 128 bits hold 10^20 summands of 10^12 in millionths."""


@dataclass(frozen=True)
class Min(Monoid):
    """The lesser number or string; zero is null."""


@dataclass(frozen=True)
class Max(Monoid):
    """The greater number or string; zero is null."""


@dataclass(frozen=True)
class Earliest(Monoid):
    """The value with the least (ts, value); zero is null. Values of different types order by type (S7)."""


@dataclass(frozen=True)
class Latest(Monoid):
    """The value with the greatest (ts, value); zero is null."""


@dataclass(frozen=True)
class Union(Monoid):
    """The set of distinct values, the least `VALUES_MAX` of them; zero is empty."""


@dataclass(frozen=True)
class Tally(Monoid):
    """How often each value came: value -> count, for the least `VALUES_MAX` values; zero is empty."""


MONOIDS: tuple[type[Monoid], ...] = (Add, Min, Max, Earliest, Latest, Union, Tally)
