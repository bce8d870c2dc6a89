"""What `validate` answers an editor: mistakes, completions, the tree and its text, none of them from the lake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def typed(stack: RunningStack) -> RunningStack:
    """A stack with definitions to complete."""
    stack.define("trait", "typed_orders", "events.typed_order.amount.sum_30d")
    stack.define("segment", "typed_big", "typed_orders > 100")
    return stack


def asked(stack: RunningStack, kind: str = "trait", **body: Any) -> dict[str, Any]:
    """The answer of `validate`."""
    answer = stack.call("POST", "/v1/admin/validate", json={"type": kind, **body})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def test_a_valid_text_has_its_tree_and_its_canonical_text(typed: RunningStack) -> None:
    """With the parts that were asked for, and nothing of the lake."""
    text = "typed_orders>1  and   profile.plan == null"

    answer = asked(typed, expression=text, parts=["tree", "text"])

    assert answer["valid"] is True
    assert answer["text"] == "typed_orders > 1 && profile.plan == null"
    assert answer["tree"]["parts"][1] == {
        "node": "compare",
        "op": "==",
        "left": {"node": "attribute", "key": "plan", "path": [], "start": 22, "end": 34},
        "right": {"node": "value", "value": None, "start": 38, "end": 42},
        "start": 22,
        "end": 42,
    }
    assert not answer.keys() & {"cost", "beyond", "completions"}


def test_a_tree_is_sent_in_place_of_a_text(typed: RunningStack) -> None:
    """The text of the tree is answered, and checked as any other."""
    text = 'typed_orders > 1 && segment("typed_big")'
    tree = asked(typed, "segment", expression=text, parts=["tree"])["tree"]

    same = asked(typed, "segment", tree=tree, parts=["tree"])
    wrong = asked(typed, "segment", tree={"node": "segment", "key": "typed_bug"}, parts=[])
    no_tree = asked(typed, "segment", tree={"node": "and", "parts": [{"node": "what"}]}, parts=[])

    assert (same["valid"], same["text"], same["tree"]) == (True, text, tree)
    assert (wrong["valid"], wrong["text"]) == (False, 'segment("typed_bug")')
    assert wrong["errors"][0]["nearest"][0] == "typed_big"
    assert (no_tree["valid"], no_tree["errors"][0]["way"]) == (False, "tree.parts[0].node")


def test_what_a_builder_cannot_show_is_named(typed: RunningStack) -> None:
    """The part has its place in the text that was sent."""
    answer = asked(typed, expression="typed_orders + 1 > 2", parts=["tree"])

    assert answer["tree"]["left"]["node"] == "arithmetic"
    assert answer["beyond"] == {
        "message": "this text is beyond the shapes of a builder",
        "text": "typed_orders + 1",
        "start": 0,
        "end": 16,
    }


def test_all_mistakes_have_their_places(typed: RunningStack) -> None:
    """Those that can be told at once; `error` and `details` are the first that saving would tell."""
    answer = asked(typed, "segment", expression="typed_order > 1 && lower(5) == 1 && typed_big.x", parts=[])

    assert answer["valid"] is False
    assert [(mistake["code"], mistake["start"], mistake["end"]) for mistake in answer["errors"]] == [
        ("unknown_name", 0, 11),
        ("type_error", 25, 26),
        ("unknown_name", 36, 45),
    ]
    assert answer["errors"][0]["nearest"][0] == "typed_orders"
    assert answer["details"]["start"] == 36


@pytest.mark.parametrize(
    ("text", "position", "label", "completed"),
    [
        ("", None, "typed_orders", "typed_orders"),
        ("typed_o > 1", 7, "typed_orders", "typed_orders > 1"),
        ("typed_o > 1", 7.0, "typed_orders", "typed_orders > 1"),  # the same number in JSON
        ('segment("', None, "typed_big", 'segment("typed_big")'),
        ("events.typed_order.", None, "amount", "events.typed_order.amount"),
        ("events.typed_order.amount.su", None, "sum", "events.typed_order.amount.sum"),
    ],
)
def test_a_text_is_completed_at_a_position(
    typed: RunningStack, text: str, position: float | None, label: str, completed: str
) -> None:
    """A completion says what it replaces; the text around it may be wrong, or nothing at all."""
    answer = asked(typed, expression=text, parts=["completions"], position=position)

    (found,) = [one for one in answer["completions"] if one["label"] == label]
    assert text[: found["start"]] + found["text"] + text[found["end"] :] == completed


def test_a_value_says_what_it_is_compared_with(typed: RunningStack) -> None:
    """And the function that the position is in says how it is called."""
    compared = asked(typed, expression='profile.plan == "', parts=["completions"])["wanted"]
    called = asked(typed, expression="round(", parts=["completions"])["wanted"]

    assert (compared["wants"], compared["compared"]) == ("value", {"attribute": "plan"})
    assert called["signature"] == "round(number, number?) → number"


def test_a_definition_that_needs_itself_is_told_before_it_is_saved(typed: RunningStack) -> None:
    """With `key`, under which it is to be saved."""
    answer = asked(typed, expression='segment("typed_big")', key="typed_orders", parts=[])

    assert [mistake["code"] for mistake in answer["errors"]] == ["cycle"]


def test_a_body_without_text_and_tree_is_refused(typed: RunningStack) -> None:
    """So is an empty text, unless it is asked for parts."""
    for body in ({}, {"parts": []}, {"expression": " "}):
        answer = typed.call("POST", "/v1/admin/validate", json={"type": "trait", **body})
        assert (answer.status_code, answer.json()["details"]["field"]) == (400, "expression")
