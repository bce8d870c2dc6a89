"""No execution lacks a node, a monoid or a function: an example of each is run in each, and gives the right answer.

An example is the least expression that needs the thing. It stands in each place that some execution treats on its own:
outside, where a person's values meet; inside `where(…)`, where an event's do; and inside the table of aggregates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import pytest

from expressions import ops
from expressions.aggregates import AGGREGATES
from expressions.definitions import Bound, DefinitionKind
from expressions.functions import FUNCTIONS
from expressions.monoids import MONOIDS, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from expressions.ops import Aggregation, Call, Expr, walk
from expressions.rules.bucketing import bucket_of
from expressions.rules.values import Value, instant_ms
from expressions.rules.windows import HOUR_MS, MINUTE_MS
from tests.conformance.cases import all_cases
from tests.executions import EXECUTIONS, bound
from tests.history import Event

#: Expressions and what each of them answers.
Examples: TypeAlias = Mapping[str, Value]

#: The batch, read time and SQL.
THREE = ("Polars", "StateWhole", "Sql")

USER = "user:ada"
_NOON = instant_ms("2026-03-01T12:00:00Z")
assert _NOON is not None
NOW_MS: int = _NOON
EVENTS = (
    Event("track", "visit", NOW_MS - 150 * MINUTE_MS, {"page": "home", "seconds": 30, "tags": ["a", "b"]}),
    Event("track", "visit", NOW_MS - 90 * MINUTE_MS, {"page": "docs", "seconds": -10.4}),
    Event("identify", None, NOW_MS - HOUR_MS, {"plan": "Pro", "age": 42.4, "vip": True, "since": "2026-02-01"}),
)
#: What references of the examples name.
DEFINITIONS: tuple[tuple[DefinitionKind, str, str], ...] = (
    ("trait", "visits", "events.visit.count"),
    ("segment", "visitors", "events.visit.count > 0"),
)

NODES: Mapping[type[Expr], Examples] = {
    ops.Constant: {"7": 7.0, "events.visit.where(true).count": 2.0},
    ops.ListOf: {'["a", 1]': ("a", 1.0), 'events.visit.where(page in ["docs", null]).count': 1.0},
    ops.Attribute: {"profile.plan": "Pro"},
    ops.Property: {"events.visit.where(vip).count": 0.0, 'events.visit.where(page == "docs").count': 1.0},
    ops.TraitRef: {'trait("visits")': 2.0},
    ops.SegmentRef: {'segment("visitors")': True},
    ops.Aggregation: {"events.visit.count": 2.0, "count": 2.0},
    ops.Not: {"!profile.vip": False, "events.visit.where(!page).count": 0.0},
    ops.And: {"profile.vip && profile.age": True, "events.visit.where(page && tags).count": 1.0},
    ops.Or: {"profile.vip || profile.none": True, "events.visit.where(tags || page).count": 2.0},
    ops.Compare: {
        "profile.age > 42 && profile.age >= 42.4 && profile.age == 42.4": True,
        "profile.age < 42 || profile.age <= 42 || profile.age != 42.4": False,
        "events.visit.where(seconds < 0).count": 1.0,
    },
    ops.In: {'profile.plan in ["Pro"]': True, 'events.visit.where("b" in tags).count': 1.0},
    ops.Negate: {"-profile.age": -42.4, "events.visit.where(-seconds > 0).count": 1.0},
    ops.Arithmetic: {
        "(profile.age + 1 - 3) * 5 / 2": 101.0,
        "profile.age % 2": 42.4 % 2,
        "events.visit.where(seconds % 7 == 2).count": 1.0,
    },
    ops.Call: {"abs(profile.age)": 42.4, "events.visit.where(abs(seconds) > 20).count": 1.0},
    ops.Argument: {"events.visit.seconds.last": -10.4, "events.visit.tags.count": 1.0},
    ops.EventTime: {"events.visit.first_seen_minutes_ago": 150.0},
    ops.EventDay: {"events.visit.unique_days": 1.0},
    ops.SlotValue: {"events.visit.page.first": "home"},
    ops.Now: {"events.visit.last_seen_minutes_ago": 90.0},
}

MONOID_EXAMPLES: Mapping[type[Monoid], Examples] = {
    Add: {"events.visit.seconds.sum": 19.6},
    Min: {"events.visit.seconds.min": -10.4, "events.visit.page.min": "docs"},
    Max: {"events.visit.seconds.max": 30.0, "events.visit.page.max": "home"},
    Earliest: {"events.visit.page.first": "home", "events.visit.tags.first": ("a", "b")},
    Latest: {"events.visit.page.last": "docs", "events.visit.tags.last": ("a", "b")},
    Union: {"events.visit.page.values": ("docs", "home")},
    Tally: {"events.visit.page.most_frequent": "docs", "events.visit.seconds.median": 9.8},
}

FUNCTION_EXAMPLES: Mapping[str, Examples] = {
    "contains": {'contains(profile.plan, "ro")': True, 'events.visit.where(contains(tags, "a")).count': 1.0},
    "starts_with": {
        'starts_with(profile.plan, "P")': True,
        'events.visit.where(starts_with(page, "d")).count': 1.0,
    },
    "ends_with": {'ends_with(profile.plan, "o")': True, 'events.visit.where(ends_with(page, "s")).count': 1.0},
    "lower": {"lower(profile.plan)": "pro", 'events.visit.where(lower(page) == "docs").count': 1.0},
    "upper": {"upper(profile.plan)": "PRO", 'events.visit.where(upper(page) == "DOCS").count': 1.0},
    "length": {
        "length(profile.plan)": 3.0,
        "events.visit.where(length(tags) == 2).count": 1.0,
        "events.visit.page.unique": 2.0,
    },
    "abs": {"abs(profile.age)": 42.4, "events.visit.where(abs(seconds) == 10.4).count": 1.0},
    "round": {
        "round(profile.age)": 42.0,
        "round(profile.age, 1)": 42.4,
        "events.visit.where(round(seconds) == -10).count": 1.0,
    },
    "coalesce": {
        "coalesce(profile.none, profile.age)": 42.4,
        "events.visit.where(coalesce(tags, seconds) == -10.4).count": 1.0,
        "events.visit.page.min": "docs",
    },
    "if": {
        "if(profile.vip, 1, 2)": 1.0,
        "events.visit.where(if(tags, seconds, page) == 30).count": 1.0,
        "events.visit.tags.count": 1.0,
    },
    "days_since": {"days_since(profile.since)": 28.0},
    "matches": {'matches(profile.plan, "^P")': True, 'events.visit.where(matches(page, "cs$")).count': 1.0},
    "bucket": {'bucket("salt")': float(bucket_of("salt", USER))},
    "floor": {"events.visit.last_seen_hours_ago": 1.0},
    "number": {"events.visit.seconds.max": 30.0},
    "string": {"events.visit.page.max": "home"},
    "scalar": {"events.visit.tags.values": (), "events.visit.page.values": ("docs", "home")},
    "millionths": {"events.visit.seconds.sum": 19.6},
    "amount": {"events.visit.seconds.avg": 9.8},
    "most_frequent": {"events.visit.page.most_frequent": "docs"},
    "percentile": {"events.visit.seconds.p90": 25.96},
}


def subclasses(base: type) -> list[type]:
    """Every class below this one."""
    return [cls for child in base.__subclasses__() for cls in (child, *subclasses(child))]


def rows_of(table: Mapping[Any, Examples]) -> list[Any]:
    """(thing, its examples) for every row of a table, as parameters of a test."""
    return [pytest.param(thing, examples, id=getattr(thing, "__name__", thing)) for thing, examples in table.items()]


def bound_examples(examples: Examples) -> dict[str, Bound]:
    """Text -> the trait of this expression, for every example."""
    traits: list[tuple[DefinitionKind, str, str]] = [
        ("trait", f"example_{at}", text) for at, text in enumerate(examples)
    ]
    bounds = bound(*DEFINITIONS, *traits)
    return {text: bounds[kind, key] for kind, key, text in traits}


def all_nodes(definition: Bound) -> Iterator[Expr]:
    """The nodes of a definition, as written and inlined; those of its aggregates' slots and presents included."""
    for node in (*walk(definition.written), *walk(definition.expr)):
        yield node
        if isinstance(node, Aggregation):
            aggregate = AGGREGATES[node.aggregate]
            for part in (aggregate.present, *(slot.lift for slot in aggregate.slots)):
                yield from walk(part)


def monoids_of(definition: Bound) -> set[type[Monoid]]:
    """The monoids of a definition's slots."""
    aggregations = [node for node in walk(definition.expr) if isinstance(node, Aggregation)]
    return {type(slot.monoid) for node in aggregations for slot in AGGREGATES[node.aggregate].slots}


def assert_answers(execution: str, definitions: Mapping[str, Bound], examples: Examples) -> None:
    """An execution answers every example exactly, in value and in type."""
    bounds = {(bound.definition.kind, bound.definition.key): bound for bound in definitions.values()}
    answers = EXECUTIONS[execution](bounds, {USER: EVENTS}, NOW_MS, "UTC")
    answered = {text: answers[key][USER] for key, text in zip(bounds, definitions, strict=True)}

    assert {text: answer.value for text, answer in answered.items()} == examples
    assert all(type(answer.value) is type(examples[text]) and answer.exact for text, answer in answered.items())


def test_there_are_examples_of_everything() -> None:
    """A new node, monoid or function needs an example, which then fails in every execution that lacks it."""
    assert set(NODES) == {node for node in subclasses(Expr) if node.__module__ == ops.__name__}
    assert set(MONOID_EXAMPLES) == set(MONOIDS) == set(subclasses(Monoid))
    assert set(FUNCTION_EXAMPLES) == set(FUNCTIONS)


@pytest.mark.parametrize("execution", THREE)
@pytest.mark.parametrize(("node", "examples"), rows_of(NODES))
def test_every_execution_knows_every_node(node: type[Expr], examples: Examples, execution: str) -> None:
    """Each example has such a node, and the execution answers it."""
    definitions = bound_examples(examples)

    assert all(node in set(map(type, all_nodes(definition))) for definition in definitions.values())
    assert_answers(execution, definitions, examples)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(("monoid", "examples"), rows_of(MONOID_EXAMPLES))
def test_every_execution_knows_every_monoid(monoid: type[Monoid], examples: Examples, execution: str) -> None:
    """Each example folds by the monoid; an execution that publishes or splits states also merges and reads them."""
    definitions = bound_examples(examples)

    assert all(monoid in monoids_of(definition) for definition in definitions.values())
    assert_answers(execution, definitions, examples)


@pytest.mark.parametrize("execution", THREE)
@pytest.mark.parametrize(("name", "examples"), rows_of(FUNCTION_EXAMPLES))
def test_every_execution_knows_every_function(name: str, examples: Examples, execution: str) -> None:
    """Each example calls the function, and the execution answers it."""
    definitions = bound_examples(examples)
    called = [
        {node.function for node in all_nodes(definition) if isinstance(node, Call)}
        for definition in definitions.values()
    ]

    assert all(name in functions for functions in called)
    assert_answers(execution, definitions, examples)


def test_references_are_replaced_before_any_execution() -> None:
    """No execution needs to know the nodes that name other definitions."""
    for reference in (ops.TraitRef, ops.SegmentRef):
        for definition in bound_examples(NODES[reference]).values():
            assert reference in set(map(type, walk(definition.written)))
            assert reference not in set(map(type, walk(definition.expr)))


def test_every_aggregate_and_function_has_a_case_and_a_sentence() -> None:
    """What nobody wrote a case for does not exist."""
    nodes = [
        node for case in all_cases() if case.error is None for node in walk(bound(*case.definitions)[case.key].expr)
    ]
    public = {name for name, function in FUNCTIONS.items() if not function.internal}

    assert {node.aggregate for node in nodes if isinstance(node, Aggregation)} == set(AGGREGATES)
    assert {node.function for node in nodes if isinstance(node, Call)} == public
    assert all(aggregate.says for aggregate in AGGREGATES.values())
    assert all(function.says for function in FUNCTIONS.values())
