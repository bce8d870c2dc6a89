"""An explanation is the tree its author wrote, with every value, each definition told once."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from expressions.bases import Base, base_of
from expressions.definitions import Definition, Key
from expressions.live.changes import Work
from expressions.live.explain import ITEMS_MAX, explained
from expressions.live.to_state import Frame, Program
from expressions.rules.values import to_json
from expressions.rules.windows import DAY_MS, HOUR_MS
from expressions.text.bind import bind
from tests.calls import calls
from tests.expressions.live.cut_bases import NOW_MS, event, identify


def explain(definitions: list[Definition], key: Key, base: Base) -> dict[str, Any]:
    """The explanation of one of some definitions."""
    bounds = bind(definitions)
    return explained(bounds, key, Frame(Program(bounds.values()), [base], NOW_MS))


PERSON = base_of(
    [event("purchase", 2 * HOUR_MS, amount=60), event("purchase", 20 * DAY_MS, amount=50), identify(1, plan="pro")]
)
DEFINITIONS = [
    Definition("trait", "spent", "events.purchase.amount.sum_30d"),
    Definition("segment", "big", "spent >= 100"),
    Definition("flag", "offer", 'segment("big") && profile.plan == "pro" && spent < 1000'),
]


def test_a_flag_is_explained_down_to_its_aggregates() -> None:
    """Every part has text and value; a comparison its threshold; a reference the tree behind it, once."""
    tree = explain(DEFINITIONS, ("flag", "offer"), PERSON)
    leaves_ms = NOW_MS - 20 * DAY_MS + 30 * DAY_MS

    assert (tree["kind"], tree["key"], tree["value"]) == ("flag", "offer", True)
    assert tree["changes_at"] == leaves_ms
    part_of = {part["text"]: part for part in every_part(tree)}
    assert part_of["spent"]["value"] == 110
    assert part_of["spent >= 100"] | {"parts": 0} == {
        "kind": "segment",
        "key": "big",
        "text": "spent >= 100",
        "value": True,
        "threshold": 100,
        "changes_at": leaves_ms,
        "parts": 0,
    }
    assert part_of['profile.plan == "pro"']["threshold"] == "pro"
    assert "changes_at" not in part_of['profile.plan == "pro"']
    assert part_of["events.purchase.amount.sum_30d"]["value"] == 110
    assert [part.get("key") for part in every_part(tree)].count("spent") == 1


def test_an_explanation_is_json() -> None:
    """Lists, nulls and whole numbers come as an encoder takes them."""
    tree = explain([Definition("trait", "all", "events.purchase.amount.values")], ("trait", "all"), PERSON)

    assert json.loads(json.dumps(tree)) == tree
    assert tree["value"] == [50, 60]


def test_a_definition_used_many_times_over_is_told_once() -> None:
    """Definitions that double each other make a tree of thousands of parts; its explanation stays small and quick."""
    definitions = [Definition("trait", "t0", "events.purchase.count_30d")]
    definitions += [Definition("trait", f"t{index}", f"t{index - 1} + t{index - 1}") for index in range(1, 11)]

    started_s = time.process_time()
    tree = explain(definitions, ("trait", "t10"), PERSON)

    assert tree["value"] == 2 * 2**10
    assert len(list(every_part(tree))) < 50
    assert time.process_time() - started_s < 5


def test_a_large_rule_costs_no_more_than_is_allowed() -> None:
    """Hundreds of conditions over hundreds of events: the inner parts are left out at some point, the answer never."""
    rule = " || ".join(f"events.purchase.where(amount == {number}).count_30d > 5" for number in range(150))
    base = base_of(event("purchase", index * HOUR_MS, amount=index) for index in range(250))

    started_s = time.process_time()
    tree = explain([Definition("segment", "large", rule)], ("segment", "large"), base)

    assert tree["value"] is False
    assert time.process_time() - started_s < 5


def every_part(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes of an explanation, outermost first."""
    inner = [*tree.get("parts", ()), *([tree["definition"]] if "definition" in tree else ())]
    return [tree, *(part for child in inner for part in every_part(child))]


#: Rules that may be saved, and cost more than a moment to explain: many conditions, a deep one, many over long lists.
HARD = {
    "many": " || ".join(f"events.purchase.where(amount == {number}).count_30d > 5" for number in range(150)),
    "deep": "!(" * 28 + "events.purchase.count > 0 && events.purchase.amount.sum > 3" + ")" * 28,
    "lists": " || ".join(f"contains(events.purchase.amount.values_{days}d, -1)" for days in range(1, 60)),
    "ages": " || ".join(f"last_seen_minutes_ago + {number} == 0.5" for number in range(100)),
}


@pytest.mark.parametrize("events", [0, 19_000])
@pytest.mark.parametrize("rule", HARD)
def test_the_work_of_an_explanation_is_bounded(rule: str, events: int) -> None:
    """Whatever a rule says and however much somebody did, an explanation calls no more functions than its bound; and
    where it ends before the tree does, the tree says so."""
    base = base_of(event("purchase", index * HOUR_MS // 8, amount=index) for index in range(events))
    (bound,) = bind([Definition("segment", "hard", HARD[rule])]).values()
    key: Key = ("segment", "hard")
    program = Program([bound])
    frame = Frame(program, [base], NOW_MS)
    answer = frame.answer(program.compiled(key))
    trees: list[dict[str, Any]] = []

    explaining = calls(lambda: trees.append(explained({key: bound}, key, frame, answer=answer)))

    (tree,) = trees
    assert explaining < CALLS_MAX
    assert tree["value"] is answer.value and tree["text"]
    if rule == "many" or (events and rule != "deep"):
        assert "the work for one explanation was spent" in str(tree)
    assert len(json.dumps(tree)) < 300_000


#: Functions that a bounded explanation calls at the most: of Python, and of libraries.
CALLS_MAX = 600_000


def test_of_a_long_list_the_first_items_are_told() -> None:
    """A list of more than a hundred values is told in part, and the tree says how many are left out."""
    base = base_of(event("purchase", index * HOUR_MS, amount=index) for index in range(250))
    tree = explain([Definition("trait", "all", "events.purchase.amount.values")], ("trait", "all"), base)

    assert tree["value"] == list(range(ITEMS_MAX)) and tree["left_out"] == 150


def test_explanations_share_the_work_that_they_are_given() -> None:
    """Without work left a definition has the beginning of its text, and the sentence that says why."""
    work = Work(0)
    bounds = bind([Definition("segment", "big", "events.purchase.amount.sum > 1 && " * 9 + "true")])
    tree = explained(bounds, ("segment", "big"), Frame(Program(bounds.values()), [PERSON], NOW_MS), work)

    assert tree["not_explained_further"] and len(tree["text"]) == 100
    assert (tree["kind"], tree["key"]) == ("segment", "big")


def test_parts_are_answered_as_their_rule_answers_them() -> None:
    """What a part gives by itself is what it gives inside: values of an explanation are those of a decision."""
    texts = {
        "n": "events.purchase.count",
        "list": "events.purchase.amount.values",
        "logic": 'n > 1 && (contains(list, 60) || profile.plan == "pro") && !(n == 3)',
    }
    definitions = [Definition("trait", key, text) for key, text in texts.items()]
    bounds = bind(definitions)
    program = Program(bounds.values())
    for part in every_part(explain(definitions, ("trait", "logic"), PERSON)):
        (alone,) = (bind([*definitions, Definition("trait", "part", part["text"])])["trait", "part"],)
        frame = Frame(program, [PERSON], NOW_MS)
        assert part["value"] == to_json(frame.answer(program.compile(alone.expr)).value)
