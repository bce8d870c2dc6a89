"""Validation and keys, as clients of the original TypeScript TinyCDP ask for them, against a running stack."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def named(stack: RunningStack) -> RunningStack:
    """A stack with the names that the rules below refer to, of fitting types."""
    for key, expression in {"vk_a": "profile.vk_a", "vk_b": "profile.vk_b", "vk_n": "events.vk.count"}.items():
        stack.define("trait", key, expression)
    stack.define("segment", "vk_s", "vk_n >= 1")
    stack.define("segment", "vk_t", "vk_n >= 2")
    return stack


def validated(stack: RunningStack, kind: str, expression: str) -> dict[str, Any]:
    """The answer of a validation."""
    answer = stack.call("POST", "/v1/admin/validate", json={"type": kind, "expression": expression})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_valid_expression_has_no_error(named: RunningStack) -> None:
    """`valid` is there without `error`; `ast`, which the original declared and never gave, is gone."""
    answer = validated(named, "trait", "events.purchase.count_30d >= 5")

    assert answer["valid"] is True
    assert not {"error", "ast"} & answer.keys()


@pytest.mark.parametrize(
    ("kind", "expression"),
    [("trait", "events.purchase."), ("trait", "events.purchase.count_30d >="), ("segment", "vk_a =="), ("flag", "(")],
)
def test_an_invalid_one_says_why(named: RunningStack, kind: str, expression: str) -> None:
    """The answer is 200 with `valid: false` and `error`, not a refusal: the question itself was right."""
    answer = validated(named, kind, expression)

    assert answer["valid"] is False
    assert answer["error"].startswith("Expression syntax error: ")


#: A window that there is not, an aggregate, a trait, a segment, a function: each by what the answer must name.
UNKNOWN = [
    ("trait", "events.purchase.count_30x", "count_30x"),
    ("trait", "events.purchase.count_3000000d", "3000000d"),
    ("trait", "count_0d >= 1", "0d"),
    ("trait", "events.purchase.amount.total_7d", "total"),
    ("trait", "events.purchase.seen", "seen"),
    ("trait", "no_such_trait >= 1", "no_such_trait"),
    ("segment", "no_such_trait", "no_such_trait"),
    ("segment", 'vk_a == "x" && segment("no_such_segment")', "no_such_segment"),
    ("flag", 'trait("no_such_trait") == true', "no_such_trait"),
    ("flag", "vk_n >= 1 || median(vk_n) > 2", "median"),
]


@pytest.mark.parametrize(("kind", "expression", "name"), UNKNOWN)
def test_what_is_unknown_is_invalid_and_named(named: RunningStack, kind: str, expression: str, name: str) -> None:
    """An unknown name is invalid in any place, and saving refuses it (D-10: it passed, and was false for everybody)."""
    answer = validated(named, kind, expression)
    field = "expression" if kind == "trait" else "rule"
    saved = named.call("POST", f"/v1/admin/{kind}s", json={"key": "vk_unknown", field: expression})

    assert answer["valid"] is False and name in answer["error"]
    assert saved.status_code == 400 and name in saved.json()["message"]


def test_a_change_that_a_dependent_does_not_bear_names_it_and_its_text(named: RunningStack) -> None:
    """Line and column are those of the dependent's text, so that text is told; `value` is what was sent."""
    named.define("trait", "vk_changed", "events.vk.count")
    named.define("segment", "vk_depends", "profile.vk_a == 1 ||\n vk_changed + 1 > 10")
    saved = named.call("PUT", "/v1/admin/traits/vk_changed", json={"expression": "'text'"})

    assert saved.status_code == 400
    message, details = saved.json()["message"], saved.json()["details"]
    assert message.startswith("Trait 'vk_changed' cannot be changed so, since segment 'vk_depends' uses it: ")
    assert " vk_changed + 1 > 10" in message
    assert {name: details[name] for name in ("field", "value", "definition", "text", "line", "column")} == {
        "field": "expression",
        "value": "'text'",
        "definition": "segment 'vk_depends'",
        "text": "profile.vk_a == 1 ||\n vk_changed + 1 > 10",
        "line": 2,
        "column": 2,
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"expression": "true", "type": "audience"}, "Type must be one of: trait, segment, flag"),
        ({"expression": "", "type": "trait"}, "Expression is required and cannot be empty"),
        ({"expression": " ", "type": "flag"}, "Expression is required and cannot be empty"),
    ],
)
def test_a_question_that_is_none_is_refused_in_the_originals_words(
    named: RunningStack, body: dict[str, str], message: str
) -> None:
    """The refusal is 400 and names the field."""
    answer = named.call("POST", "/v1/admin/validate", json=body)

    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (400, "invalid_argument", message)


#: What either the original's checker or its evaluator of segments took, and its documents showed.
SEGMENTS = [
    *("vk_a == true", "vk_a", "vk_a || vk_b", "vk_n >= 5", "vk_n == 5.25", 'vk_a == "x y"', "vk_a == null"),
    *("vk_a&&vk_b", "(vk_a == true)", "!vk_a", "vk_n == -1", "vk_a == 'x'", "vk_a == vk_b", "5 == vk_n"),
    *('vk_a in ["x"]', 'segment("vk_s")', 'trait("vk_a") == true', "vk_n + 1 > 5", 'profile.plan == "x"'),
]
FLAGS = [
    *('segment("vk_s") && segment("vk_t")', 'trait("vk_n") >= 500', 'segment("vk_s") == false', "true"),
    *('!segment("vk_s")', '(segment("vk_s"))', "segment('vk_s')", 'segment( "vk_s" )', 'trait("vk_a") in ["y"]'),
    *('trait("vk_a") == trait("vk_b")', "vk_n >= 5"),
]
#: What the original's checkers let through although it could not mean anything, or only by JavaScript.
REFUSED = [
    *(("segment", "vk_n"), ("segment", "vk_a === true"), ("segment", "vk_a == true &&"), ("segment", "no_such_trait")),
    *(("flag", "5"), ("flag", "anything"), ("flag", "random() < 0.1"), ("flag", 'segment("no_such_segment")')),
    *(("trait", "foo"), ("trait", "events.purchase.count_3000000d"), ("trait", "events.purchase.median_30d")),
    *(("trait", "events.purchase.seen"), ("trait", "vk_a.constructor"), ("trait", '"open')),
]


@pytest.mark.deep(kept=12)
@pytest.mark.parametrize(
    ("kind", "expression"),
    [*(("segment", rule) for rule in SEGMENTS), *(("flag", rule) for rule in FLAGS), *REFUSED],
)
def test_saving_says_what_validation_says(named: RunningStack, kind: str, expression: str) -> None:
    """A valid expression is saved; an invalid one is refused with the words that validation gives.

    The original's checker was unrelated to what ran, and saving asked neither.

    D-14.
    """
    valid = (kind, expression) not in REFUSED
    checked = validated(named, kind, expression)
    field = "expression" if kind == "trait" else "rule"
    body = {"key": "vk_saved", field: expression}
    answer = named.call("POST", f"/v1/admin/{kind}s", json=body)
    named.call("DELETE", f"/v1/admin/{kind}s/vk_saved")

    assert (checked["valid"], answer.status_code) == (valid, 200 if valid else 400), (checked, answer.text)
    if not valid:
        assert answer.json()["message"] == checked["error"].replace("unsaved_expression", "vk_saved")


@pytest.mark.parametrize("kind", ["write", "read", "profile", "viewer", "admin"])
def test_a_key_is_made_in_the_originals_shape(stack: RunningStack, kind: str) -> None:
    """A new key has `id`, `key` and `kind`; `description` is its label; its text is long, and no two are alike."""
    made = [
        stack.call("POST", "/v1/admin/keys", json={"kind": kind, "description": "vk", "unknown": 1}) for _ in range(2)
    ]
    first, second = (answer.json() for answer in made)
    for key in (first, second):
        stack.call("DELETE", f"/v1/admin/keys/{key['id']}")

    assert [answer.status_code for answer in made] == [200, 200]
    assert (first["kind"], first["label"]) == (kind, "vk")
    assert re.fullmatch(rf"{kind}_[A-Za-z0-9_-]{{32}}", first["key"])
    assert len({first["key"], second["key"], first["id"], second["id"]}) == 4


@pytest.mark.parametrize("character", ["\n", "\x1b", "\x00", "\x85", "\u2028"])
def test_a_label_with_a_control_character_is_refused(stack: RunningStack, character: str) -> None:
    """A label is one line of text: it stands in the audit, in logs and in terminals."""
    answer = stack.call("POST", "/v1/admin/keys", json={"kind": "read", "label": f"a{character}b"})

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "label")


def test_an_unknown_kind_of_key_is_refused(stack: RunningStack) -> None:
    """The refusal is 400 and lists the kinds; no key is made."""
    answer = stack.call("POST", "/v1/admin/keys", json={"kind": "owner"})

    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "Kind must be one of: write, read, profile, viewer, admin",
    )
