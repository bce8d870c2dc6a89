"""The fields of an event: what its properties are named, however they are written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.rules.properties import event_fields
from tests.chance import seeded
from tests.oracle_values import flat

#: Names that meet once dots stand between them.
NAMES = st.sampled_from(["a", "b", "a.b", "b.a", "a.b.a", ".", "", "a."])
PROPERTIES = st.dictionaries(
    NAMES,
    st.recursive(st.one_of(st.none(), st.integers(0, 9)), lambda inner: st.dictionaries(NAMES, inner), max_leaves=6),
)


def turned(properties: Any) -> Any:
    """The same object with its keys in the other order, at each level."""
    if not isinstance(properties, dict):
        return properties
    return {name: turned(value) for name, value in reversed(properties.items())}


@pytest.mark.parametrize(
    ("properties", "value"),
    [
        ({"a.b.c": 1, "a": {"b": {"c": 2}}}, 1),
        ({"a.b": {"c": 1}, "a": {"b.c": 2}}, 1),
        ({"a": {"b.c": 1, "b": {"c": 2}}}, 1),
        ({"a.b.c": None, "a": {"b.c": 1}}, 1),
        ({"a.b.c": {}, "a": {"b.c": 1}}, 1),
    ],
)
def test_the_longer_key_counts_whatever_the_order(properties: dict[str, Any], value: int) -> None:
    """A key with a dot is before an object's field of the same dotted name; null and empty objects are no property."""
    assert event_fields(properties) == event_fields(turned(properties)) == {"a.b.c": value}


@seeded
@given(PROPERTIES)
def test_fields_do_not_know_the_order_of_keys(properties: dict[str, Any]) -> None:
    """JSON objects have no order, and the oracle names the same fields."""
    assert event_fields(properties) == event_fields(turned(properties)) == flat(properties)
