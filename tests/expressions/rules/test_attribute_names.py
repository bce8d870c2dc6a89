"""Names of attributes among the fields of an identify: each is read back as the key and the names inside its value."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from expressions.rules.properties import attribute_key, attribute_name, attribute_path
from tests.chance import seeded

names = st.text(st.sampled_from(["a", ".", "\\", "\n", "é"]), max_size=4)


@seeded
@given(key=names, path=st.lists(names, max_size=3))
@example(key="", path=[""])
@example(key="a.b\\", path=[".c"])
def test_a_name_is_read_back(key: str, path: list[str]) -> None:
    """Dots and backslashes inside a name are not those between two; the name of a leaf is no key."""
    name = attribute_name(key, path)

    assert attribute_path(name) == (key, *path)
    assert attribute_key(name) == (None if path else key)
