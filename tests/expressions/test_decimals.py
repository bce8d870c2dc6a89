"""A column that is known to be of decimal fractions is summed as any column of the same numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from expressions.columns import Decimals
from expressions.lifting import COLUMN


@given(
    st.lists(st.integers(-(2**53), 2**53) | st.integers(-(10**6), 10**6), max_size=8),
    st.sampled_from([1, 10, 100, 1_000, 1_000_000]),
)
def test_millionths_do_not_depend_on_how_a_column_is_kept(whole: list[int], scale: int) -> None:
    """S6, up to ties, to the bounds of what is summed, and beyond."""
    known = Decimals(whole, scale)

    assert list(known) == [number / scale for number in whole]
    for function in ("millionths", "number", "string"):
        assert COLUMN[function](known) == COLUMN[function](list(known))
