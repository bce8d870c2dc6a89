"""All mistakes of a text at once, each at its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.definitions import Definition
from expressions.errors import ExpressionError
from expressions.text.bind import bind, bind_one
from expressions.text.mistakes import MISTAKES_MAX, mistakes
from expressions.text.parse import CHARACTERS_MAX
from tests.chance import seeded

BOUNDS = bind([Definition("trait", "n", "events.x.count"), Definition("segment", "s", "n > 1")])


def told(text: str) -> list[tuple[str, str]]:
    """Each mistake, and the text at its place."""
    return [(error.message, text[error.at.start : error.at.end]) for error in mistakes(text, "segment", BOUNDS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n > 1 && segment('s')", []),
        ("n >", [("the expression ends too early", "")]),
        ("(n b) && n >", [("unexpected b", "b"), ("the expression ends too early", "")]),
        (
            'events.x.cuont >= 1 && profile. && 5 > "a" || nope',
            [
                ("no aggregate cuont", "cuont"),
                ("unexpected &&", "&&"),
                ("> between number and string", '5 > "a"'),
                ("no trait nope", "nope"),
            ],
        ),
        (
            "foo(1, 2) && lower(5) && round(n, 9) > 1",
            [("no function foo", "foo"), ("lower with number", "5"), ("decimals that round cannot keep", "9")],
        ),
        ("events.x.where(a > ).count > 1 && m", [("unexpected )", ")"), ("no trait m", "m")]),
        ("n > > 5", [("unexpected >", ">")]),
        (")", [("unexpected )", ")")]),
        ("n", [("a segment's rule with number", "n")]),
        ("n > 1 && 'open", [("a quote is not closed", "'open")]),
    ],
)
def test_each_mistake_is_told_once(text: str, expected: list[tuple[str, str]]) -> None:
    """One mistake hides no other, and makes none that is none."""
    assert told(text) == expected


def test_mistakes_are_bounded() -> None:
    """Of very many the first are told; a text that is too long is one mistake."""
    assert len(mistakes(" && ".join(f"no_{number}" for number in range(100)), "segment", BOUNDS)) == MISTAKES_MAX
    assert [error.code for error in mistakes("x" * (CHARACTERS_MAX + 1), "segment", BOUNDS)] == ["too_large"]


PARTS = ["n", "s", "nope", "events", ".", "x", "count", "(", ")", "[", "]", ",", " && ", " || ", ">", "==", "!", "not "]
PARTS += ["-", "5", '"a"', "'", "`", "where", "profile", "trait", "round", " in ", "sum_3d", "\\", "é", "if"]


@seeded
@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_there_are_mistakes_where_saving_refuses(text: str) -> None:
    """A text has mistakes exactly where it does not bind, and the one that saving tells is among them."""
    try:
        bind_one(Definition("trait", "own", text), BOUNDS)
        first = None
    except ExpressionError as error:
        first = error

    found = mistakes(text, "trait", BOUNDS)

    if first is None:
        assert found == []
    else:
        assert first.at.start in [error.at.start for error in found]
        assert all(error.text == text for error in found)
