"""Buckets are the same everywhere, evenly spread, and move no more than a change of weights needs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.rules.bucketing import BUCKETS, Shares, Split, bucket_of, counts_of, moved
from tests.chance import part_of_examples, seeded

VECTORS = json.loads((Path(__file__).parents[2] / "conformance" / "buckets.json").read_text())["vectors"]

NAMES = ["control", "blue", "green", "red", "größer"]
weights = st.dictionaries(
    st.sampled_from(NAMES),
    st.floats(0, 1_000, allow_subnormal=False),
    min_size=1,
).filter(lambda given: sum(given.values()) > 0.001)


def owners(shares: Shares) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The place in `NAMES` of the name whose share has each bucket; `Split` agrees at both ends of every interval."""
    places, split = np.full(BUCKETS, -1), Split(shares)
    for name, intervals in shares.items():
        for start, end in intervals:
            assert (places[start:end] == -1).all(), "a bucket has one owner"
            places[start:end] = NAMES.index(name)
            assert split.name_of(start) == split.name_of(end - 1) == name
    return places


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["says"])
def test_vectors(vector: dict[str, object]) -> None:
    """Each vector's id is in the vector's bucket, as in every other implementation."""
    assert bucket_of(str(vector["salt"]), str(vector["id"])) == vector["bucket"]


@seeded
@given(weights)
def test_counts_are_all_buckets_and_each_within_one_of_its_share(given_weights: dict[str, float]) -> None:
    """Rounding loses no bucket, and gives no share one too many."""
    counts = counts_of(given_weights)
    total = sum(given_weights.values())

    assert sum(counts.values()) == BUCKETS
    assert all(abs(counts[name] - weight * BUCKETS / total) < 1 + 1e-6 for name, weight in given_weights.items())


@part_of_examples(2)  # each example looks at every bucket
@given(st.lists(weights, min_size=2, max_size=5))
def test_a_change_of_weights_moves_only_as_many_as_it_must(history: list[dict[str, float]]) -> None:
    """After any history of changes, the buckets that change hands are half of the sum of the changes, exactly."""
    shares: Shares = moved({}, counts_of(history[0]))
    for before, after in zip(map(counts_of, history), map(counts_of, history[1:]), strict=False):
        following = moved(shares, after)
        was, now = owners(shares), owners(following)

        must = sum(abs(before.get(name, 0) - after.get(name, 0)) for name in before | after) / 2
        assert np.bincount(now, minlength=len(NAMES)).tolist() == [after.get(name, 0) for name in NAMES]
        assert np.count_nonzero(was != now) == must
        shares = following


@pytest.mark.parametrize("ids", ["user:{}", "anon:{}", "user:ключ-{}", "user:00000000{}"])
def test_ids_spread_evenly(ids: str) -> None:
    """Each tenth of the buckets holds a tenth of 20,000 ids of any form, within four standard deviations."""
    tenths = Counter(bucket_of("spread", ids.format(n)) // (BUCKETS // 10) for n in range(20_000))

    assert all(abs(tenths[tenth] - 2_000) < 4 * 42.5 for tenth in range(10))


def test_two_salts_say_nothing_of_each_other() -> None:
    """The ids in the first half of one salt are in either half of another equally often."""
    first = [n for n in range(20_000) if bucket_of("flag:membership", f"user:{n}") < BUCKETS // 2]
    both = [n for n in first if bucket_of("flag:variant", f"user:{n}") < BUCKETS // 2]

    assert abs(len(both) / len(first) - 0.5) < 4 * 0.5 / len(first) ** 0.5
