"""Decimals: what is written is what is summed and rounded, at any size and however a column is kept."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.batch.cells import Cell
from expressions.batch.functions import FUNCTION, rounded
from expressions.event_columns import Decimals
from expressions.live.lifting import COLUMN_FUNCTIONS
from expressions.rules import values
from tests.oracle_values import decimal

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e12, 1e12),
    st.builds(lambda units, places: units / 10**places, st.integers(-(10**17), 10**17), st.integers(0, 9)),
    # Beside ties: so many halves of a unit, and the floats around.
    st.builds(
        lambda halves, places, ulps: halves / (2 * 10**places) * (1 + ulps * 2.0**-52),
        st.integers(-(10**17), 10**17),
        st.integers(0, 6),
        st.integers(-2, 2),
    ),
    st.builds(lambda whole, parts: whole + parts / 256, st.integers(-(10**12), 10**12), st.integers(0, 255)),
).map(lambda number: number + 0.0)


@given(
    st.lists(st.integers(-(2**53), 2**53) | st.integers(-(10**6), 10**6), max_size=8),
    st.sampled_from([1, 10, 100, 1_000, 1_000_000]),
)
def test_millionths_do_not_depend_on_how_a_column_is_kept(whole: list[int], scale: int) -> None:
    """S6, up to ties, to the bounds of what is summed, and beyond."""
    known = Decimals(whole, scale)

    assert list(known) == [number / scale for number in whole]
    for function in ("millionths", "number", "string"):
        assert COLUMN_FUNCTIONS[function](known) == COLUMN_FUNCTIONS[function](list(known))


@settings(deadline=None)  # the first query of a process takes its time
@given(st.lists(NUMBERS, max_size=50))
def test_numbers_are_taken_as_they_are_written(numbers: list[float]) -> None:
    """S6, S12: half away from zero, of the decimal that is written and not of the float beside it."""
    wanted = [int(decimal(one, 6) * 10**6) if abs(one) <= 1e12 else None for one in numbers]

    assert [values.millionths(one) for one in numbers] == wanted
    assert _in_polars(FUNCTION["millionths"](Cell({"number": pl.col("number")})).get("number"), numbers) == wanted
    for places in range(7):
        nearest = [float(decimal(one, places)) + 0.0 for one in numbers]
        assert [values.rounded(one, places) for one in numbers] == nearest
        assert _in_polars(rounded(pl.col("number"), places), numbers) == nearest


def _in_polars(one: pl.Expr, numbers: Sequence[float]) -> list[float | None]:
    return (
        pl.DataFrame({"number": numbers}, schema={"number": pl.Float64}).select(one.alias("found"))["found"].to_list()
    )


@given(st.integers(-(10**30), 10**30) | st.integers(-(2**58), 2**58), st.integers(1, 10**9))
def test_a_total_is_divided_once(total: int, count: int) -> None:
    """S6: the amount is the float nearest to the fraction."""
    assert values.amount(values.whole_number(total), float(count)) == float(Fraction(total, count * 10**6))
