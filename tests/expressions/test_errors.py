"""The text of a refusal: message and place, the line with carets, what was expected, the nearest names."""

from __future__ import annotations

import pytest

from expressions.definitions import Definition
from expressions.errors import ExpressionError, SyntaxRefused, TooLarge, UnknownName, nearest_names
from expressions.ops import Span
from expressions.text.bind import bind_one
from expressions.text.parse import CHARACTERS_MAX, parse


def refusal(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    return refused.value


def refusal_lines(text: str) -> list[str]:
    """The lines of a refusal."""
    return str(refusal(text)).split("\n")


def test_says_everything() -> None:
    """The message names line and column, the caret stands under the place, and help follows."""
    assert refusal_lines("events.purchase.count_30d >= 1 &&\n  lenght(profile.name) > 3") == [
        "no function lenght (line 2, column 3)",
        "    lenght(profile.name) > 3",
        "    ^^^^^^",
        "expected one of contains, starts_with, ends_with, lower, upper, length, abs, round, coalesce, if, days_since,"
        " matches, bucket, trait, segment",
        "did you mean length?",
    ]


def test_data_comes_with_the_text() -> None:
    """All that the text of a refusal says is there as data, for the wire and for an editor that underlines."""
    error = refusal("a &&\r\n 'é😀' lower b")
    assert (error.code, error.line, error.column, error.at) == ("syntax_error", 2, 7, Span(12, 17))
    assert error.text[error.at.start : error.at.end] == "lower"
    assert error.as_details() == {
        "line": 2,
        "column": 7,
        "start": 12,
        "end": 17,
        "expected": "an operator, or the end",
        "nearest": [],
        "definition": "",
    }


@pytest.mark.parametrize(
    ("text", "line", "carets"),
    [
        ("a = 1", "a = 1", "  ^"),
        ("a &&", "a &&", "    ^"),
        ("\ta = 1", "\ta = 1", "\t  ^"),
        ("'日本' = 1", "'日本' = 1", "       ^"),
        ("'e\u0301' = 1", "'e\u0301' = 1", "    ^"),
        ("日本", "日本", "^^^^"),
        ("a = 1\r\n && b", "a = 1", "  ^"),
        ("a ==\n\n'b", "'b", "^^"),
        ("a == 'b\nc'd", "c'd", "  ^"),
        ("'a\nb", "'a", "^^"),
        ("1.2.3 + 4", "1.2.3 + 4", "^^^^^"),
        ("'\x1b[31m' = 1", "'\N{REPLACEMENT CHARACTER}[31m' = 1", "        ^"),
    ],
)
def test_carets_stand_under_the_place(text: str, line: str, carets: str) -> None:
    """Carets keep their place after tabs, wide and combining characters; what a terminal would obey is replaced."""
    assert refusal_lines(text)[1:3] == [f"  {line}", f"  {carets}"]


def test_long_lines_are_cut() -> None:
    """The excerpt of a long line is the part around the place, and the caret still stands under the place."""
    lines = refusal_lines(f"{'a + ' * 50}= 1 {'+ b ' * 50}")
    assert max(map(len, lines)) < 140
    assert lines[1][lines[2].index("^")] == "="
    assert lines[1].startswith("  …")
    assert lines[1].endswith("…")


def test_a_long_place_ends_with_the_line() -> None:
    """Carets never run past the excerpt."""
    line, carets = refusal_lines("'" + "x" * 500)[1:3]
    assert len(carets) <= len(line)


def test_nothing_to_show() -> None:
    """An empty text and one beyond the bounds are refused without a line."""
    assert refusal_lines("") == ["the expression is empty", "expected a value, a name or ("]
    assert refusal_lines("a" * (CHARACTERS_MAX + 1)) == ["an expression of 10001 characters", "expected at most 10000"]
    assert isinstance(refusal("a" * (CHARACTERS_MAX + 1)), TooLarge)


def test_the_definition_is_named() -> None:
    """An error in a definition names the definition."""
    with pytest.raises(UnknownName) as refused:
        bind_one(Definition("segment", "buyers", "buyer == true"), {})
    assert str(refused.value).startswith(
        "no trait buyer (segment 'buyers', line 1, column 1)\n  buyer == true\n  ^^^^^\n"
    )
    assert refused.value.as_details()["definition"] == "segment 'buyers'"


def test_what_is_known_first_stays() -> None:
    """Text, place and definition stay those of the part where the error arose, whoever passes it on."""
    error = SyntaxRefused("no").placed(Span(1, 2)).with_text("abc").of("trait", "a")
    error.placed(Span(0, 1)).with_text("xyz").of("flag", "b")
    assert (error.at, error.text, error.definition) == (Span(1, 2), "abc", "trait 'a'")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("lenght", ("length",)),
        ("PURCHASE", ("Purchase", "purchase")),
        ("Order Complete", ("Order Completed",)),
        ("zzz", ()),
    ],
)
def test_nearest_names(name: str, nearest: tuple[str, ...]) -> None:
    """Nearest names are spelled alike, capitals aside; there are none where no name is like it."""
    assert nearest_names(name, ["length", "Purchase", "purchase", "Order Completed", "lower"]) == nearest
