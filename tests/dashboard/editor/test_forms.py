"""A form says what its tree said, or there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.editor.forms import Condition, Group, NoForm, Subject, Unfinished, Value, changed, form_of, tree_of
from expressions.text.format import format_expression
from expressions.text.parse import parse
from expressions.text.tree import text_of
from expressions.text.tree import tree_of as api_tree
from tests.chance import seeded
from tests.strategies import expressions, leaves

compared = st.tuples(leaves, st.sampled_from(["", ' == "a"', " >= 2.5", " != null", ' in ["a", 1]', " == true"])).map(
    "".join
)
#: Groups of conditions by and, or and not, whose parts mostly have common shapes.
groups = st.recursive(
    st.one_of(compared, compared, compared, expressions),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' && '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' || '.join(parts)})"),
        inner.map("!({})".format),
    ),
    max_leaves=6,
)


def form(text: str, *, is_value: bool = False) -> Value | Group:
    """The form of a text."""
    return form_of(api_tree(parse(text)), is_value=is_value)


@pytest.mark.parametrize(
    "text",
    [
        "events.purchase.count_30d >= 3",
        'events.purchase.where(currency == "EUR" && amount > 5).amount.sum_30d >= 100',
        'events["Order Completed"].where(!(a == 1 || b in [1, 2])).total.avg < 2.5',
        "last_seen_minutes_ago < 1440",
        'profile.plan in ["pro", "team"] && !(profile.plan in ["free"])',
        'segment("loyal") || !segment("churned")',
        'trait("a") == null || trait("b") != null || trait("c") == true',
        'trait("a") == 1 && (trait("b") == 2 || trait("c") == 3 && trait("d") == "x")',
        "!(events.purchase.count >= 1)",
        '!(trait("a") == 1 && trait("b") == 2)',
    ],
)
def test_a_common_shape_is_shown_and_written_back_as_it_was(text: str) -> None:
    """Reading a text and writing its form gives the text in its canonical form."""
    tree = tree_of(form(text))

    assert tree is not None
    assert text_of(tree) == format_expression(parse(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("events.purchase.amount.sum / events.purchase.count > 50", "arithmetic"),
        ("days_since(profile.signup) < 30", "a function"),
        ('trait("a") > trait("b")', "no constant"),
        ("profile.address.city == 'Rome'", "inside an attribute"),
        ("5 > 3", "a constant alone"),
    ],
)
def test_another_shape_has_no_form_and_the_reason_is_said(text: str, reason: str) -> None:
    """So the builder can tell why it shows nothing."""
    with pytest.raises(NoForm, match=reason):
        form(text)


def test_deep_and_long_expressions_have_no_form() -> None:
    """Their widgets would fit on no screen."""
    deep = "trait('a') && (trait('b') || trait('c') && (trait('d') || trait('e') && trait('f')))"
    long = " && ".join(f"trait('t{n}') == {n}" for n in range(40))

    with pytest.raises(NoForm, match="3 levels"):
        form(deep)
    with pytest.raises(NoForm, match="30 conditions"):
        form(long)


@seeded
@given(groups)
def test_whatever_has_a_form_is_written_back_as_it_was(text: str) -> None:
    """Of any expression the builder shows all or nothing."""
    tree = api_tree(parse(text))
    try:
        found = form_of(tree, is_value=False)
    except NoForm:
        return
    written = tree_of(found)
    assert written is not None
    # A long text is laid out in lines; in one line it is what was read.
    assert format_expression(parse(text_of(written))) == format_expression(parse(text))


def test_an_aggregate_alone_is_the_value_of_a_trait_and_the_condition_of_a_rule() -> None:
    """A trait may be a number; in a rule the number is taken as true or false."""
    subject = Subject("event", "purchase", "count", window="30d")

    assert form("events.purchase.count_30d", is_value=True) == Value(subject)
    assert form("events.purchase.count_30d") == Group("all", (Condition(subject, "holds"),))


@pytest.mark.parametrize(
    ("condition", "lacks"),
    [
        (Condition(Subject("event")), "Choose the event"),
        (Condition(Subject("event", "purchase")), "a value"),
        (Condition(Subject("attribute", "plan"), "in", ()), "at least one"),
    ],
)
def test_an_unfinished_condition_says_what_it_lacks(condition: Condition, lacks: str) -> None:
    """It has no tree yet."""
    with pytest.raises(Unfinished, match=lacks):
        tree_of(Group("all", (condition,)))


def test_a_group_is_changed_wherever_it_stands() -> None:
    """Inside another group, and inside a filter."""
    inner = Group("any", (Condition(Subject("property", "a"), "==", 1),))
    filtered = Condition(Subject("event", "x", where=inner), ">=", 1)
    outer = Group("all", (Group("none", (filtered,)),))

    emptied = changed(outer, inner.id, lambda group: Group(group.join, (), group.id))

    assert emptied == Group(
        "all", (Group("none", (Condition(Subject("event", "x", where=Group("any", ())), ">=", 1),)),)
    )
