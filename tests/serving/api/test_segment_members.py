"""Who is in a segment: counted, and paged without an end. On a real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

USERS = [f"sm-{number:02}" for number in range(12)]


@pytest.fixture(scope="module")
def joined(stack: RunningStack) -> RunningStack:
    """A stack with a segment of twelve people."""
    stack.define("segment", "sm_seen", "events.sm.count >= 1")
    for user in USERS:
        stack.track(user, "sm", messageId=f"{user}-1")
    stack.track("sm-other", "another", messageId="sm-other-1")
    wait_until(lambda: members(stack)["count"] == len(USERS), "the events are drained")
    return stack


def members(stack: RunningStack, **query: Any) -> dict[str, Any]:
    """Who is in the segment."""
    answer = stack.call("GET", "/v1/admin/segments/sm_seen/members", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(page: dict[str, Any]) -> list[str]:
    """Those on a page."""
    return [member["id"] for member in page["members"]]


@pytest.mark.deep
def test_every_member_is_on_one_page(joined: RunningStack) -> None:
    """By id, whatever the size of a page; the last page has no cursor. All pages tell how many there are."""
    pages = [members(joined, limit=5)]
    while (cursor := pages[-1]["cursor"]) is not None:
        pages.append(members(joined, limit=5, cursor=cursor))

    assert [len(page["members"]) for page in pages] == [5, 5, 2]
    assert [id for page in pages for id in ids(page)] == [f"user:{user}" for user in USERS]
    assert {page["count"] for page in pages} == {len(USERS)}
    assert pages[0]["total"] > len(USERS)
    whole = members(joined, limit=len(USERS))
    assert (len(whole["members"]), whole["cursor"]) == (len(USERS), None)


def test_a_page_begins_behind_the_one_before_whoever_comes_or_goes(joined: RunningStack) -> None:
    """Who comes before the place moves nobody onto a second page, and who is deleted takes nobody along."""
    first = members(joined, limit=5)
    joined.track("sm-00-early", "sm", messageId="sm-00-early-1")
    wait_until(lambda: members(joined)["count"] == len(USERS) + 1, "the newcomer is drained")
    joined.call("DELETE", "/v1/admin/users/user:sm-00-early")

    second = members(joined, limit=5, cursor=first["cursor"])

    assert ids(second) == [f"user:{user}" for user in USERS[5:10]]
    assert second["count"] == len(USERS)


@pytest.mark.deep
def test_since_is_when_a_rebuild_first_saw_the_membership(joined: RunningStack) -> None:
    """As on the person's own page."""
    joined.call("POST", "/v1/admin/rebuild", json={})
    wait_until(lambda: members(joined)["members"][0]["since"] is not None, "a rebuild has seen them", 60)

    (found,) = members(joined, limit=1)["members"]

    user = joined.call("GET", f"/v1/admin/users/{found['id']}").json()["user"]
    assert found["since"] == next(one["since"] for one in user["segments"] if one["key"] == "sm_seen")


@pytest.mark.deep
def test_of_many_events_members_and_people_are_not_computed_while_one_waits(joined: RunningStack) -> None:
    """Members are those of the last rebuild, with its age; else, and of a flag, 409 names the analysis that tells."""
    joined.define("flag", "sm_flag", 'segment("sm_seen")')
    joined.call("POST", "/v1/admin/rebuild", json={})
    with api_beside(joined, fresh_events_max="0") as many:
        wait_until(lambda: members(joined)["members"][0]["since"] is not None, "a rebuild has seen them", 60)
        old = members(many)
        joined.define("segment", "sm_later", "events.sm.count >= 2")
        later = many.call("GET", "/v1/admin/segments/sm_later/members")
        people = many.call("GET", "/v1/admin/flags/sm_flag/people")

    assert (old["fresh"], members(joined)["fresh"]) == (False, True)
    assert old["asof"] < members(joined)["asof"]
    assert ids(old) == ids(members(joined))
    for refused in (later, people):
        assert (refused.status_code, refused.json()["code"]) == (409, "failed_precondition")
        assert "`people`" in refused.json()["details"]["remedy"]


def test_what_is_no_segment_or_no_cursor_is_refused(joined: RunningStack) -> None:
    """With the field and the remedy; a viewer's key may ask."""
    nothing = joined.call("GET", "/v1/admin/segments/sm_none/members")
    assert (nothing.status_code, nothing.json()["details"]["field"]) == (404, "key")

    for cursor in ("no cursor", "_w==", "ü"):
        wrong = joined.call("GET", "/v1/admin/segments/sm_seen/members", params={"cursor": cursor})
        assert (wrong.status_code, wrong.json()["details"]["field"]) == (400, "cursor"), cursor
