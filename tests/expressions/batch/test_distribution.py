"""How a preview tells the spread of a trait: bins that hold everybody once, and the most frequent other values."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.cells import item_key
from expressions.batch.distribution import BINS, TOP, VALUE_CHARACTERS_MAX, distribution
from expressions.batch.frames import column_of
from expressions.definitions import Key
from tests.chance import seeded

KEY: Key = ("trait", "it")
KINDS = {"boolean": pl.Boolean, "number": pl.Float64, "string": pl.String, "list": pl.List(pl.String)}


def spread(*values: Any) -> dict[str, Any]:
    """The distribution of these values, one a person."""

    def answer(value: Any) -> dict[str, Any]:
        kind = {bool: "boolean", float: "number", str: "string", list: "list"}.get(type(value), "number")
        return {kind: [item_key(item) for item in value] if isinstance(value, list) else value}

    rows = [{**dict.fromkeys(KINDS), **answer(value), "exact": True} for value in values]
    answers = pl.Series(column_of(KEY), rows, dtype=pl.Struct({**KINDS, "exact": pl.Boolean}))
    return distribution(pl.DataFrame({"id": [f"user:{n}" for n in range(len(rows))], column_of(KEY): answers}), KEY)


def bins(*values: Any) -> list[tuple[float, float, int]]:
    return [(bin["low"], bin["high"], bin["count"]) for bin in spread(*values)["histogram"]]


def test_whole_numbers_that_are_close_have_a_bin_each() -> None:
    """A count of 0 to 3 shows as four bars, the empty one among them."""
    assert bins(0.0, 1.0, 1.0, 3.0, None) == [(0, 1, 1), (1, 2, 2), (2, 3, 0), (3, 4, 1)]
    assert bins(7.0) == [(7, 8, 1)]
    assert bins() == []


def test_a_few_huge_numbers_do_not_hide_the_rest() -> None:
    """Ninety-nine small amounts are spread over all bins but for the last, which holds the huge one too."""
    spread_bins = bins(*[number / 2 for number in range(999)], 1e9)

    assert len(spread_bins) == BINS
    assert spread_bins[-1][1] == 1e9
    assert max(count for _, _, count in spread_bins) < 80


@seeded
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)))
def test_every_number_is_in_one_bin(numbers: list[float]) -> None:
    """Whatever the numbers are: huge, tiny, one alone; bins stand in order and touch each other."""
    result = spread(*numbers)["histogram"]

    assert sum(bin["count"] for bin in result) == len(numbers)
    assert len(result) <= BINS
    assert [bin["low"] for bin in result[1:]] == [bin["high"] for bin in result[:-1]]


def test_the_most_frequent_values_come_first() -> None:
    """Equal counts go by value. Texts and booleans are told apart, and each item of a list counts."""
    found = spread("b", "a", "b", True, ["a", "c"], None)

    assert [(one["value"], one["count"]) for one in found["top"]] == [("a", 2), ("b", 2), (True, 1), ("c", 1)]
    assert (found["none"], found["distinct"], found["histogram"]) == (1, 4, [])


@pytest.mark.parametrize("count", [TOP - 1, TOP + 1])
def test_only_so_many_values_are_listed(count: int) -> None:
    """The others are counted in `distinct`; a long text is cut."""
    found = spread(*[f"{number}{'x' * 1_000}" for number in range(count)])

    assert len(found["top"]) == min(count, TOP)
    assert found["distinct"] == count
    assert all(len(one["value"]) == VALUE_CHARACTERS_MAX for one in found["top"])
