"""Events and expressions at random: ties, nulls, late and mixed values, window edges; typed well and loosely."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from expressions.aggregates import AGGREGATES
from expressions.definitions import Definition, DefinitionKind
from expressions.errors import ExpressionError
from expressions.text.bind import bind
from tests.history import Event

NOW = 1_772_366_400_000
DAY = 86_400_000
#: Ages that stand on or beside the edges of windows, and in between.
AGES = [0, 1, -1, 59_999, 60_000, 60_001, 3_600_000, DAY - 1, DAY, DAY + 1, 3 * DAY, 7 * DAY, 7 * DAY + 1, 40 * DAY]
WINDOWS = ["", "_1m", "_90m", "_1d", "_7d"]
TEXTS = ["", "a", "b", "Z", "é", "😀", "10", "premium"]
NUMBERS = [0, 1, -1, 2.5, 0.1, 0.2, 0.0000005, -0.0000015, 1e12, -1e12, 1.000001e12, 1e300, 7, 42, 1e-9, 123456.789012]

#: From a million to 10^12, with up to 6 decimals: where a float lies ever farther from what is written.
great = st.builds(
    lambda millionths, decimals, sign: sign * round(millionths / 1e6, decimals),
    st.integers(10**12, 10**18),
    st.integers(0, 6),
    st.sampled_from([1, -1]),
)
numbers = st.one_of(st.sampled_from(NUMBERS), great)

scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), numbers, st.sampled_from(TEXTS))
raw_values = st.one_of(scalars, st.lists(scalars, max_size=3), st.fixed_dictionaries({"in": scalars}))
times = st.sampled_from(AGES).map(lambda age: NOW - age)

tracks = st.builds(
    lambda name, at, fields: Event("track", name, at, {key: value for key, value in fields.items() if value != "?"}),
    st.sampled_from(["x", "x", "y", "an event"]),
    times,
    st.fixed_dictionaries({}, optional={"v": raw_values, "w": scalars}),
)
identifies = st.builds(
    lambda at, traits: Event("identify", None, min(at, NOW), traits),  # a base knows no attribute but the newest
    times,
    st.dictionaries(st.sampled_from(["p", "q", "p.in"]), raw_values, min_size=1),
)
some = st.one_of(tracks, tracks, tracks, identifies)
#: Ids that come again, and what lies between two receipts: 24 h tell a repeat from a new event; a file's rows, and what
#: one call brings, are received at once.
IDS = ["", "", "", "", "r", "s"]
PAUSES = [0, 0, 1, 2, 3_600_000, DAY - 1, DAY]


@st.composite
def histories(draw: st.DrawFn, size: int = 12) -> list[Event]:
    """One user's events in the order of arrival; some repeated, some imported."""
    received = NOW - 40 * DAY
    arrived = []
    for event in draw(st.lists(some, max_size=size)):
        received += draw(st.sampled_from(PAUSES))
        marks = {"id": draw(st.sampled_from(IDS)), "imported": draw(st.sampled_from([False, False, False, True]))}
        arrived.append(replace(event, received_ms=received, **marks))
    return arrived


users = st.fixed_dictionaries({"user:ada": histories(), "user:bob": histories(3)})

conditions = st.sampled_from(
    [
        "v == 1",
        "v == true",
        "v in [0, 2.5]",
        "v in [false, 2.5]",
        "v != null",
        "v > 0.1",
        'w in ["a", 1, null]',
        "v",
        "!w",
        'contains(v, "a")',
        "v.in == w",
        "v <= w || w == true",
    ]
)


@st.composite
def aggregations(draw: st.DrawFn) -> str:
    """An aggregation, over an event or at the root."""
    name = draw(st.sampled_from(sorted(AGGREGATES)))
    one = AGGREGATES[name]
    window = draw(st.sampled_from(["", "_1d", "_7d"] if one.dates else WINDOWS))
    if one.takes == "optional" and draw(st.booleans()):
        return name + window
    event = draw(st.sampled_from([".x", ".y", '["an event"]', ".never"]))
    where = f".where({draw(conditions)})" if draw(st.booleans()) else ""
    needs = one.takes == "required" or draw(st.booleans())
    return f"events{event}{where}{draw(st.sampled_from(['.v', '.w', '.v.in'])) if needs else ''}.{name}{window}"


def _constant(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f'"{value}"' if isinstance(value, str) else repr(value)


leaves = st.one_of(
    aggregations(),
    aggregations(),
    st.sampled_from(["profile.p", "profile.q", "profile.p.in", 'profile["p.in"]', 'bucket("s")']),
    scalars.map(_constant),
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    operators = ["==", "!=", "<", ">=", "+", "-", "*", "/", "%", "&&", "||"]
    return st.one_of(
        st.tuples(pair, st.sampled_from(operators)).map(lambda one: f"({one[0][0]} {one[1]} {one[0][1]})"),
        st.tuples(inner, st.sampled_from(["!", "-"])).map(lambda one: f"{one[1]}({one[0]})"),
        inner.map(lambda one: f'({one} in [1, "a", null, true])'),
        st.tuples(inner, inner).map(lambda one: f"({one[0]} in {one[1]})"),
        st.tuples(st.sampled_from(["abs", "round", "length", "lower", "upper", "days_since"]), inner).map(
            lambda one: f"{one[0]}({one[1]})"
        ),
        inner.map(lambda one: f"round({one}, 2)"),
        inner.map(lambda one: f"round({one}, 6)"),
        # What is calculated from what was calculated: each level once doubled, or worse, the work of the last.
        inner.map(lambda one: f"round(round({one} % 7, 1) / 3 % 2)"),
        inner.map(lambda one: f"coalesce(abs(-({one}) % 7) - 1, round({one}))"),
        st.tuples(inner, st.sampled_from(["a|^$", "(?i)[^a-c]", r"^\\w+$"])).map(
            lambda one: f'matches({one[0]}, "{one[1]}")'
        ),
        st.tuples(st.sampled_from(["contains", "starts_with", "ends_with", "coalesce"]), pair).map(
            lambda one: f"{one[0]}({one[1][0]}, {one[1][1]})"
        ),
        st.tuples(inner, inner, inner).map(lambda one: f"if({one[0]}, {one[1]}, {one[2]})"),
    )


#: Texts of expressions; many are refused by types, which is not an error of theirs.
expressions = st.recursive(leaves, _grown, max_leaves=5)


@lru_cache
def _expressions_over(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Texts of expressions that refer to definitions too."""
    references = st.sampled_from(names)
    return st.recursive(st.one_of(references, references, leaves), _grown, max_leaves=4)


@st.composite
def catalogues(draw: st.DrawFn) -> list[tuple[DefinitionKind, str, str]]:
    """Definitions (kind, key, text) that are not refused, up to four, each of which may refer to those before it."""
    found: list[tuple[DefinitionKind, str, str]] = []
    names: list[str] = []
    for number in range(draw(st.integers(1, 4))):
        kind: DefinitionKind = draw(st.sampled_from(["trait", "trait", "segment", "flag"]))
        one = (kind, f"d{number}", draw(_expressions_over(tuple(names)) if names else expressions))
        try:
            bind(Definition(*written) for written in (*found, one))
        except ExpressionError:
            continue
        found.append(one)
        if kind == "trait":
            names += [f"d{number}", f'trait("d{number}")']
        elif kind == "segment":
            names.append(f'segment("d{number}")')
    assume(found)
    return found
