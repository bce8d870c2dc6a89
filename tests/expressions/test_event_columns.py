"""A column that makes its values when they are read answers as the list of these values does."""

from __future__ import annotations

from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from expressions.event_columns import Decimals, Instants, LazyColumn, Millionths, Repeated
from tests.chance import seeded

_numbers = st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8)
#: A column, and what its values are by definition.
columns = st.one_of(
    st.tuples(_numbers, st.sampled_from([1, 100])).map(
        lambda pair: (Decimals(array("q", pair[0]), pair[1]), [whole / pair[1] for whole in pair[0]])
    ),
    st.tuples(_numbers, st.sampled_from([1, 10_000])).map(
        lambda pair: (Millionths(array("q", pair[0]), pair[1]), [whole * pair[1] for whole in pair[0]])
    ),
    st.tuples(st.sampled_from([1.0, 0.0, 7]), st.integers(1, 8)).map(
        lambda pair: (Repeated(*pair), [pair[0]] * pair[1])
    ),
    _numbers.map(sorted).map(lambda times: (Instants(array("q", times)), [float(ts) for ts in times])),
)


@seeded
@given(columns, st.data())
def test_a_column_is_its_values(pair: tuple[LazyColumn, list[Any]], data: st.DataObject) -> None:
    """A column has its list's length, items, slices, members and equals, and the sum, least and greatest of slices."""
    column, plain = pair
    start = data.draw(st.integers(0, len(plain) - 1))
    end = data.draw(st.integers(start + 1, len(plain)))
    part = plain[start:end]

    assert (len(column), list(column), column) == (len(plain), plain, plain)
    assert [column[at] for at in range(len(plain))] == plain
    assert column[start:end] == part
    assert [type(value) for value in column[start:end]] == [type(value) for value in part]
    assert (column.total(start, end), column.least(start, end), column.greatest(start, end)) == (
        sum(part),
        min(part),
        max(part),
    )
    for value in (None, plain[0], "no"):
        assert (value in column) is (value in plain)


def test_nothing_is_in_what_is_empty() -> None:
    """A column of no events holds not even the value that it would repeat."""
    assert None not in Repeated(None, 0)
    assert None in Repeated(None, 1)
