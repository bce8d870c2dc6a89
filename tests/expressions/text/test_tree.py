"""Trees as JSON: there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from expressions.errors import ExpressionError, TooLarge, TreeRefused
from expressions.ops import Expr, walk
from expressions.text.format import format_expression, laid_out
from expressions.text.parse import DEPTH_MAX, NODES_MAX, parse
from expressions.text.tree import beyond_shapes, text_of, tree_of
from tests.chance import seeded
from tests.expressions.text.trees import expressions


def sent(tree: Expr) -> Any:
    """The tree as JSON, as it arrives."""
    return json.loads(json.dumps(tree_of(tree)))


@seeded
@given(expressions)
def test_a_tree_becomes_text_and_the_same_tree_again(tree: Expr) -> None:
    """Tree to text to tree is the identity, and text to tree to text gives the same canonical text."""
    text = text_of(sent(tree))

    assert parse(text) == tree
    assert text == laid_out(tree) == text_of(sent(parse(text)))


def places(json: Any) -> list[tuple[int, int]]:
    """The places of all nodes of a tree."""
    if isinstance(json, list):
        return [place for item in json for place in places(item)]
    if not isinstance(json, dict):
        return []
    return [(json["start"], json["end"]), *(place for value in json.values() for place in places(value))]


@seeded
@given(expressions)
def test_each_node_has_its_place(tree: Expr) -> None:
    """The text at the place of each node is read as that node; inner places are inside."""
    text = format_expression(tree)
    nodes = list(walk(parse(text)))

    assert {(node.at.start, node.at.end) for node in nodes if node.at} >= set(places(sent(parse(text))))
    assert all(node.at is not None and 0 <= node.at.start < node.at.end <= len(text) for node in nodes)


def test_a_tree_as_it_is_documented() -> None:
    """The nodes of a common rule."""
    text = 'events.purchase.where(kind == "new").amount.sum_30d >= 100 && !(profile.plan in ["free"])'

    tree = tree_of(parse(text))

    total, not_free = tree["parts"]
    assert (tree["node"], tree["start"], tree["end"]) == ("and", 0, len(text))
    assert total["op"] == ">="
    assert total["right"] == {"node": "value", "value": 100, "start": 55, "end": 58}
    assert total["left"] == {
        "node": "aggregate",
        "aggregate": "sum",
        "event": "purchase",
        "property": "amount",
        "window": "30d",
        "start": 0,
        "end": 51,
        "where": {
            "node": "compare",
            "op": "==",
            "left": {"node": "property", "name": "kind", "start": 22, "end": 26},
            "right": {"node": "value", "value": "new", "start": 30, "end": 35},
            "start": 22,
            "end": 35,
        },
    }
    assert not_free["node"] == "not" and not_free["part"]["node"] == "in"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('events.a.where(x > 1 || y in [1, 2]).count_7d >= 2 && (profile.p == "a" || !segment("s"))', None),
        ('trait("t") == null || last_seen_days_ago < 3 || profile.vip || true', None),
        ("profile.a + 1 > 2", "profile.a + 1"),
        ("profile.a > profile.b", "profile.b"),
        ("profile.p == 1 && round(t) > 1", "round(t)"),
        ("profile.p in profile.q", "profile.q"),
        ("events.a.where(lower(x) == 1).count > 1", "lower(x)"),
        ("5 > profile.a", "5"),
    ],
)
def test_what_is_beyond_the_shapes_is_named(text: str, part: str | None) -> None:
    """A builder shows comparisons, groups and references; the first part that is none of them is told."""
    beyond = beyond_shapes(parse(text))

    assert (beyond and beyond.at and text[beyond.at.start : beyond.at.end]) == part


VALUE = {"node": "value", "value": 1}
COUNT = {"node": "aggregate", "aggregate": "count", "event": "a"}


@pytest.mark.parametrize(
    ("tree", "way"),
    [
        (5, "tree"),
        ({}, "tree.node"),
        ({"node": "magic"}, "tree.node"),
        ({"node": "not"}, "tree.part"),
        ({"node": "and", "parts": []}, "tree.parts"),
        ({"node": "and", "parts": "ab"}, "tree.parts"),
        (
            {"node": "and", "parts": [VALUE, {"node": "compare", "op": "=", "left": VALUE, "right": VALUE}]},
            "tree.parts[1].op",
        ),
        ({"node": "value", "value": []}, "tree.value"),
        ({"node": "value", "value": float("inf")}, "tree.value"),
        ({"node": "value", "value": 10**400}, "tree.value"),
        ({"node": "value"}, "tree.value"),
        ({"node": "property", "name": "a"}, "tree"),
        ({"node": "aggregate", "aggregate": "total"}, "tree.aggregate"),
        ({"node": "aggregate", "aggregate": "sum", "event": "a"}, "tree.property"),
        ({"node": "aggregate", "aggregate": "count", "property": "a"}, "tree.event"),
        ({"node": "aggregate", "aggregate": "count", "window": "30x"}, "tree.window"),
        ({"node": "aggregate", "aggregate": "count", "window": "ever"}, "tree.window"),
        ({"node": "aggregate", "aggregate": "unique_days", "window": "3h"}, "tree.window"),
        ({"node": "attribute", "key": "a", "path": "b"}, "tree.path"),
        ({**COUNT, "where": {"node": "trait", "key": "a"}}, "tree.where"),
        ({**COUNT, "where": {"node": "not", "part": {"node": "segment", "key": "a"}}}, "tree.where.part"),
        ({"node": "trait", "key": 5}, "tree.key"),
    ],
)
def test_a_wrong_tree_is_refused_with_the_way_to_the_part(tree: Any, way: str) -> None:
    """The way leads from the root to the field."""
    with pytest.raises(TreeRefused) as refused:
        text_of(tree)

    assert refused.value.way == way


@pytest.mark.parametrize(
    "tree",
    [
        {"node": "call", "function": "magic", "args": []},
        {"node": "call", "function": "floor", "args": [VALUE]},
        {"node": "attribute", "key": ""},
        {"node": "aggregate", "aggregate": "count", "event": ""},
        {"node": "list", "items": [{"node": "trait", "key": "a"}]},
    ],
)
def test_what_the_grammar_refuses_is_refused_with_the_text(tree: Any) -> None:
    """The rules of the grammar are not written twice: the text of the tree is read."""
    with pytest.raises(ExpressionError) as refused:
        text_of(tree)

    assert refused.value.text


def test_trees_are_bounded() -> None:
    """As texts are: in parts and in levels."""
    deep: Any = VALUE
    for _ in range(DEPTH_MAX):
        deep = {"node": "negate", "part": deep}

    with pytest.raises(TooLarge, match="levels"):
        text_of(deep)
    with pytest.raises(TooLarge, match="parts"):
        text_of({"node": "or", "parts": [VALUE] * NODES_MAX})
