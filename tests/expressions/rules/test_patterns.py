"""A pattern has one meaning in every engine and takes linear time; one that could not is refused with its place."""

from __future__ import annotations

import re

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.rules.patterns import PatternRefused, portable, searcher
from tests.chance import seeded

CHARACTERS = "ab0_ .-\n\té٣🦊Kσ\\"
texts = st.text(alphabet=CHARACTERS, max_size=8)
CLASSES = ["[a-c]", "[^a]", r"[\d_]", r"[^\s-]", "[A-z]", r"[\]\[^]", "[é-σ]", "[&~-]"]
ESCAPES = [r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\.", r"\\", r"\n"]
atoms = st.sampled_from(
    ["a", "b", "B", "0", "_", "é", "🦊", "K", "σ", ".", "-", "^", "$", "}", "]", *CLASSES, *ESCAPES]
)


def _repeated(inner: str, mark: str) -> str:
    return inner if inner in ("^", "$") else f"(?:{inner}){mark}" if len(inner) > 1 else inner + mark


patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=2).map(lambda two: f"({'|'.join(two)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(
            lambda pair: _repeated(*pair)
        ),
    ),
    max_leaves=5,
)


def by_python(pattern: str, text: str) -> bool:
    """Whether Python finds the pattern, read as ASCII and with $ at the very end, where Python's own is not."""
    return re.search(re.sub(r"(?<!\\)\$", r"\\Z", pattern), text, re.ASCII) is not None


@seeded
@given(patterns, st.lists(texts, min_size=1, max_size=5))
def test_every_engine_finds_the_same(pattern: str, some: list[str]) -> None:
    """RE2, Rust's regex and DuckDB agree with each other, and with Python on the pattern as its author wrote it."""
    written = portable(pattern)
    by_re2 = [searcher(pattern).search(text) is not None for text in some]
    by_polars = pl.DataFrame({"text": some}).select(pl.col("text").str.contains(written))["text"].to_list()
    found = duckdb.execute("SELECT regexp_matches(unnest(?::VARCHAR[]), ?)", [some, written]).fetchall()
    by_duckdb = [one for (one,) in found]

    assert by_re2 == by_polars == by_duckdb == [by_python(pattern, text) for text in some]


@seeded
@given(st.text(alphabet="ab\\dws(?:i)[]^-${}*+|,12.é\n", max_size=12))
def test_what_is_taken_is_taken_by_every_engine(pattern: str) -> None:
    """Any characters at all are either refused, with place and remedy, or a pattern that all engines read."""
    refusal, written = None, ""
    try:
        written = portable(pattern)
    except PatternRefused as error:
        refusal = error
    if refusal is not None:
        assert 0 <= refusal.place <= len(pattern)
        assert refusal.remedy
        return
    searcher(pattern).search("a")
    assert len(pl.Series(["a"]).str.contains(written)) == 1


def test_nothing_hangs() -> None:
    """A pattern that takes other engines years is answered over a long text before the test's time is out."""
    for pattern in ("^(([a-z])+.)+[A-Z]([a-z])+$", "(a|a?)+$", "(a|aa)+b", "(.*,){11}P", "(((a*)*)*)*b"):
        assert searcher(pattern).search("a" * 50_000) is None or pattern == "(a|a?)+$"


def test_the_largest_pattern_is_read_by_all() -> None:
    """At the bounds on repetition every engine still builds its machine."""
    pattern = "([^a]|.{10}){10}" + "[^b]{200}" * 4
    text = "c" * 2_000

    assert searcher(pattern).search(text) is not None
    assert pl.Series([text]).str.contains(portable(pattern)).to_list() == [True]


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("a**", 2),
        ("*a", 0),
        ("^*", 1),
        ("a{", 1),
        ("a{2,1}", 1),
        ("a{x}", 1),
        ("a{201}", 0),
        ("((a{10}){10}){10}", 0),
        ("(a", 0),
        ("a)", 1),
        ("[a", 0),
        ("[]", 0),
        ("[[:alpha:]]", 1),
        ("[z-a]", 4),
        ("[a-\\d]", 5),
        ("[\\D]", 1),
        ("a\\", 1),
        ("\\b", 0),
        ("\\1", 0),
        ("\\p{L}", 0),
        ("\\u0041", 0),
        ("(?=a)", 0),
        ("(?<n>a)", 0),
        ("(?s).", 0),
        ("(" * 51 + ")" * 51, 50),
        ("a" * 501, 500),
        ("([a-c]{100}){2}" * 11, 150),
    ],
)
def test_what_engines_disagree_on_is_refused(pattern: str, place: int) -> None:
    """A refusal names the character of the pattern and a remedy."""
    with pytest.raises(PatternRefused) as caught:
        portable(pattern)

    assert caught.value.place == place, str(caught.value)
