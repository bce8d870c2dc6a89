"""A number is summed and rounded by its decimal text, at any size and in every form of a column."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.cells import Cell
from expressions.batch.functions import FUNCTIONS, rounded
from expressions.event_columns import Decimals
from expressions.live.lifting import COLUMN_FUNCTIONS
from expressions.rules import values
from tests.chance import seeded
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


@seeded
@given(
    st.lists(st.integers(-(2**53), 2**53) | st.integers(-(10**6), 10**6), max_size=8),
    st.sampled_from([1, 10, 100, 1_000, 1_000_000]),
)
def test_millionths_do_not_depend_on_how_a_column_is_kept(whole: list[int], scale: int) -> None:
    """Lazy decimals are lifted as a list of their values is: at ties, up to the bound of sums, and beyond (S6)."""
    known = Decimals(whole, scale)

    assert list(known) == [number / scale for number in whole]
    for function in ("millionths", "number", "string"):
        assert COLUMN_FUNCTIONS[function](known) == COLUMN_FUNCTIONS[function](list(known))


@seeded
@given(st.lists(NUMBERS, max_size=50))
def test_numbers_are_taken_as_they_are_written(numbers: list[float]) -> None:
    """Numbers are rounded half away from zero, by their decimal text and not by the float beside it (S6, S12)."""
    wanted = [int(decimal(number, 6) * 10**6) if abs(number) <= 1e12 else None for number in numbers]

    assert [values.millionths(number) for number in numbers] == wanted
    assert _in_polars(FUNCTIONS["millionths"](Cell({"number": pl.col("number")})).get("number"), numbers) == wanted
    for places in range(7):
        nearest = [float(decimal(number, places)) + 0.0 for number in numbers]
        assert [values.rounded(number, places) for number in numbers] == nearest
        assert _in_polars(rounded(pl.col("number"), places), numbers) == nearest


def _in_polars(expression: pl.Expr, numbers: Sequence[float]) -> list[float | None]:
    """The value of an expression over the column `number`, for each number."""
    frame = pl.DataFrame({"number": numbers}, schema={"number": pl.Float64})
    return frame.select(expression.alias("value"))["value"].to_list()


@seeded
@given(st.integers(-(10**30), 10**30) | st.integers(-(2**58), 2**58), st.integers(1, 10**9))
def test_a_total_is_divided_once(total: int, count: int) -> None:
    """An amount is the float that is nearest to the exact fraction (S6)."""
    assert values.amount(values.whole_number(total), float(count)) == float(Fraction(total, count * 10**6))
