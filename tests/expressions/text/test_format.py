"""The text of a tree is read as the same tree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.ops import (
    And,
    Arithmetic,
    Call,
    Constant,
    EventTime,
    Expr,
    Negate,
    Not,
    Or,
    TraitRef,
    extent,
)
from expressions.text import format
from expressions.text.format import format_expression, laid_out, number_text
from expressions.text.parse import CHARACTERS_MAX, DEPTH_MAX, parse
from tests.chance import seeded
from tests.expressions.text.trees import expressions


@seeded
@given(expressions)
def test_reading_back_gives_the_same_tree(tree: Expr) -> None:
    """The text of every tree that authors can write is read as the same tree, whatever shape it was built in."""
    assert parse(format_expression(tree)) == tree


@seeded
@given(expressions, st.sampled_from([1, 10, 30, 100]))
def test_a_text_in_several_lines_is_the_same_tree(tree: Expr, width: int) -> None:
    """Whatever the width, and whatever stands in quotes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format, "WIDTH", width)
        text = laid_out(tree)

    assert parse(text) == tree
    assert len(format_expression(tree)) > width or text == format_expression(tree)


@seeded
@given(expressions)
def test_canonical_text_is_its_own(tree: Expr) -> None:
    """Formatting a formatted text changes nothing."""
    text = format_expression(tree)
    assert format_expression(parse(text)) == text


@pytest.mark.parametrize(
    "build",
    [
        lambda inner: Arithmetic("-", Constant(1.0), inner),
        lambda inner: Arithmetic("-", inner, Constant(1.0)),
        lambda inner: And(TraitRef("a"), Or(inner, TraitRef("b"))),
        lambda inner: Negate(Not(inner)),
        lambda inner: Call("if", (inner, Constant(1.0), Constant(2.0))),
    ],
)
def test_the_deepest_tree_is_read_back(build: Any) -> None:
    """The parentheses that formatting adds never make a tree that fits too deep to read."""
    tree: Expr = TraitRef("t")
    while extent(build(tree))[1] <= DEPTH_MAX:
        tree = build(tree)
    text = format_expression(tree)
    assert len(text) <= CHARACTERS_MAX
    assert parse(text) == tree


# ── as people would write it ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a and b and (c or d) and not e", "a && b && (c || d) && !e"),
        ("(a && b) && (c && d)", "a && b && c && d"),
        ("a || (b && c)", "a || b && c"),
        ("((1 + 2)) * 3", "(1 + 2) * 3"),
        ("1 - (2 - 3)", "1 - (2 - 3)"),
        ("(1 - 2) - 3", "1 - 2 - 3"),
        ("a not in ['x', 1.50]", 'a not in ["x", 1.5]'),
        ("-(1)", "-(1)"),
        ("- 1", "-1"),
        ("--a", "--a"),
        ("!!a", "!!a"),
        ("1e3 + 1e21 + 0.1", "1000 + 1e+21 + 0.1"),
        (r"'it\'s \\ \"'", r'"it' "'" r's \\ \""'),
        ("events.`Order Completed`.count_030d", 'events["Order Completed"].count_30d'),
        ("events.x.where(a).where(`b c`.d > 1).p.sum_3d", "events.x.where(a && `b c`.d > 1).p.sum_3d"),
        ("events.x.where(`in` == `q``r`).count", "events.x.where(`in` == `q``r`).count"),
        ("profile['first name'].x", 'profile["first name"].x'),
        ("last_seen_minutes_ago < 1440", "last_seen_minutes_ago < 1440"),
        ("not (a in ['x']) == (b not in c)", '!(a in ["x"] == b not in c)'),
        ("trait('a') > trait('count_0d') || trait('in')", 'a > trait("count_0d") || trait("in")'),
        ("trait('count') && trait('a b') && trait('where')", 'trait("count") && trait("a b") && where'),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    """A formatted text has no needless parentheses, marks for words, one kind of quote and the shortest numbers."""
    assert format_expression(parse(text)) == canonical


@seeded
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_bits(value: float) -> None:
    """The text of a number reads back as the same number."""
    assert float(number_text(value)) == value


def test_what_cannot_be_written_is_refused() -> None:
    """A node that stands only inside the table of aggregates has no text."""
    with pytest.raises(TypeError, match="EventTime has no text"):
        format_expression(EventTime())


def test_a_long_text_has_a_line_for_each_part() -> None:
    """Of the groups that are too long for a line; what is in them is indented."""
    long, other = "events.purchase.amount.sum_30d >= 1000", 'profile.plan in ["enterprise", "premium", "business"]'

    assert laid_out(parse(f"{long} && ({other} || segment('a')) && a")) == f'{long}\n&& ({other} || segment("a"))\n&& a'
    assert laid_out(parse(f"a && ({other} || {other} && {long})")) == "\n".join(
        ["a", "&& (", f"    {other}", f"    || {other}", f"        && {long}", ")"]
    )
    assert laid_out(parse("a  &&  b")) == "a && b"
