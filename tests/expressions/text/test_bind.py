"""Binding: order, cycles, types, replaced references, refusals and warnings (S3, S4, S9, S10)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.aggregates import AGGREGATES
from expressions.definitions import Bound, Definition, DefinitionKind
from expressions.errors import (
    CycleRefused,
    ExpressionError,
    KeyRefused,
    SyntaxRefused,
    TooLarge,
    TypeRefused,
    UnknownName,
)
from expressions.ops import Expr, Not, SegmentRef, Span, TraitRef, distinct_parts, walk
from expressions.rules import dtypes
from expressions.rules.dtypes import ANY, BOOLEAN, LIST, NULL, NUMBER, SCALAR, STRING, Dtype, nullable
from expressions.text.bind import (
    INLINED_DEPTH_MAX,
    INLINED_PARTS_MAX,
    Key,
    Known,
    bind,
    bind_changed,
    bind_one,
    dependents,
)
from expressions.text.parse import parse
from expressions.text.typecheck import aggregate_dtype, dtype_of
from tests.chance import seeded

SEEDS = {
    "power_user": "events.app_open.unique_days_14d >= 5",
    "recent_buyer": "events.purchase.count_30d >= 1 && last_seen_minutes_ago < 1440",
    "frequent_visitor": "events.page_view.count_7d >= 10",
    "high_value_customer": "events.purchase.amount.sum_30d >= 100",
    "mobile_user": 'profile.device_type == "mobile"',
}
SEED_SEGMENTS = {
    "power_users": "power_user == true",
    "recent_buyers": "recent_buyer == true",
    "engaged_users": "power_user == true || frequent_visitor == true",
    "vip_customers": "high_value_customer == true && recent_buyer == true",
    "mobile_engaged": "mobile_user == true && power_user == true",
}
SEED_FLAGS = {
    "premium_features": 'segment("power_users")',
    "discount_offer": 'segment("recent_buyers") == false',
    "vip_support": 'segment("vip_customers")',
    "mobile_push_notifications": 'segment("mobile_engaged")',
    "beta_features": 'trait("power_user") == true && trait("high_value_customer") == true',
}


def definitions(kind: DefinitionKind = "trait", /, **texts: str) -> list[Definition]:
    return [Definition(kind, key, text) for key, text in texts.items()]


def trait(text: str, /, **others: str) -> Bound:
    """A trait with this expression, bound beside others."""
    return bind(definitions(**others, this=text))["trait", "this"]


def segment(text: str, /, **traits: str) -> Bound:
    return bind([*definitions(**traits), Definition("segment", "this", text)])["segment", "this"]


def refusal(*wanted: Definition) -> ExpressionError:
    with pytest.raises(ExpressionError) as refused:
        bind(wanted)
    return refused.value


# ── order and inlining ───────────────────────────────────────────────────────────────────────────────────────────


def test_binds_the_seeds() -> None:
    """The definitions with which the original begins bind together, whatever their order."""
    seeds = [
        *definitions("flag", **SEED_FLAGS),
        *definitions("segment", **SEED_SEGMENTS),
        *definitions(**SEEDS),
    ]
    assert set(bind(seeds)) == {(seed.kind, seed.key) for seed in seeds}


@seeded
@given(
    st.permutations(
        [*definitions("flag", **SEED_FLAGS), *definitions("segment", **SEED_SEGMENTS), *definitions(**SEEDS)]
    )
)
def test_each_comes_after_those_it_uses(seeds: list[Definition]) -> None:
    """Each definition stands behind those it uses, and its bound tree does not depend on the order of arrival."""
    bounds = bind(seeds)
    done: set[Key] = set()
    for key, bound in bounds.items():
        assert bound.uses <= done
        done.add(key)
    assert bounds == bind(reversed(seeds))


def test_nothing_refers_once_bound() -> None:
    """In the bound tree the expressions of other definitions replace references; the written tree keeps them."""
    bounds = bind(
        [
            *definitions(a="b + 1", b="profile.x"),
            *definitions("segment", s="a > 0"),
            *definitions("flag", f='segment("s") && b'),
        ]
    )
    assert bounds["trait", "a"].expr == parse("profile.x + 1")
    assert bounds["flag", "f"].expr == parse("(profile.x + 1 > 0) && profile.x")
    assert bounds["flag", "f"].written == parse('segment("s") && b')
    for bound in bounds.values():
        assert not [node for node in walk(bound.expr) if isinstance(node, TraitRef | SegmentRef)]


def test_uses_and_dependents() -> None:
    """`uses` names the definitions that one refers to directly, `dependents` those that refer to it."""
    bounds = bind(
        [*definitions(a="b + 1", b="1"), *definitions("segment", s="a > 0"), *definitions("flag", f='segment("s")')]
    )
    assert bounds["segment", "s"].uses == {("trait", "a")}
    assert dependents(("trait", "a"), bounds) == [("segment", "s")]
    assert dependents(("trait", "b"), bounds) == [("trait", "a")]
    assert dependents(("segment", "s"), bounds) == [("flag", "f")]
    assert dependents(("flag", "f"), bounds) == []


def test_a_trait_and_a_segment_may_share_a_key() -> None:
    """A bare name means the trait of that key, and `segment(…)` the segment."""
    bounds = bind(
        [
            *definitions(vip="profile.n"),
            *definitions("segment", vip="vip > 3"),
            *definitions("flag", vip='segment("vip")'),
        ]
    )
    assert bounds["flag", "vip"].expr == parse("profile.n > 3")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("profile.vip", Not(Not(parse("profile.vip")))),
        ("null", Not(Not(parse("null")))),
        ("if(true, true, null)", Not(Not(parse("if(true, true, null)")))),
        ("profile.vip == true", parse("profile.vip == true")),
        ("true", parse("true")),
        ("!profile.vip", parse("!profile.vip")),
    ],
)
def test_a_rule_is_a_boolean(rule: str, expected: Expr) -> None:
    """A rule that may give no boolean is reduced to one by S4; a boolean rule is left alone (S10)."""
    assert segment(rule).expr == expected


def test_bind_one_equals_bind() -> None:
    """Binding one definition against the others gives the same as binding all."""
    wanted = [*definitions(**SEEDS), *definitions("segment", **SEED_SEGMENTS), *definitions("flag", **SEED_FLAGS)]
    bounds = bind(wanted)
    for definition in wanted:
        assert bind_one(definition, bounds) == bounds[definition.kind, definition.key]


def test_bind_one_replaces_its_own_key() -> None:
    """A definition is checked against the others, not against its older self."""
    bounds = bind(definitions(a="profile.x", b="a + 1"))
    assert bind_one(Definition("trait", "a", "profile.y"), bounds).expr == parse("profile.y")


#: What definitions say at first, and then: those that are referred to come later, some are away, some make a cycle.
CHANGING: dict[Key, list[str | None]] = {
    ("flag", "f"): ['segment("s") && a > 0', 'segment("s")', "true", None],
    ("trait", "c"): ["b + a", "a", "profile.z", 'segment("s")', None],
    ("segment", "s"): ["c > 1", "b > 0", "a == 1 && c == 2", None],
    ("trait", "b"): ["profile.y", "a + 1", "b + 1", None],
    ("trait", "a"): ["profile.x", "events.y.count", "b + 1", "profile.x > 1", None],
}
changes = st.sampled_from([(key, text) for key, texts in CHANGING.items() for text in texts])


@seeded
@given(st.lists(changes, min_size=5, max_size=15))
def test_what_is_bound_after_each_change_is_what_is_bound_anew(changes: list[tuple[Key, str | None]]) -> None:
    """Definitions change, go and come back, some with what they refer to: the same bounds in the same order, or the
    same error. A refused change is not kept."""
    texts = {key: texts[0] for key, texts in CHANGING.items()}
    before: dict[Key, Bound] = {}
    for key, text in [(("flag", "f"), texts["flag", "f"]), *changes]:
        changed = {**texts, key: text}
        if text is None:
            del changed[key]
        wanted = [Definition(*key, text) for key, text in changed.items() if text is not None]
        anew = _bound_or_refused(partial(bind, wanted))
        after = _bound_or_refused(partial(bind_changed, wanted, before))
        if isinstance(anew, str) or isinstance(after, str):
            assert after == anew
            continue
        assert list(after.items()) == list(anew.items())
        assert [list(bound.used) for bound in after.values()] == [list(bound.used) for bound in anew.values()]
        # No bound holds another one than is there: an older one would answer in an explanation.
        assert all(after[used] is other for bound in after.values() for used, other in bound.used.items())
        texts, before = changed, after


def _bound_or_refused(binds: Callable[[], dict[Key, Bound]]) -> dict[Key, Bound] | str:
    try:
        return binds()
    except ExpressionError as error:
        return str(error)


def test_what_is_the_same_with_all_that_it_refers_to_is_not_bound_again() -> None:
    """What refers to a changed definition, also by another one, is bound again; nothing else is."""
    before = bind(definitions(a="profile.x", b="a + 1", c="b > 1", d="profile.y", e="d + 1"))
    after = bind_changed(definitions(a="profile.z", b="a + 1", c="b > 1", d="profile.y", e="d + 1"), before)

    assert {name for (_, name), bound in after.items() if bound is before["trait", name]} == {"d", "e"}
    assert after["trait", "c"].expr == parse("profile.z + 1 > 1")


# ── cycles ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cycles_are_refused() -> None:
    """A cycle is named step by step, at the first step, in the text of the definition where it begins."""
    error = refusal(*definitions(a="1 + b", b="c", c="a"))
    assert isinstance(error, CycleRefused)
    assert error.message == "trait a needs trait b needs trait c needs trait a"
    assert (error.definition, error.text, error.at) == ("trait 'a'", "1 + b", Span(4, 5))


def test_a_cycle_beside_the_start() -> None:
    """A definition that leads into a cycle is not named as part of it."""
    error = refusal(*definitions(a="b", b="c", c="b"))
    assert error.message == "trait b needs trait c needs trait b"
    assert (error.definition, error.text) == ("trait 'b'", "c")


def test_cycles_through_segments() -> None:
    """Traits and segments may form a cycle together."""
    error = refusal(*definitions(a='segment("s")'), *definitions("segment", s="a"))
    assert error.message == "trait a needs segment s needs trait a"


@pytest.mark.parametrize("text", ["a", "b", "profile.x + b"])
def test_bind_one_refuses_a_cycle(text: str) -> None:
    """A definition that closes a cycle is refused at its own reference."""
    others = bind(definitions(a="profile.x", b="a + 1"))
    with pytest.raises(CycleRefused) as refused:
        bind_one(Definition("trait", "a", text), others)
    assert (refused.value.definition, refused.value.text) == ("trait 'a'", text)
    assert text[refused.value.at.start : refused.value.at.end] == text[-1]


# ── refusals (S9) ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "at", "nearest", "expected"),
    [
        ("power_usr == true", (0, 9), ("power_user",), "the key of a trait"),
        ('1 > 0 && trait("power_usr")', (9, 27), ("power_user",), "the key of a trait"),
        ('segment("power_user")', (0, 21), ("power_users",), "the key of a segment"),
        ("plan", (0, 4), (), "profile.plan"),
        ("sum_30d > 1", (0, 7), (), "events.EVENT.PROPERTY.sum_30d"),
        ("userId", (0, 6), (), "profile.userId"),
        ("True", (0, 4), (), "profile.True"),
    ],
)
def test_unknown_references(text: str, at: tuple[int, int], nearest: tuple[str, ...], expected: str) -> None:
    """A trait or segment that does not exist is refused with the nearest that do, and with what else it may be.

    D-10.
    """
    error = refusal(
        *definitions(power_user="true"), *definitions("segment", power_users="true"), Definition("segment", "s", text)
    )
    assert isinstance(error, UnknownName)
    assert (error.at, error.nearest, error.definition) == (Span(*at), nearest, "segment 's'")
    assert expected in error.expected


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("1 > 0 || events.x.count_30x > 1", (18, 27), "m, h or d, as in count_30d"),
        ("events.x.count_3651d == 0", (9, 20), "a window from 1m to 3650d"),
        ("count_0d == 0", (0, 8), "a window from 1m to 3650d"),
        ("events.x.y.total_7d > 1", (11, 19), "one of count"),
        ("cuont_7d > 1", (0, 8), "an aggregate over all events"),
    ],
)
def test_unknown_windows_and_aggregates(text: str, at: tuple[int, int], expected: str) -> None:
    """A definition with a window or an aggregate that does not exist is never bound, whatever stands beside it."""
    error = refusal(*definitions("segment", s=text))
    assert isinstance(error, SyntaxRefused | UnknownName)
    assert (error.at, error.definition) == (Span(*at), "segment 's'")
    assert expected in error.expected


@pytest.mark.parametrize(
    "key",
    [
        *sorted(name for name, aggregate in AGGREGATES.items() if aggregate.takes == "optional"),
        *("count_30d", "unique_days_7d", "last_seen_days_ago_3d", "count_0d", "count_9w"),
        *("true", "null", "in", "not", "and", "or", "events", "profile"),
    ],
)
def test_keys_of_the_language_are_refused(key: str) -> None:
    """A trait named as a root aggregate or a word of the language could never be meant by its bare name."""
    error = refusal(Definition("trait", key, "1"))
    assert isinstance(error, KeyRefused)
    assert error.definition == f"trait '{key}'"
    assert "\n  1" not in str(error)
    assert not isinstance(bind([Definition("segment", key, "true")]), ExpressionError)


@pytest.mark.parametrize("key", ["sum", "sum_30d", "first_1st", "counts", "count_", "count_30", "trait", "length"])
def test_other_keys_are_free(key: str) -> None:
    """Aggregates that need a property have no meaning at the root, so a trait may have their names."""
    bounds = bind(definitions(**{key: "1", "other": f"{key} + 1"}))
    assert bounds["trait", "other"].uses == {("trait", key)}


def test_a_missing_property_is_refused_with_the_remedy() -> None:
    """The refusal of `events.x.sum_30d` says which path would be right."""
    error = refusal(*definitions(spent="events.purchase.sum_30d"))
    assert isinstance(error, SyntaxRefused)
    assert error.definition == "trait 'spent'"
    assert error.expected == "a property before it, as in events.purchase.PROPERTY.sum_30d"


def test_the_first_error_is_raised() -> None:
    """The first error is that of the first definition, and errors of texts come before those of names."""
    assert refusal(*definitions(a="nobody", b="1 +")).definition == "trait 'b'"
    assert refusal(*definitions(a="nobody", b="somebody")).definition == "trait 'a'"


def test_a_definition_that_is_used_twice_is_one_part() -> None:
    """Traits that use each other twice and twice again have as many parts as traits, however deep."""
    doubling = definitions(t0="profile.x", **{f"t{index}": f"t{index - 1} + t{index - 1}" for index in range(1, 120)})
    bounds = bind(doubling)
    assert len(distinct_parts(bounds["trait", "t119"].expr)) == 120
    assert {bound.dtype for bound in bounds.values()} == {ANY, nullable(NUMBER)}


def test_distinct_parts_are_bounded() -> None:
    """Up to 20,000 distinct parts are one definition; beyond them it is refused at the reference that is too much."""
    long = {f"t{number}": " || ".join(f"x == {number}{place}" for place in range(100, 590)) for number in range(14)}
    others = definitions(x="profile.x", **long)
    bounds = bind([*others, *definitions(fits=" && ".join(list(long)[:13]))])
    assert INLINED_PARTS_MAX * 0.9 < len(distinct_parts(bounds["trait", "fits"].expr)) <= INLINED_PARTS_MAX

    error = refusal(*others, *definitions(beyond=" && ".join(long)))
    assert isinstance(error, TooLarge)
    assert (error.definition, error.text[error.at.start : error.at.end]) == ("trait 'beyond'", "t13")


def test_references_pile_up_to_a_bound() -> None:
    """A long chain of traits is refused while every execution can still walk it."""
    chain = definitions(t0="profile.x", **{f"t{index}": f"t{index - 1} + 1" for index in range(1, 2_000)})
    assert isinstance(refusal(*chain), TooLarge)
    assert bind(chain[:INLINED_DEPTH_MAX])["trait", f"t{INLINED_DEPTH_MAX - 1}"].expr.levels == INLINED_DEPTH_MAX


def test_a_chain_of_names_may_be_long() -> None:
    """A trait that only renames another adds no level to the tree."""
    chain = definitions(t0="profile.x", **{f"t{index}": f"t{index - 1}" for index in range(1, 2_000)})
    assert bind(reversed(chain))["trait", "t1999"].expr == parse("profile.x")


# ── warnings (S9) ────────────────────────────────────────────────────────────────────────────────────────────────

KNOWN = Known(
    events={"purchase": frozenset({"amount", "currency", "item.sku"}), "Order Completed": frozenset({"total"})},
    attributes=frozenset({"plan", "country"}),
)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("events.purchase.amount.sum_30d", ()),
        ('events.purchase.where(currency == "EUR" && item.sku != null).amount.sum', ()),
        ('events["Order Completed"].total.max', ()),
        ("profile.plan", ()),
        ("last_seen_days_ago", ()),
        ("events.purchse.count", ("event purchse was never seen; did you mean purchase?",)),
        ("events.order_completed.total.sum", ("event order_completed was never seen; did you mean Order Completed?",)),
        ("events.zzz.count", ("event zzz was never seen",)),
        ("events.purchase.amout.sum", ("property of purchase amout was never seen; did you mean amount?",)),
        (
            "events.purchase.where(curency == 'EUR' && item.sk).amount.sum",
            (
                "property of purchase curency was never seen; did you mean currency?",
                "property of purchase item.sk was never seen; did you mean item.sku?",
            ),
        ),
        ("profile.plann", ("profile attribute plann was never seen; did you mean plan?",)),
        ("profile.x == profile.x", ("profile attribute x was never seen",)),
        (
            "events.a.count > events.b.count",
            ("event a was never seen", "event b was never seen"),
        ),
    ],
)
def test_names_never_seen_are_warned_of(text: str, warnings: tuple[str, ...]) -> None:
    """Event, property and profile names that nobody sent are saved, each with one warning that names the nearest."""
    assert bind([Definition("trait", "t", text)], KNOWN)["trait", "t"].warnings == warnings
    assert bind_one(Definition("trait", "t", text), {}, KNOWN).warnings == warnings


def test_without_known_names_nothing_is_warned_of() -> None:
    """Binding without known names gives no warnings; on an empty system every name gets one."""
    assert trait("events.zzz.count").warnings == ()
    assert bind_one(Definition("trait", "t", "events.zzz.count"), {}, Known()).warnings == ("event zzz was never seen",)


def test_warnings_are_of_ones_own_text() -> None:
    """A definition repeats no warnings of those that it refers to."""
    bounds = bind(definitions(a="events.zzz.count", b="a + 1"), KNOWN)
    assert bounds["trait", "b"].warnings == ()


# ── types (S3, S4, S10) ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("null", NULL),
        ("true", BOOLEAN),
        ("1", NUMBER),
        ("'a'", STRING),
        ("[]", LIST),
        ("profile.x", ANY),
        ("1 < 2", BOOLEAN),
        ("profile.x == 1", BOOLEAN),
        ("!profile.x", BOOLEAN),
        ("profile.x && true", BOOLEAN),
        ("1 in [1]", BOOLEAN),
        ("-profile.x", nullable(NUMBER)),
        ("1 + 1", nullable(NUMBER)),
        ("contains('a', 'b')", BOOLEAN),
        ("lower(profile.x)", nullable(STRING)),
        ("length([])", nullable(NUMBER)),
        ("days_since('2024-01-01')", nullable(NUMBER)),
        ("if(true, 1, 'a')", NUMBER | STRING),
        ("if(true, 1, null)", nullable(NUMBER)),
        ("coalesce(profile.x, 1)", ANY - NULL),
        ("coalesce(null, 1)", NUMBER),
        ("coalesce(null, lower('a'))", nullable(STRING)),
        ("events.x.count", NUMBER),
        ("count_3d", NUMBER),
        ("events.x.y.sum", nullable(NUMBER)),
        ("events.x.y.values", LIST),
    ],
)
def test_dtypes(text: str, dtype: Dtype) -> None:
    """The kinds that a value may have follow from the kinds of its parts."""
    assert dtype_of(parse(text)) == dtype
    assert dtype_of(trait(text).expr) == dtype


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("count", NUMBER),
        ("unique_days", nullable(NUMBER)),
        ("sum", nullable(NUMBER)),
        ("avg", nullable(NUMBER)),
        ("min", nullable(NUMBER | STRING)),
        ("max", nullable(NUMBER | STRING)),
        ("first", ANY),
        ("last", ANY),
        ("unique", nullable(NUMBER)),
        ("values", LIST),
        ("most_frequent", SCALAR),
        ("median", nullable(NUMBER)),
        ("p90", nullable(NUMBER)),
        ("p95", nullable(NUMBER)),
        ("p99", nullable(NUMBER)),
        *(
            (f"{which}_seen_{unit}_ago", nullable(NUMBER))
            for which in ("first", "last")
            for unit in ("minutes", "hours", "days")
        ),
    ],
)
def test_aggregates_types_follow_from_the_table(name: str, dtype: Dtype) -> None:
    """An aggregate's kinds follow from its slots and its present expression; nobody lists them."""
    assert aggregate_dtype(name, True) == dtype
    assert set(AGGREGATES) >= {name}


@pytest.mark.parametrize(
    ("text", "at", "message", "expected"),
    [
        ("1 < 2 < 3", (0, 9), "< between boolean and number", "two numbers or two strings"),
        ("'a' > 1", (0, 7), "> between string and number", "two numbers"),
        ("true >= false", (0, 13), ">= between boolean and boolean", "two numbers"),
        ("[1] < [2]", (0, 9), "< between list and list", "two numbers"),
        ("profile.x > true", (0, 16), "> between anything and boolean", "two numbers"),
        ("events.x.count_7d >= '5'", (0, 24), ">= between number and string", "two numbers"),
        ("events.x.y.min < []", (0, 19), "< between number or string and list", "two numbers"),
        ("true > null", (0, 11), "> between boolean and null", "two numbers"),
        ("1 + 'a'", (4, 7), "+ with string", "number"),
        ("true * 2", (0, 4), "* with boolean", "number"),
        ("-'a'", (1, 4), "- with string", "number"),
        ("events.x.y.values / 2", (0, 17), "/ with list", "number"),
        ("1 && true", (0, 1), "&& with number", "true or false"),
        ("true || ('x')", (8, 13), "|| with string", "true or false"),
        ("!events.x.count", (1, 15), "! with number", "x > 0"),
        ("if('a', 1, 2)", (3, 6), "if with string", "true or false"),
        ("events.x.where('a').count", (15, 18), "where(…) with string", "true or false"),
        ("events.x.where(a && 1).count", (20, 21), "&& with number", "true or false"),
        ("events.x.where(lower(1) == a).count", (21, 22), "lower with number", "string"),
        ("profile.plan in 'premium'", (16, 25), "in with string", "list; contains(text, part)"),
        ("1 in 2", (5, 6), "in with number", "list"),
        ("lower(1)", (6, 7), "lower with number", "string"),
        ("abs('a')", (4, 7), "abs with string", "number"),
        ("length(true)", (7, 11), "length with boolean", "string or list"),
        ("contains(1, 'a')", (9, 10), "contains with number", "string or list"),
        ("contains('a', [])", (14, 16), "contains with list", "boolean, number or string"),
        ("days_since(5)", (11, 12), "days_since with number", "string"),
        ("round(1, profile.n)", (9, 18), "decimals that round cannot keep", "a literal from 0 to 6"),
        ("round(1, 7)", (9, 10), "decimals that round cannot keep", "a literal from 0 to 6"),
        ("round(1, 1.5)", (9, 12), "decimals that round cannot keep", "a literal from 0 to 6"),
        ("round(1, -1)", (9, 11), "decimals that round cannot keep", "a literal from 0 to 6"),
    ],
)
def test_what_cannot_fit_is_refused(text: str, at: tuple[int, int], message: str, expected: str) -> None:
    """Kinds that cannot fit are refused at their place, and the refusal says what would fit."""
    error = refusal(*definitions(t=text))
    assert isinstance(error, TypeRefused)
    assert (error.message, error.at, error.text) == (message, Span(*at), text)
    assert expected in error.expected


@pytest.mark.parametrize(
    "text",
    [
        "'5' == 5",
        "true != 1",
        "[1] == 1",
        "profile.x == [1]",
        "profile.age > '41'",
        "profile.age > profile.limit",
        "events.x.y.min > 'a'",
        "events.x.y.max > 5",
        "null > 5",
        "null < null",
        "profile.x + 1",
        "null + 1",
        "profile.x && null",
        "lower(null)",
        "1 in profile.tags",
        "1 in null",
        "[1] in [1]",
        "if(profile.x, 1, 'a') > 2",
        "coalesce(profile.name, 'nobody') == 'nobody'",
        "round(profile.x, 6)",
        "events.x.where(a).count",
        "events.x.y.first > 1",
        "events.x.y.most_frequent && true",
        "profile.date < '2024-01-01'",
    ],
)
def test_what_may_fit_is_taken(text: str) -> None:
    """An operand that may fit when it runs is let through, and so is null everywhere, as the numbered semantics say."""
    trait(text)


@pytest.mark.parametrize("text", ["1", "'x'", "[]", "events.x.count_3d", "1 + 1", "if(true, 1, 'a')"])
@pytest.mark.parametrize("kind", ["segment", "flag"])
def test_rules_are_boolean(kind: DefinitionKind, text: str) -> None:
    """A rule that cannot be a boolean is refused as a whole; a trait may give any kind (S10)."""
    error = refusal(Definition(kind, "r", text))
    assert isinstance(error, TypeRefused)
    assert error.message.startswith(f"a {kind}'s rule with ")
    assert error.at == Span(0, len(text))
    trait(text)


def test_types_reach_through_references() -> None:
    """The kinds of a trait are known where it is referred to, and the error stands at the reference."""
    error = refusal(*definitions(n="events.x.count", s="n + 1", t="true && s"))
    assert isinstance(error, TypeRefused)
    assert (error.definition, error.text, error.at) == ("trait 't'", "true && s", Span(8, 9))
    assert dtypes.name(dtype_of(trait("s", n="events.x.count", s="n + 1").expr)) == "number"


def test_a_segment_is_boolean_where_it_is_referred_to() -> None:
    """`segment(…)` is a boolean and no number, even where its rule might give one (S10)."""
    error = refusal(*definitions("segment", s="profile.x"), *definitions(t='segment("s") + 1'))
    assert error.message == "+ with boolean"
