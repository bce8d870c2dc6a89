"""The text of a tree is read as the same tree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.aggregates import AGGREGATES
from expressions.functions import FUNCTIONS
from expressions.ops import (
    Aggregation,
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    EventTime,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Or,
    Property,
    SegmentRef,
    Source,
    TraitRef,
    extent,
)
from expressions.rules.windows import WINDOW_MS_MAX, Window
from expressions.text.format import format_expression, number_text
from expressions.text.parse import CHARACTERS_MAX, DEPTH_MAX, parse
from tests.chance import seeded

# ── trees of every shape ─────────────────────────────────────────────────────────────────────────────────────────

# Half surrogates are no characters; all else may stand in a string.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
names = st.one_of(
    st.sampled_from(["a", "events", "true", "in", "where", "count", "sum_3d", "a b", "`", '"', "\\"]), texts
).filter(len)
fields = st.one_of(
    names,
    st.lists(names, min_size=1, max_size=3).map(".".join),
    st.sampled_from([".", "a..b", "a.", ".a", "a. .`", "..count"]),  # parts that are empty
)
constants = st.one_of(
    st.none(), st.booleans(), texts, st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5).map(float)
).map(Constant)
lists = st.lists(constants, max_size=4).map(tuple).map(ListOf)


@st.composite
def aggregations(draw: st.DrawFn, conditions: st.SearchStrategy[Expr]) -> Aggregation:
    aggregate = AGGREGATES[draw(st.sampled_from(sorted(AGGREGATES)))]
    unit = "d" if aggregate.dates else draw(st.sampled_from("mhd"))
    length = draw(st.integers(1, WINDOW_MS_MAX // Window(1, unit).ms))  # type: ignore[arg-type]
    window = draw(st.sampled_from([None, Window(length, unit, aggregate.dates)]))  # type: ignore[arg-type]
    if aggregate.takes == "optional" and draw(st.booleans()):
        return Aggregation(aggregate.name, Source(), window)
    # Empty names cannot be written.
    wanted = fields.filter(lambda name: all(name.split(".")))
    property_ = draw(wanted if aggregate.takes == "required" else st.one_of(st.none(), wanted))
    return Aggregation(aggregate.name, Source(draw(names), draw(st.one_of(st.none(), conditions)), property_), window)


def inside(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    calls = [
        st.tuples(*[parts] * count).map(lambda args, name=name: Call(name, args))  # type: ignore[misc]
        for name, function in FUNCTIONS.items()
        if not function.internal and name not in ("days_since", "matches", "bucket")
        for count in range(len(function.takes) - function.optional, len(function.takes) + 1 + function.variadic)
    ]
    return st.one_of(
        st.builds(Not, parts),
        st.builds(And, parts, parts),
        st.builds(Or, parts, parts),
        st.builds(Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), parts, parts),
        st.builds(In, parts, st.one_of(parts, lists)),
        st.builds(Negate, parts),
        st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/", "%"]), parts, parts),
        *calls,
    )


conditions = st.recursive(
    st.one_of(constants, lists, fields.filter(lambda name: all(name.split("."))).map(Property)), inside, max_leaves=5
)
expressions = st.recursive(
    st.one_of(
        constants,
        lists,
        st.builds(Attribute, names, st.lists(names, max_size=3).map(tuple)),
        st.builds(TraitRef, texts),
        st.builds(SegmentRef, texts),
        aggregations(conditions),
    ),
    inside,
    max_leaves=12,
)


@seeded
@given(expressions)
def test_reading_back_gives_the_same_tree(tree: Expr) -> None:
    """The text of every tree that authors can write is read as the same tree, whatever shape it was built in."""
    assert parse(format_expression(tree)) == tree


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
        ("a and b and (c or d) and not e", 'trait("a") && trait("b") && (trait("c") || trait("d")) && !trait("e")'),
        ("(a && b) && (c && d)", 'trait("a") && trait("b") && trait("c") && trait("d")'),
        ("a || (b && c)", 'trait("a") || trait("b") && trait("c")'),
        ("((1 + 2)) * 3", "(1 + 2) * 3"),
        ("1 - (2 - 3)", "1 - (2 - 3)"),
        ("(1 - 2) - 3", "1 - 2 - 3"),
        ("a not in ['x', 1.50]", '!(trait("a") in ["x", 1.5])'),
        ("-(1)", "-(1)"),
        ("- 1", "-1"),
        ("--a", '--trait("a")'),
        ("!!a", '!!trait("a")'),
        ("1e3 + 1e21 + 0.1", "1000 + 1e+21 + 0.1"),
        (r"'it\'s \\ \"'", r'"it' "'" r's \\ \""'),
        ("events.`Order Completed`.count_030d", 'events["Order Completed"].count_30d'),
        ("events.x.where(a).where(`b c`.d > 1).p.sum_3d", "events.x.where(a && `b c`.d > 1).p.sum_3d"),
        ("events.x.where(`in` == `q``r`).count", "events.x.where(`in` == `q``r`).count"),
        ("profile['first name'].x", 'profile["first name"].x'),
        ("last_seen_minutes_ago < 1440", "last_seen_minutes_ago < 1440"),
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
