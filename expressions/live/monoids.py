"""The monoids on Python states (`bases.State`): how the execution at read time folds, merges and reads them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..bases import State
from ..event_columns import EventColumn
from ..monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from ..rules.values import Value, order_key, whole_number


@dataclass(frozen=True)
class StateMonoid:
    """What a monoid does with Python states.

    `fold(times, lifted, start, end)`: the state of the lifted values in [start, end), a slice that is never empty.
    `merge`: the state of two. `read`: what a slot reads as inside a present; None stands for a state that nothing was
    added to. `is_bounded`: the state holds at most `VALUES_MAX` + 1 values, so its size tells whether it is exact.
    """

    fold: Callable[[Sequence[int], EventColumn, int, int], State]
    merge: Callable[[State, State], State]
    read: Callable[[State], Any]
    is_bounded: bool = False


def _total(times: Sequence[int], lifted: EventColumn, start: int, end: int) -> int:
    return int(sum(lifted[start:end]) if isinstance(lifted, list) else lifted.total(start, end))


def _minimum(times: Sequence[int], lifted: EventColumn, start: int, end: int) -> Any:
    return min(lifted[start:end]) if isinstance(lifted, list) else lifted.least(start, end)


def _maximum(times: Sequence[int], lifted: EventColumn, start: int, end: int) -> Any:
    return max(lifted[start:end]) if isinstance(lifted, list) else lifted.greatest(start, end)


def _earliest(times: Sequence[int], lifted: EventColumn, start: int, end: int) -> tuple[int, Value]:
    ties = bisect_right(times, times[start], start, end)
    return times[start], min(lifted[start:ties], key=order_key)


def _latest(times: Sequence[int], lifted: EventColumn, start: int, end: int) -> tuple[int, Value]:
    ties = bisect_left(times, times[end - 1], start, end)
    return times[end - 1], max(lifted[ties:end], key=order_key)


def _by_time_and_value(state: tuple[int, Value]) -> tuple[Any, ...]:
    return (state[0], order_key(state[1]))


def _least(keys: Iterable[Any]) -> frozenset[Any]:
    """A set within its bound: one more value than may be read, so that the excess shows (S12)."""
    distinct = frozenset(keys)
    return distinct if len(distinct) <= VALUES_MAX + 1 else frozenset(sorted(distinct)[: VALUES_MAX + 1])


def _least_counts(counts: dict[Any, int]) -> dict[Any, int]:
    if len(counts) <= VALUES_MAX + 1:
        return counts
    return {key: counts[key] for key in sorted(counts)[: VALUES_MAX + 1]}


def _merged_counts(left: Mapping[Any, int], right: Mapping[Any, int]) -> dict[Any, int]:
    merged = dict(left)
    for key, count in right.items():
        merged[key] = merged.get(key, 0) + count
    return _least_counts(merged)


#: By monoid, in the order of the language's `monoids.py`. Sets and tallies hold order keys, (rank, value), since to
#: Python True is 1.0.
MONOIDS: dict[type[Monoid], StateMonoid] = {
    Add: StateMonoid(
        fold=_total,
        merge=lambda left, right: left + right,
        read=lambda state: 0.0 if state is None else whole_number(state),
    ),
    Min: StateMonoid(fold=_minimum, merge=min, read=lambda state: state),
    Max: StateMonoid(fold=_maximum, merge=max, read=lambda state: state),
    Earliest: StateMonoid(
        fold=_earliest,
        merge=lambda left, right: min(left, right, key=_by_time_and_value),
        read=lambda state: None if state is None else state[1],
    ),
    Latest: StateMonoid(
        fold=_latest,
        merge=lambda left, right: max(left, right, key=_by_time_and_value),
        read=lambda state: None if state is None else state[1],
    ),
    Union: StateMonoid(
        fold=lambda times, lifted, start, end: _least(map(order_key, lifted[start:end])),
        merge=lambda left, right: _least(left | right),
        read=lambda state: tuple(value for _, value in sorted(state or ())[:VALUES_MAX]),
        is_bounded=True,
    ),
    Tally: StateMonoid(
        fold=lambda times, lifted, start, end: _least_counts(Counter(map(order_key, lifted[start:end]))),
        merge=_merged_counts,
        read=lambda state: [(key[1], state[key]) for key in sorted(state or ())[:VALUES_MAX]],
        is_bounded=True,
    ),
}
