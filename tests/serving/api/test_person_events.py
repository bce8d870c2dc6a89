"""A person's events over HTTP: pages, refusals, ids with slashes."""

from __future__ import annotations

from typing import Any

import pytest
import tinycdp

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")


def test_an_event_is_on_the_timeline_from_its_acknowledgement_on(stack: RunningStack) -> None:
    """Page by page, of all ids of a person whose id has a slash; of a name alone."""
    user = "timed/ada"
    stack.track(user, "timed_seen", deviceId="timed-device", properties={"place": "Köln"})
    for number in range(4):
        stack.track("", "timed_bought", deviceId="timed-device", messageId=f"timed-{number}")

    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        events: list[Any] = []
        cursor = None
        while True:
            page = admin.person_events(user, limit=2, cursor=cursor)
            assert page["complete"]
            events += page["events"]
            cursor = page["cursor"]
            if cursor is None:
                break
        named = admin.person_events(user, name="timed_seen", since="2020-01-01")
        assert admin.person_events(user, until="2020-01-01")["events"] == []
        with pytest.raises(tinycdp.NotFound):
            admin.person_events("timed-nobody")
    assert [event["eventId"] for event in events[:4]] == [f"timed-{number}" for number in (3, 2, 1, 0)]
    assert [event["properties"] for event in named["events"]] == [{"place": "Köln"}]
    assert events[4:] == named["events"]


@pytest.mark.parametrize(
    ("field", "value"), [("from", "soon"), ("to", "1"), ("limit", "0"), ("cursor", "W10="), ("cursor", "ä")]
)
def test_what_is_no_page_is_refused(stack: RunningStack, field: str, value: str) -> None:
    """The refusal names the field."""
    answer = stack.call("GET", "/v1/admin/users/timed/events", params={field: value})

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)


def test_a_period_that_ends_before_it_begins_is_refused(stack: RunningStack) -> None:
    """As wherever else a period is asked for: an empty page would say that nothing happened."""
    turned = {"from": "2026-02-01", "to": "2026-01-01"}

    answers = [
        stack.call("GET", f"/v1/admin/{path}", params=turned)
        for path in ("users/timed/events", "rejected", "activity", "activity/flags", "activity/segments")
    ]

    assert {(answer.status_code, answer.json()["details"]["field"]) for answer in answers} == {(400, "from")}
