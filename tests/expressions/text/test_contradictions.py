"""Comparisons that can never hold are warned of, and nothing is warned of that can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.definitions import Bound, Definition
from expressions.errors import ExpressionError
from expressions.text.bind import bind
from expressions.text.contradictions import contradictions
from tests.chance import seeded
from tests.history import Event
from tests.oracle import judge
from tests.oracle_copies import once
from tests.strategies import NOW, aggregations, leaves, users

OTHERS = [
    Definition("trait", "n", "events.x.count"),
    Definition("trait", "quiet", "last_seen_days_ago_7d"),
    Definition("trait", "renamed", "quiet"),
    Definition("segment", "s", "n > 2"),
]


def bound(text: str) -> Bound:
    """A trait that may refer to the others."""
    return bind([*OTHERS, Definition("trait", "it", text)])["trait", "it"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '!profile.plan == "pro"',
            '!profile.plan == "pro" is never true: boolean and string are never equal;'
            ' did you mean profile.plan != "pro"?',
        ),
        (
            'true && (!profile.plan  != "pro")',
            '(!profile.plan != "pro") is always true: boolean and string are never equal;'
            ' did you mean profile.plan == "pro"?',
        ),
        (
            '!profile.plan in ["pro"]',
            '!profile.plan in ["pro"] is never true: boolean and string are never equal;'
            ' did you mean profile.plan not in ["pro"]?',
        ),
        ('events.x.count == "3"', 'events.x.count == "3" is never true: number and string are never equal'),
        ('n == "3"', 'n == "3" is never true: number and string are never equal'),
        ('segment("s") == "true"', 'segment("s") == "true" is never true: boolean and string are never equal'),
        ("events.x.count == null", "events.x.count == null is never true: number is never null"),
        ("events.x.v.avg == false", "events.x.v.avg == false is never true: number and boolean are never equal"),
        (
            'events.x.where(!v == "a").count',
            '!v == "a" is never true: boolean and string are never equal; did you mean v != "a"?',
        ),
        ('n in ["1", "2"]', 'n in ["1", "2"] is never true: number and string are never equal'),
        ("profile.plan in []", "profile.plan in [] is never true: the list is empty"),
        (
            "events.x.v.values in profile.a",
            "events.x.v.values in profile.a is never true: list and boolean, number or string are never equal",
        ),
        (
            "contains(lower(profile.a), 5)",
            "contains(lower(profile.a), 5) is never true: a string never contains a number",
        ),
        (
            "events.x.last_seen_days_ago_7d > 30",
            "events.x.last_seen_days_ago_7d > 30 is never true:"
            " events.x.last_seen_days_ago_7d is a whole number, 0 to 6",
        ),
        ("7 <= renamed", "7 <= renamed is never true: renamed is a whole number, 0 to 6"),
        (
            "last_seen_hours_ago_90m == 2",
            "last_seen_hours_ago_90m == 2 is never true: last_seen_hours_ago_90m is a whole number, 0 to 1",
        ),
        ("unique_days_7d > 7", "unique_days_7d > 7 is never true: unique_days_7d is a whole number, 0 to 7"),
        ("events.x.count < 0", "events.x.count < 0 is never true: events.x.count is a whole number, 0 or more"),
        ("n != 2.5", "n != 2.5 is always true: n is a whole number, 0 or more"),
        ("abs(profile.x) == -1", "abs(profile.x) == -1 is never true: abs(profile.x) is a number, 0 or more"),
        ("0 > abs(profile.x)", "0 > abs(profile.x) is never true: abs(profile.x) is a number, 0 or more"),
        ("abs(n) != 0.5", "abs(n) != 0.5 is always true: abs(n) is a whole number, 0 or more"),
        ("round(profile.x) == 2.5", "round(profile.x) == 2.5 is never true: round(profile.x) is a whole number"),
        ("n % 3 == 3", "n % 3 == 3 is never true: n % 3 is a whole number, 0 to 2"),
        ("n % -3 > 0", "n % -3 > 0 is never true: n % -3 is a whole number, -2 to 0"),
        ("profile.x % 0.5 > 0.5", "profile.x % 0.5 > 0.5 is never true: profile.x % 0.5 is a number, 0 to 0.5"),
        ("n in [-1, 2.5]", "n in [-1, 2.5] is never true: n is a whole number, 0 or more"),
        (
            'lower(profile.a) == "Pro"',
            'lower(profile.a) == "Pro" is never true: lower(profile.a) has no letter from A to Z',
        ),
        (
            '"pro" != upper(profile.a)',
            '"pro" != upper(profile.a) is always true: upper(profile.a) has no letter from a to z',
        ),
        (
            'lower(profile.a) in ["A", "B"]',
            'lower(profile.a) in ["A", "B"] is never true: lower(profile.a) has no letter from A to Z',
        ),
        (
            'contains(lower(profile.a), "Pro")',
            'contains(lower(profile.a), "Pro") is never true: lower(profile.a) has no letter from A to Z',
        ),
        ('bucket("a") >= 100000', 'bucket("a") >= 100000 is never true: bucket("a") is a whole number, 0 to 99999'),
    ],
)
def test_what_never_holds_is_told(text: str, sentence: str) -> None:
    """The comparison is quoted, with why; a ! before it is told apart from a ! around it."""
    assert contradictions(bound(text)) == [sentence]


@pytest.mark.parametrize(
    "text",
    [
        'profile.plan == "pro"',
        "!profile.paid == true",
        "events.x.v.avg == null",
        'events.x.v.last in ["1", 2]',
        "events.x.last_seen_days_ago_7d >= 6",
        "last_seen_days_ago > 3000",
        "events.x.last_seen_hours_ago_7d > 100",
        "unique_days_7d == 7",
        "n <= 0",
        "events.x.v.sum == 2.5",
        "lower(profile.a) == upper(profile.b)",
        "abs(profile.x) == 0.5",
        "abs(profile.x) <= 0",
        "round(profile.x) == -2",
        "round(profile.x, 1) == 2.5",
        "n % 3 == 2",
        "profile.x % 3 == 2.5",
        "n in [-1, 0]",
        'n in [-1, "a", null]',
        'lower(profile.a) == "pro 1 É"',
        'lower(profile.a) in ["A", "b"]',
        'starts_with(upper(profile.a), "PRO")',
        "contains(profile.tags, 5)",
    ],
)
def test_what_may_hold_is_not(text: str) -> None:
    """A value that may be of the right kind, or null on both sides, says nothing."""
    assert contradictions(bound(text)) == []


def of_function(inside: str) -> st.SearchStrategy[str]:
    """A part in a function or an operation whose results are bounded."""
    forms = ("abs({})", "round({})", "({} % 3)", "({} % -7)", "({} % 0.5)", "lower({})", "upper({})")
    return st.sampled_from([form.format(inside) for form in forms])


@seeded
@given(
    left=leaves | aggregations() | (leaves | aggregations()).flatmap(of_function),
    op=st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]),
    right=leaves
    | st.sampled_from(["0", "1", "6", "7", "8", "-1", "0.5", "99999", '"A"', '"a"', '["a", 1]', "[true]", "[-1, 8.5]"]),
    people=users,
)
def test_what_is_told_is_true(left: str, op: str, right: str, people: Mapping[str, Sequence[Event]]) -> None:
    """Whatever people did: what is called never true is false, and what is called always true is true."""
    text = f"{left} {op} {right}"
    try:
        (trait,) = bind([Definition("trait", "it", text)]).values()
    except ExpressionError:
        return
    for sentence in contradictions(trait):
        if sentence.startswith(text):
            for user, events in people.items():
                value, _ = judge(trait.expr, once(events), NOW, user=user)
                assert value is sentence.startswith(f"{text} is always true"), sentence
