"""A property is not compared with a number that no float holds."""

from __future__ import annotations

import pytest

from expressions.errors import TypeRefused
from expressions.text.exact import require_exact
from expressions.text.parse import parse


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("profile.account == 9007199254740993", "9007199254740993"),
        ("9007199254740992 != profile.account", "9007199254740992"),
        ("profile.account > -9007199254740993", "-9007199254740993"),
        ("profile.account in [1, 12345678901234567890]", "12345678901234567890"),
        ("9007199254740993 in profile.accounts", "9007199254740993"),
        ("events.order.where(order_id == 9007199254740993).count > 0", "9007199254740993"),
        ("events.order.order_id.last == 9007199254740993 || true", "9007199254740993"),
        ("1 + other * 2 < 1e17", "1e17"),
    ],
)
def test_a_number_that_no_float_holds_is_refused_where_it_stands(text: str, literal: str) -> None:
    """9007199254740993 would be equal to its neighbour too, so the comparison is refused, with the remedy."""
    with pytest.raises(TypeRefused, match=r"2\^53") as refused:
        require_exact(parse(text))

    assert text[refused.value.at.start : refused.value.at.end] == literal
    assert "text in quotes" in refused.value.expected


@pytest.mark.parametrize(
    "text",
    [
        "profile.account == 9007199254740991",
        'profile.account == "9007199254740993"',
        "profile.account in [1, -9007199254740991]",
        "profile.account * 9007199254740993 == 1",
        "9007199254740993 == 1",
        "true",
    ],
)
def test_what_is_exact_passes(text: str) -> None:
    """Numbers below 2^53 are exact, and so are texts; two literals read nothing that anybody sent."""
    require_exact(parse(text))
