"""Trying and checking expressions that are not saved: on a real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def expressions(stack: RunningStack) -> RunningStack:
    """A stack with two definitions and three people of this module, whose events are drained."""
    stack.define("trait", "tried_items", "events.tried.count")
    stack.define("segment", "eager", "tried_items >= 2")
    for name, count in (("Eve_one", 1), ("eve_two", 2), ("eve_three", 3)):
        for number in range(count):
            stack.track(name, "tried", messageId=f"{name}-{number}", properties={"item": number})

    def drained() -> int:
        page = stack.call("GET", "/v1/admin/users/search", params={"query": "eve_"}).json()
        return sum(user["eventCount"] for user in page["users"])

    wait_until(lambda: drained() == 6, "the events are drained")
    return stack


def test_a_preview_counts_as_a_saved_definition_would(expressions: RunningStack) -> None:
    """A preview counts everybody for whom the expression holds, people without such events too, and shows some."""

    def tried(expression: str, kind: str = "segment") -> dict[str, Any]:
        body = {"type": kind, "expression": expression, "sample": 100}
        answer = expressions.call("POST", "/v1/admin/preview", json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    some = tried("events.tried.count", "trait")
    none = tried("events.tried.count == 0")
    assert [(person["id"], person["value"]) for person in some["sample"]] == [
        ("user:Eve_one", 1),
        ("user:eve_three", 3),
        ("user:eve_two", 2),
    ]
    assert some["count"] == 3
    assert none["count"] + some["count"] == some["total"] == none["total"]
    assert tried('segment("eager") && tried_items > 2')["count"] == 1


def test_a_preview_of_a_trait_tells_the_spread_of_its_values(expressions: RunningStack) -> None:
    """Everybody is in one bin of the histogram; a text counts for who has it. A segment has no spread."""

    def spread(kind: str, expression: str) -> Any:
        body = {"type": kind, "expression": expression}
        return expressions.call("POST", "/v1/admin/preview", json=body).json()["distribution"]

    counts = {bin["low"]: bin["count"] for bin in spread("trait", "events.tried.count")["histogram"]}
    words = spread("trait", 'if(tried_items >= 2, "often", null)')

    assert (counts[1], counts[2], counts[3]) == (1, 1, 1)
    assert words["top"] == [{"value": "often", "count": 2}]
    assert words["none"] == counts.get(0, 0) + 1
    assert spread("segment", "tried_items >= 2") is None


def test_a_preview_of_a_wrong_expression_says_where(expressions: RunningStack) -> None:
    """The refusal is 400 with the position, as when the expression is saved."""
    answer = expressions.call("POST", "/v1/admin/preview", json={"type": "segment", "expression": "tried_items >"})

    assert answer.status_code == 400
    assert answer.json()["details"]["line"] == 1


def test_validation_tells_what_saving_costs(expressions: RunningStack) -> None:
    """An expression over kept data is live at once, over a new event it is not; its references are listed."""

    def validated(expression: str) -> dict[str, Any]:
        body = {"type": "trait", "expression": expression}
        result: dict[str, Any] = expressions.call("POST", "/v1/admin/validate", json=body).json()
        return result

    known, new = validated('segment("eager") && tried_items > 5'), validated("events.never_seen.amount.sum_30d")
    assert known["references"] == ["segment 'eager'", "trait 'tried_items'"]
    assert known["cost"]["live"] is True
    assert known["cost"]["bytesPerUser"] > 0
    assert new["cost"]["live"] is False
