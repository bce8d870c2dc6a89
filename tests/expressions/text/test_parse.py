"""Parsing: the nodes of a text, how operators bind, the places of nodes, and refusals."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot.errors import ParseError

from expressions.aggregates import AGGREGATES
from expressions.errors import ExpressionError, SyntaxRefused, TooLarge, UnknownName
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
    Span,
    TraitRef,
    extent,
    walk,
)
from expressions.rules.windows import Window
from expressions.text.dialect import TinyCDP
from expressions.text.parse import CHARACTERS_MAX, DEPTH_MAX, ITEMS_MAX, NAMES_MAX, NODES_MAX, parse
from tests.chance import seeded

DESIGN = [
    "events.purchase.count_30d >= 3 && last_seen_minutes_ago < 1440",
    "events.purchase.amount.sum_90d / events.purchase.count_90d > 50",
    'events["Order Completed"].where(currency == "EUR").total.sum >= 500',
    'profile.plan in ["premium", "enterprise"] && !segment("churn_risk")',
    'trait("total_spent") >= 500',
]

#: Documented by the original, its seed scripts and its tests: definitions, segment rules and flag rules.
ORIGINAL = [
    "events.app_open.unique_days_14d >= 5",
    "events.purchase.count_30d >= 1 && last_seen_minutes_ago < 1440",
    "events.page_view.count_7d >= 10",
    'profile.device_type == "mobile"',
    "power_user == true",
    "power_user == true || frequent_visitor == true",
    "high_value_customer == true && recent_buyer == true",
    'segment("power_users")',
    'segment("recent_buyers") == false',
    'trait("power_user") == true && trait("high_value_customer") == true',
    "first_seen_days_ago > 7",
    "events.purchase.count_30d >= 1 && events.app_open.count_7d >= 3",
    'trait("total_spent") >= 500',
    'segment("recent_buyers") && segment("high_value")',
    "events.purchase.first_seen_days_ago > 30",
    "events.purchase.last_seen_days_ago <= 1",
    "events.purchase.count_14d",
    "last_seen_minutes_ago",
    'events.app_open.unique_days_14d >= 5 && (events.purchase.count_30d >= 1 || profile.plan == "premium")',
    "42",
    "true",
    '"test"',
    "3 > 2 == true",
    "1 in [1] == true",
    "1 < 2 < 3",
    'profile.addr.city == "Paris"',
    '"a" in profile.tags',
    "a",
    "a || b",
    "a == 5.25",
    'a == "x y"',
    "a == null",
    "a&&b",
    "(a == true)",
    "!a",
    "a == -1",
    "a == 'x'",
    "a == b",
    "5 == a",
    'a in ["x"]',
    "n + 1 > 5",
    "missing != true",
    "!segment('no')",
    "segment( 'a' )",
    'trait("x") in ["y"]',
    'trait("x") == trait("y")',
    "5.",
    "00012",
]


def number(value: float) -> Constant:
    return Constant(float(value))


def trait(key: str) -> TraitRef:
    return TraitRef(key)


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", DESIGN + ORIGINAL)
def test_reads_every_documented_example(text: str) -> None:
    """The examples of the README and all that the original documents are expressions."""
    assert isinstance(parse(text), Expr)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", Constant(True)),
        ("false", Constant(False)),
        ("null", Constant(None)),
        ("42", number(42)),
        ("3.14", number(3.14)),
        ("5.", number(5)),
        ("1e3", number(1000)),
        ("1.5E-3", number(0.0015)),
        ("00012", number(12)),
        ("99999999999999999999", number(1e20)),
        ("-1", number(-1)),
        ("- 1", number(-1)),
        ('"test"', Constant("test")),
        ("'test'", Constant("test")),
        (r'"a\"b"', Constant('a"b')),
        (r"'a\'b'", Constant("a'b")),
        (r'"a\\"', Constant("a\\")),
        ('"a\nb"', Constant("a\nb")),
        ('"日本 😀"', Constant("日本 😀")),
        ('"{# -- /* ; #}"', Constant("{# -- /* ; #}")),
        ("[]", ListOf(())),
        ("[1, -2, \"a\", 'b', true, null]", ListOf((*map(number, (1, -2)), *map(Constant, ("a", "b", True, None))))),
    ],
)
def test_reads_values(text: str, expected: Expr) -> None:
    """Numbers are floats, a sign before a number is part of it, and a backslash is before quotes and backslashes."""
    assert parse(text) == expected


def test_numbers_are_floats() -> None:
    """A whole number is a float too: there is one kind of number."""
    constant = parse("42")
    assert isinstance(constant, Constant)
    assert type(constant.value) is float


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("power_user", TraitRef("power_user")),
        ('trait("power_user")', TraitRef("power_user")),
        ("trait( 'power_user' )", TraitRef("power_user")),
        ("`power user`", TraitRef("power user")),
        ("`a``b`", TraitRef("a`b")),
        ("`count`", TraitRef("count")),
        ("`events`", TraitRef("events")),
        ("`true`", TraitRef("true")),
        ("True", TraitRef("True")),
        ("trait", TraitRef("trait")),
        ("sum_30d", TraitRef("sum_30d")),
        ("first_1st", TraitRef("first_1st")),
        ("last_7days", TraitRef("last_7days")),
        ('segment("churn_risk")', SegmentRef("churn_risk")),
        ("profile.plan", Attribute("plan")),
        ("profile.addr.city", Attribute("addr", ("city",))),
        ('profile["first name"].a["b.c"]', Attribute("first name", ("a", "b.c"))),
        ("profile.`first name`", Attribute("first name")),
        ("profile.events", Attribute("events")),
        ("profile.in", Attribute("in")),
    ],
)
def test_reads_names(text: str, expected: Expr) -> None:
    """A bare name is a trait unless it is a root aggregate; brackets and backticks write names that are no words."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("events.purchase.count", Aggregation("count", Source("purchase"))),
        ("events.purchase.count_30d", Aggregation("count", Source("purchase"), Window(30, "d"))),
        ("events.purchase.count_90m", Aggregation("count", Source("purchase"), Window(90, "m"))),
        ("events.purchase.count_36h", Aggregation("count", Source("purchase"), Window(36, "h"))),
        ("events.purchase.count_007d", Aggregation("count", Source("purchase"), Window(7, "d"))),
        ("events.purchase.count_3650d", Aggregation("count", Source("purchase"), Window(3650, "d"))),
        ("events . purchase\n. count", Aggregation("count", Source("purchase"))),
        ("events.app_open.unique_days_14d", Aggregation("unique_days", Source("app_open"), Window(14, "d", True))),
        ("events.x.last_seen_days_ago", Aggregation("last_seen_days_ago", Source("x"))),
        ("events.x.last_seen_days_ago_30d", Aggregation("last_seen_days_ago", Source("x"), Window(30, "d"))),
        ("events.x.amount.sum_7d", Aggregation("sum", Source("x", None, "amount"), Window(7, "d"))),
        ("events.x.a.b.p95", Aggregation("p95", Source("x", None, "a.b"))),
        ('events.x["unit price"].sum', Aggregation("sum", Source("x", None, "unit price"))),
        ('events.x.a["b c"].d.max', Aggregation("max", Source("x", None, "a.b c.d"))),
        ('events["Order Completed"].count', Aggregation("count", Source("Order Completed"))),
        ("events.`page-view`.count_7d", Aggregation("count", Source("page-view"), Window(7, "d"))),
        ('events["2fa"].count_7d', Aggregation("count", Source("2fa"), Window(7, "d"))),
        ("events.in.count_7d", Aggregation("count", Source("in"), Window(7, "d"))),
        ("events.count.count.count", Aggregation("count", Source("count", None, "count"))),
        ("events.x.count_1w.count", Aggregation("count", Source("x", None, "count_1w"))),
        ("events.x.where.sum", Aggregation("sum", Source("x", None, "where"))),
        ("events.where.count", Aggregation("count", Source("where"))),
        ("last_seen_minutes_ago", Aggregation("last_seen_minutes_ago", Source())),
        ("unique_days_14d", Aggregation("unique_days", Source(), Window(14, "d", True))),
        ("count_1m", Aggregation("count", Source(), Window(1, "m"))),
    ],
)
def test_reads_aggregations(text: str, expected: Expr) -> None:
    """The last name of a path is the aggregate, with its window; names between it and the event are the property."""
    assert parse(text) == expected


@pytest.mark.parametrize("name", sorted(AGGREGATES))
def test_reads_every_aggregate(name: str) -> None:
    """Each aggregate of the table is reached by its name, with a window and without."""
    assert parse(f"events.x.y.{name}") == Aggregation(name, Source("x", None, "y"))
    dates = AGGREGATES[name].dates
    assert parse(f"events.x.y.{name}_7d") == Aggregation(name, Source("x", None, "y"), Window(7, "d", dates))


@pytest.mark.parametrize("name", sorted(name for name, function in FUNCTIONS.items() if not function.internal))
def test_reads_every_function(name: str) -> None:
    """Each public function is called with as many arguments as its table says, optional ones included."""
    function = FUNCTIONS[name]
    for count in range(len(function.takes) - function.optional, len(function.takes) + 1):
        assert parse(f"{name}({', '.join('abc'[:count])})") == Call(name, tuple(map(trait, "abc"[:count])))


@pytest.mark.parametrize("name", sorted(name for name, function in FUNCTIONS.items() if function.internal))
def test_internal_functions_are_unknown(name: str) -> None:
    """A function that stands only inside the table of aggregates cannot be called."""
    with pytest.raises(UnknownName):
        parse(f"{name}(a)")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("events.x.where(ok).count", Property("ok")),
        ("events.x.where(a.b > 1).count", Compare(">", Property("a.b"), number(1))),
        ('events.x.where(a["b c"].d).count', Property("a.b c.d")),
        ("events.x.where(`unit price` == 1).count", Compare("==", Property("unit price"), number(1))),
        ("events.x.where(`events`).count", Property("events")),
        ("events.x.where(`true`).count", Property("true")),
        ("events.x.where(count).count", Property("count")),
        ("events.x.where(where).count", Property("where")),
        ("events.x.where(lower(a) == 'b').count", Compare("==", Call("lower", (Property("a"),)), Constant("b"))),
        ("events.x.where(a).where(b).count", And(Property("a"), Property("b"))),
    ],
)
def test_reads_conditions(text: str, where: Expr) -> None:
    """Inside `where` a bare name, dotted or not, is a property of the event; several `where` are joined by and."""
    assert parse(text) == Aggregation("count", Source("x", where))


def test_chained_where_reads_as_and() -> None:
    """`.where(a).where(b).where(c)` is one condition, the same tree as with `&&`."""
    assert parse("events.x.where(a).where(b).where(c).count") == parse("events.x.where(a && b && c).count")


# ── how operators bind ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a || b && c", "a || (b && c)"),
        ("a && b || c", "(a && b) || c"),
        ("a or b and c", "a || (b && c)"),
        ("not a && b", "(not a) && b"),
        ("not a == b", "not (a == b)"),
        ("not a in b", "not (a in b)"),
        ("!a == b", "(!a) == b"),
        ("!a in b", "(!a) in b"),
        ("a == b < c", "a == (b < c)"),
        ("a < b in c", "a < (b in c)"),
        ("a + b in c", "(a + b) in c"),
        ("a not in b", "!(a in b)"),
        ("a not in b == c", "!(a in b) == c"),
        ("true == 1 in [1]", "true == (1 in [1])"),
        ("a - b - c", "(a - b) - c"),
        ("a / b / c", "(a / b) / c"),
        ("a + b * c", "a + (b * c)"),
        ("a % b * c", "(a % b) * c"),
        ("1 < 2 < 3", "(1 < 2) < 3"),
        ("3 > 2 == true", "(3 > 2) == true"),
        ("a == b == c", "(a == b) == c"),
        ("-a * b", "(-a) * b"),
        ("-a - -b", "(-a) - (-b)"),
        ("a<-1", "a < (-1)"),
        ("2-1", "2 - (1)"),
        ("1--1", "1 - (-1)"),
        ("a!=!b", "a != (!b)"),
        ("a||b&&c==d<e+f*-g", "a || (b && (c == (d < (e + (f * (-g))))))"),
    ],
)
def test_binds(text: str, same: str) -> None:
    """From loose to tight: or, and, not, equality, ordering, in, + -, * / %, ! and the sign; equal ones to the left."""
    assert parse(text) == parse(same)


def test_signs_fold_into_numbers_only() -> None:
    """`-1` is a constant; a sign before anything but a number is a node."""
    assert parse("--1") == Negate(number(-1))
    assert parse("-(1)") == Negate(number(1))
    assert parse("-a") == Negate(trait("a"))


def test_words_and_marks_are_the_same() -> None:
    """`and`, `or` and `not` are read as `&&`, `||` and `!`."""
    assert parse("a and b or not c") == Or(And(trait("a"), trait("b")), Not(trait("c")))


def test_runs_are_balanced() -> None:
    """A hundred conditions under one operator are a few levels deep and keep their order."""
    tree = parse(" && ".join(f"t{index}" for index in range(100)))
    nodes, depth, _ = extent(tree)
    assert (nodes, depth) == (199, 8)
    assert [node.key for node in walk(tree) if isinstance(node, TraitRef)] == [f"t{index}" for index in range(100)]


def test_trees_of_ops() -> None:
    """A whole rule is read as the tree of its parts."""
    assert parse('events.purchase.amount.sum_90d / events.purchase.count_90d > 50 && !segment("x") in ["y"]') == And(
        Compare(
            ">",
            Arithmetic(
                "/",
                Aggregation("sum", Source("purchase", None, "amount"), Window(90, "d")),
                Aggregation("count", Source("purchase"), Window(90, "d")),
            ),
            number(50),
        ),
        In(Not(SegmentRef("x")), ListOf((Constant("y"),))),
    )


# ── where nodes stand ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_node_has_its_place() -> None:
    """Each node of a tree carries the characters it was read from, parentheses included."""
    text = """  not (a + -b) in [1, "é"] ||
    events["ü"].where(x.y == 'z' && ok).p["q"].sum_3d > round(profile.n, 2)"""
    places = {text[node.at.start : node.at.end] for node in walk(parse(text)) if node.at}
    assert all(node.at for node in walk(parse(text)))
    assert places == {
        text.strip(),
        'not (a + -b) in [1, "é"]',
        '(a + -b) in [1, "é"]',
        "(a + -b)",
        "a",
        "-b",
        "b",
        '[1, "é"]',
        "1",
        '"é"',
        text[text.index("events") :],
        """events["ü"].where(x.y == 'z' && ok).p["q"].sum_3d""",
        "x.y == 'z' && ok",
        "x.y == 'z'",
        "x.y",
        "'z'",
        "ok",
        "round(profile.n, 2)",
        "profile.n",
        "2",
    }


def test_places_take_no_part_in_equality() -> None:
    """Two texts that mean the same are the same tree."""
    assert parse("a+b") == parse("  a  +  b")
    assert hash(parse("a+b")) == hash(parse("  a  +  b"))


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("", (0, 1), "a value"),
        (" \n ", (0, 1), "a value"),
        ("(", (1, 2), "a value"),
        ("()", (1, 2), "a value"),
        (")", (0, 1), "a value"),
        ("a)", (1, 2), "an operator, or the end"),
        ("a b", (2, 3), "an operator, or the end"),
        ("(a b)", (3, 4), "an operator or )"),
        ("a &&", (4, 5), "a value"),
        ("a && \n", (4, 5), "a value"),
        ("1 = 2", (2, 3), "== to compare"),
        ("= 1", (0, 1), "== to compare"),
        ("1 === 1", (2, 5), "== to compare"),
        ("a !== b", (2, 5), "!= to compare"),
        ("1 <> 2", (2, 4), "!= to compare"),
        ("a & b", (2, 3), "&&"),
        ("a | b", (2, 3), "||"),
        ("a ? b : c", (2, 3), "if(condition, then, else)"),
        ("x; drop table y", (1, 2), "one expression"),
        ("(select 1) > 0", (8, 9), "an operator or )"),
        ("select 1", (7, 8), "an operator, or the end"),
        ("a -- b c", (7, 8), "an operator, or the end"),
        ("a /* b */", (3, 4), "a value"),
        ("a # b", (2, 3), "an operator, or the end"),
        ("a {# b #}", (2, 4), "an operator, or the end"),
        ("{{a}}", (0, 5), "a name"),
        ("a::int", (1, 2), "an operator, or the end"),
        ("$a", (0, 2), "a name"),
        ("@a", (0, 1), "a value"),
        (".5", (0, 1), "a value"),
        ("1.2.3", (0, 5), "a number"),
        ("7d", (0, 2), "a number"),
        ("1e", (0, 2), "a number"),
        ("0x10", (0, 4), "a number"),
        ("1_000", (0, 5), "a number"),
        ("5in [5]", (0, 3), "a number"),
        ("1e400", (0, 5), "a number below"),
        ("'open", (0, 5), "' at its end"),
        ('a == "open', (5, 10), '" at its end'),
        ("`open", (0, 5), "` at its end"),
        (r"'a\'", (0, 4), "' at its end"),
        ("'a' 'b'", (4, 7), "an operator, or the end"),
        ("N'a'", (0, 4), "a value"),
        ("café", (0, 4), "backticks"),
        ("日本", (0, 2), "backticks"),
        ("events.café.count", (7, 11), "backticks"),
        ("events.page-view.count_7d", (11, 12), 'events["…"]'),
        ("events.2fa.count", (7, 8), '["NAME"]'),
        ("[1,]", (3, 4), "a value"),
        ("[1", (2, 3), ", or ]"),
        ("[1 2]", (3, 4), ", or ]"),
        ("[[1]]", (1, 4), "a number, a string"),
        ("[a]", (1, 2), "a number, a string"),
        ("in", (0, 2), "a value"),
        ("a in", (4, 5), "a value"),
        ("a not b", (2, 5), "an operator, or the end"),
        ("trait(x)", (6, 7), "the trait's key in quotes"),
        ("trait()", (6, 7), "the trait's key in quotes"),
        ('segment("a"', (11, 12), ")"),
        ("abs(1", (5, 6), ", or )"),
        ("abs()", (0, 5), "1: "),
        ("abs(1, 2)", (0, 9), "1: "),
        ("round(1, 2, 3)", (0, 14), "1 to 2: "),
        ("coalesce(a)", (0, 11), "2 or more: "),
        ("if(a, b)", (0, 8), "3: "),
        ("events", (6, 7), "an event"),
        ("events.", (7, 8), "an event"),
        ("events.purchase", (15, 16), "an aggregate"),
        ("events.purchase.", (16, 17), "a property or an aggregate"),
        ("events.purchase.count_30d >=", (28, 29), "a value"),
        ("events[x].count", (7, 8), "a name in quotes"),
        ('events[""].count', (7, 9), "an event"),
        ("events.``.count", (7, 9), "an event"),
        ("profile", (7, 8), "an attribute"),
        ("profile.", (8, 9), "an attribute"),
        ("profile[1]", (8, 9), "a name in quotes"),
        ("events.x.count_0d", (9, 17), "a window from 1m to 3650d"),
        ("events.x.count_3651d", (9, 20), "a window from 1m to 3650d"),
        ("events.x.count_99999999999999999999m", (9, 36), "a window from 1m to 3650d"),
        ("events.x.count_1w", (9, 17), "m, h or d"),
        ("events.x.count_1D", (9, 17), "m, h or d"),
        ("events.x.unique_days_7h", (9, 23), "days"),
        ("count_0d", (0, 8), "a window from 1m to 3650d"),
        ("1 + count_7days", (4, 15), "m, h or d"),
        ("events.x.sum_30d", (9, 16), "a property before it, as in events.x.PROPERTY.sum_30d"),
        ('events["A b"].avg', (14, 17), 'as in events["A b"].PROPERTY.avg'),
        ("events.x.y.where(a).sum", (11, 16), "right behind the event"),
        ("events.x.where().count", (15, 16), "a value"),
        ("events.x.where(a", (16, 17), "an operator or )"),
        ("events.x.where(a).", (18, 19), "a property or an aggregate"),
        ("events.x.where(events.y.count > 1).count", (15, 21), "properties of the event"),
        ("events.x.where(profile.a).count", (15, 22), "properties of the event"),
        ("events.x.where(trait('a')).count", (15, 20), "properties of the event"),
        ("events.x.where(!segment('a')).count", (16, 23), "properties of the event"),
        ("events.x.where(days_since(a) > 3).count", (15, 25), "properties alone"),
        ("a\u200b", (0, 2), "backticks"),
        ("a\x00b", (0, 3), "backticks"),
    ],
)
def test_refuses(text: str, at: tuple[int, int], expected: str) -> None:
    """A text outside the language is refused at its very characters, with what was expected there."""
    with pytest.raises(SyntaxRefused) as refused:
        parse(text)
    assert (refused.value.at, refused.value.text) == (Span(*at), text)
    assert expected in refused.value.expected


@pytest.mark.parametrize(
    ("text", "at", "nearest", "expected"),
    [
        ("lenght(a)", (0, 6), ("length",), "one of contains"),
        ("a && lowr(b) == 'x'", (5, 9), ("lower",), "one of contains"),
        ("foo()", (0, 3), (), "one of contains"),
        ("random() < 0.1", (0, 6), (), "one of contains"),
        ("sum(x, '7d')", (0, 3), (), "events.EVENT.PROPERTY.sum"),
        ("count_30d(x)", (0, 9), (), "events.EVENT.PROPERTY.count_30d"),
        ("where(x)", (0, 5), ("lower",), "events.EVENT.where"),
        ("traits('x')", (0, 6), ("trait",), "one of contains"),
        ("events.x.cuont_30d", (9, 18), ("count",), "one of count"),
        ("events.x.y.totl", (11, 15), (), "one of count"),
        ("events.x.y.p50", (11, 14), ("p95", "p90"), "one of count"),
        ('events.x["sum"]', (8, 15), ("sum",), "one of count"),
        ("events.x.count_60", (9, 17), ("count",), "as in count_30d"),
        ("event.purchase.count", (0, 5), ("events",), "events"),
        ("a && Profile.x", (5, 12), ("profile",), "profile"),
        ("a['b']", (0, 1), (), "events"),
    ],
)
def test_unknown_names(text: str, at: tuple[int, int], nearest: tuple[str, ...], expected: str) -> None:
    """Functions and aggregates that do not exist are refused with the nearest that do."""
    with pytest.raises(UnknownName) as refused:
        parse(text)
    assert refused.value.at == Span(*at)
    assert refused.value.nearest == nearest
    assert expected in refused.value.expected


def test_near_operators() -> None:
    """A word where an operator belongs is answered with the operators like it."""
    with pytest.raises(SyntaxRefused) as refused:
        parse("a andd b")
    assert refused.value.nearest == ("and",)


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────

TOO_LARGE = {
    "characters": "a" * (CHARACTERS_MAX + 1),
    "spaces": " " * (CHARACTERS_MAX + 1),
    "parentheses": "(" * (DEPTH_MAX + 1) + "1" + ")" * (DEPTH_MAX + 1),
    "open parentheses": "(" * CHARACTERS_MAX,
    "not": "!" * (CHARACTERS_MAX - 1) + "a",
    "not as a word": "not " * 2_000 + "a",
    "signs": "-" * (CHARACTERS_MAX - 1) + "a",
    "lists": "[" * CHARACTERS_MAX,
    "calls": "abs(" * 2_000,
    "to the right": "1+(" * 3_000,
    "to the left": "a" + "+a" * 4_000,
    "comparisons": "a" + "<a" * 4_000,
    "in": "a" + " in a" * 1_500,
    "nodes": "a" + "||a" * (NODES_MAX // 2),
    "where": "events.x" + ".where(a)" * 1_050 + ".count",
    "items": f"[{','.join('1' * (ITEMS_MAX + 1))}]",
    "names": "profile" + ".a" * (NAMES_MAX + 1),
}


@contextmanager
def stack_of(frames: int) -> Iterator[None]:
    """Leaves room for so many more frames than are in use."""
    used = len(inspect.stack(context=0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(used + frames)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("text", TOO_LARGE.values(), ids=TOO_LARGE)
def test_bounds_hold_before_the_stack_ends(text: str) -> None:
    """Length, depth and size are refused by name within 600 frames, never by a RecursionError."""
    with stack_of(600), pytest.raises(TooLarge):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a".ljust(CHARACTERS_MAX),
        "(" * (DEPTH_MAX - 1) + "a" + ")" * (DEPTH_MAX - 1),
        "!" * (DEPTH_MAX - 1) + "a",
        "(" * 60 + "abs(" * 60 + "a" + ")" * 120,
        "a-(" * (DEPTH_MAX - 1) + "a" + ")" * (DEPTH_MAX - 1),
        "a" + "||a" * (NODES_MAX // 2 - 1),
        f"a in [{','.join('1' * ITEMS_MAX)}]",
        "profile" + ".a" * NAMES_MAX,
    ],
    ids=lambda text: f"{text[:12]}…",
)
def test_what_just_fits_is_read(text: str) -> None:
    """A text at a bound is still read."""
    with stack_of(600):
        assert isinstance(parse(text), Expr)


PIECES = [
    *(
        "events",
        "profile",
        "trait",
        "segment",
        "where",
        "count_30d",
        "sum",
        "a",
        "b",
        "true",
        "null",
        "in",
        "not",
        "and",
    ),
    *("(", ")", "[", "]", ".", ",", "&&", "||", "!", "==", "=", "<", "+", "-", "*", "%", '"x"', "'y'", "`z`", '"', "`"),
    *("1", "2.5", "7d", "1e", "abs", "if", "\\", "{#", ";", " ", "\n", "é", "\u2028", "\x00", "😀", "\ud800"),
]


def read(text: str) -> Expr | ExpressionError:
    try:
        return parse(text)
    except ExpressionError as error:
        return error


@seeded
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Any text gives a tree whose nodes lie in the text, or an error whose place does."""
    result = read(text)
    if isinstance(result, ExpressionError):
        assert 0 <= result.at.start <= len(text)
        assert result.at.start < result.at.end <= len(text) + 1
        assert 1 <= result.line <= text.count("\n") + 1
        assert str(result)
    else:
        for node in walk(result):
            assert node.at is not None
            assert 0 <= node.at.start < node.at.end <= len(text)


# ── the dialect ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_sqlglot_cannot_read_around_the_grammar() -> None:
    """sqlglot's own parser is refused for our dialect: it would take SQL for an expression."""
    with pytest.raises(ParseError, match=r"expressions\.text\.parse"):
        sqlglot.parse_one("(select 1) > 0", read=TinyCDP)
