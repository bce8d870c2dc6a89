"""Trees of every shape that authors can write, at random."""

from __future__ import annotations

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
)
from expressions.rules.windows import WINDOW_MS_MAX, Window

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
#: Trees of at most a dozen leaves.
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
