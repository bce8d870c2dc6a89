"""Names that nobody has sent so far are said when a definition that reads them is saved or checked."""

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
    """What validation of a trait warns of."""
    body = {"type": "trait", "expression": expression}
    found: list[str] = stack.call("POST", "/v1/admin/validate", json=body).json()["warnings"]
    return found


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
    ],
)
def test_a_name_that_was_never_seen_is_said_with_the_nearest(
    sent: RunningStack, expression: str, says: str | None
) -> None:
    """Of events, properties and attributes, when a definition is checked and when it is saved, which it is."""
    found = sent.define("trait", "un_saved", expression)["warnings"]
    sent.call("DELETE", "/v1/admin/traits/un_saved")

    assert found == warnings(sent, expression) == ([] if says is None else [says])
