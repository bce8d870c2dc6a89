"""Warnings of names that nobody has sent, when a definition that reads them is saved or checked."""

from __future__ import annotations

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def sent(stack: RunningStack) -> RunningStack:
    """A stack whose lake has an event with properties, and an attribute."""
    stack.track("un-1", "unmistakable", props={"un_total": 5, "un_address": {"city": "Bonn"}})
    body = {"userId": "un-1", "traits": {"un_colour": "red"}}
    assert stack.call("POST", "/v1/identify", "write", json=body).status_code == 200
    wait_until(lambda: warnings(stack, "profile.un_colour") == [], "both are drained")
    return stack


def warnings(stack: RunningStack, expression: str) -> list[str]:
    """The warnings of a validated trait."""
    body = {"type": "trait", "expression": expression}
    texts: list[str] = stack.call("POST", "/v1/admin/validate", json=body).json()["warnings"]
    return texts


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("events.unmistakable.count_30d", None),
        ("events.unmistakable.un_total.sum + events.unmistakable.un_address.city.unique", None),
        ("events.unmistakabel.count_30d", "event unmistakabel was never seen; did you mean unmistakable?"),
        (
            "events.unmistakable.un_totl.sum",
            "property of unmistakable un_totl was never seen; did you mean un_total?",
        ),
        ("profile.un_color", "profile attribute un_color was never seen; did you mean un_colour?"),
        ("last_seen_days_ago > 3", None),
        (
            "events.unmistakable.count == '3'",
            "events.unmistakable.count == '3' is never true: number and string are never equal",
        ),
    ],
)
def test_a_name_that_was_never_seen_is_said_with_the_nearest(
    sent: RunningStack, expression: str, says: str | None
) -> None:
    """A warning names an unseen event, property or attribute and the nearest, or a comparison that never holds; the
    definition is valid and is saved."""
    given = sent.define("trait", "un_saved", expression)["warnings"]
    sent.call("DELETE", "/v1/admin/traits/un_saved")

    assert given == warnings(sent, expression) == ([] if says is None else [says])
