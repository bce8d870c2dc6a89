"""Finding users and looking at one: on a real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def people(stack: RunningStack) -> RunningStack:
    """A stack with three people of this module, their events drained and rebuilt."""
    stack.define("trait", "seen_items", "events.seen.count")
    stack.define("segment", "keen", "seen_items >= 2")
    for name, count in (("Zoe_one", 1), ("zoe_two", 2), ("zoe_three", 3)):
        for number in range(count):
            stack.track(name, "seen", messageId=f"{name}-{number}", properties={"item": number})
    body = {"userId": "zoe_two", "traits": {"plan": "pro", "gone": 1}, "timestamp": "2024-01-01T00:00:00Z"}
    assert stack.call("POST", "/v1/identify", "write", json=body).status_code == 200
    body |= {"traits": {"gone": None}, "timestamp": "2024-01-02T00:00:00Z"}
    assert stack.call("POST", "/v1/identify", "write", json=body).status_code == 200
    wait_until(lambda: users_page(stack, "zoe_")["total"] == 3, "the events are drained")
    stack.tinycdp("rebuild")
    return stack


def users_page(stack: RunningStack, text: str, **more: Any) -> dict[str, Any]:
    """A page of users."""
    answer = stack.call("GET", "/v1/admin/users/search", params={"query": text, **more})
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def test_users_are_found_by_a_part_of_their_id(people: RunningStack) -> None:
    """Case does not matter, `_` and `%` mean themselves; each user has counts, aliases and segments."""
    page = users_page(people, "ZOE_T")
    by_id = {user["id"]: user for user in page["users"]}

    assert (page["total"], page["hasMore"]) == (2, False)
    assert by_id["user:zoe_three"]["eventCount"] == 3
    assert "keen" in by_id["user:zoe_three"]["activeSegments"]  # and in those of everybody, if a test made one
    assert by_id["user:zoe_three"]["aliases"] == [{"kind": "externalId", "value": "zoe_three"}]
    assert users_page(people, "zoe%")["total"] == 0


@pytest.mark.deep
def test_the_search_is_paged(people: RunningStack) -> None:
    """Each page goes on where the last one ended, until there is no more."""
    pages = [users_page(people, "zoe_", limit=1, offset=at) for at in range(3)]

    assert len({page["users"][0]["id"] for page in pages}) == 3
    assert [page["hasMore"] for page in pages] == [True, True, False]
    assert people.call("GET", "/v1/admin/users/search?limit=-1").status_code == 400


def test_a_user_is_shown_whole(people: RunningStack) -> None:
    """The answer has attributes without removed ones, live traits and segments, events as they came, rolling counts."""
    user = people.call("GET", "/v1/admin/users/zoe_two").json()["user"]

    assert user["attributes"] == {"plan": "pro"}
    assert next(trait["value"] for trait in user["traits"] if trait["key"] == "seen_items") == 2
    keen = next(segment for segment in user["segments"] if segment["key"] == "keen")
    assert keen["inSegment"] is True
    assert keen["since"] is not None
    assert [event["props"] for event in user["recentEvents"]] == [{"item": 1}, {"item": 0}]
    assert user["eventCounts"] == {"total": 2, "last_24h": 2, "last_7d": 2, "last_30d": 2}
    assert user["aliases"] == [{"kind": "externalId", "value": "zoe_two"}]


def test_an_unknown_user_is_not_found(people: RunningStack) -> None:
    """The answer is 404, not an empty user."""
    assert people.call("GET", "/v1/admin/users/nobody_at_all").status_code == 404
