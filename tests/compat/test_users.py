"""User search and detail as clients of the original TypeScript TinyCDP read them, against a running stack."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

USERS = ("uc-Anna", "uc-ben", "uc-carl")


@pytest.fixture(scope="module")
def searched(stack: RunningStack) -> RunningStack:
    """A stack with three users of this module, drained and rebuilt; the first has a device and all kinds of values."""
    stack.define("trait", "uc_count", "events.uc_view.count")
    stack.define("trait", "uc_pages", "events.uc_view.page.values")
    stack.define("trait", "uc_city", "profile.uc_city")
    stack.define("segment", "uc_active", "uc_count >= 2")
    stack.define("segment", "uc_never", "uc_count >= 1000")
    for number, user in enumerate(USERS):
        for n in range(number + 1):
            at = f"2024-0{number + 1}-0{n + 1}T00:00:00Z"
            stack.track(user, "uc_view", messageId=f"{user}-{n}", ts=at, props={"page": f"/{n}"})
    for n in range(60):
        stack.track("uc-Anna", "uc_view", messageId=f"more-{n}", deviceId="uc-phone")
    wait_until(lambda: users_page(stack, query="uc-")["total"] == 3, "the events are drained")
    stack.tinycdp("rebuild")
    return stack


def users_page(stack: RunningStack, **query: Any) -> dict[str, Any]:
    """A page of users."""
    answer = stack.call("GET", "/v1/admin/users/search", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def test_a_page_has_the_originals_fields(searched: RunningStack) -> None:
    """Each field of the page and of a user on it is there."""
    page = users_page(searched, query="uc-")
    by_alias = {user["aliases"][0]["value"]: user for user in page["users"]}
    anna = by_alias["uc-Anna"]

    assert (page.keys(), page["total"], page["hasMore"]) == ({"users", "total", "hasMore"}, 3, False)
    assert anna.keys() == {"id", "created_at", "aliases", "lastEventTime", "eventCount", "activeSegments"}
    assert {(alias["kind"], alias["value"]) for alias in anna["aliases"]} == {
        ("externalId", "uc-Anna"),
        ("deviceId", "uc-phone"),
    }
    assert anna["eventCount"] == 61
    assert {"uc_active", "uc_never"} & set(anna["activeSegments"]) == {"uc_active"}
    assert by_alias["uc-ben"]["lastEventTime"] == "2024-02-02T00:00:00.000Z"
    assert [user["aliases"][0]["value"] for user in page["users"]] == ["uc-carl", "uc-ben", "uc-Anna"]  # newest first


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("UC-ANNA", 1),
        ("c-be", 1),
        ("uc-phone", 1),
        ("uc-", 3),
        ("user:uc-an", 1),
        ("ANON:uc-ph", 1),
        ("user:c-be", 0),
        ("uc%", 0),
        ("uc_carl", 0),
        ("nobody at all", 0),
    ],
)
def test_users_are_found_by_a_part_of_any_id(searched: RunningStack, query: str, total: int) -> None:
    """Case does not matter; the beginning of an `id` finds it too; `%` and `_`, once wildcards, are text."""
    assert users_page(searched, query=query)["total"] == total


def test_without_a_query_everybody_is_found(searched: RunningStack) -> None:
    """An empty query lists everybody, people without a user id too."""
    assert users_page(searched)["total"] == users_page(searched, query="")["total"] >= 3


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize(("limit", "length"), [(None, 50), (0, 50), (1, 1), (2, 2), (1_000, 100)])
def test_pages_are_as_long_as_in_the_original(searched: RunningStack, limit: int | None, length: int) -> None:
    """A page has 50 users by default and for a limit of 0, and at most 100; `hasMore` is true while there are more."""
    query = {"query": ""} if limit is None else {"query": "", "limit": limit}
    page = users_page(searched, **query)

    assert len(page["users"]) == min(length, page["total"])
    assert page["hasMore"] is (length < page["total"])


@pytest.mark.parametrize("query", [{"limit": -1}, {"offset": -1}, {"limit": "many"}])
def test_a_page_that_is_none_is_refused(searched: RunningStack, query: dict[str, Any]) -> None:
    """A negative limit or offset is 400 in the original's words; there it was an internal error."""
    answer = searched.call("GET", "/v1/admin/users/search", params=query)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert answer.json()["message"].startswith("unable to decode query string:")


def test_a_user_has_the_originals_fields(searched: RunningStack) -> None:
    """Everything that the original showed of a user is there, under the same names."""
    user = searched.call("GET", "/v1/admin/users/uc-Anna").json()["user"]
    traits = {trait["key"]: trait for trait in user["traits"]}
    segments = {segment["key"]: segment for segment in user["segments"]}

    assert {"id", "created_at", "aliases", "recentEvents", "traits", "segments", "eventCounts"} <= user.keys()
    assert user["eventCounts"] == {"total": 61, "last_24h": 60, "last_7d": 60, "last_30d": 60}
    assert user["eventCounts"].keys() == {"total", "last_24h", "last_7d", "last_30d"}
    assert len(user["recentEvents"]) == 50
    assert {"id", "ts", "name", "props"} <= user["recentEvents"][0].keys()
    assert user["recentEvents"] == sorted(user["recentEvents"], key=lambda event: event["ts"], reverse=True)
    assert [*traits] == sorted(traits)
    assert [*segments] == sorted(segments)
    assert traits["uc_count"].keys() >= {"key", "value", "updated_at"}
    assert (traits["uc_count"]["value"], traits["uc_pages"]["value"], traits["uc_city"]["value"]) == (61, ["/0"], None)
    assert (segments["uc_active"]["inSegment"], segments["uc_never"]["inSegment"]) == (True, False)
    assert datetime.fromisoformat(segments["uc_active"]["since"]).tzinfo is not None
    assert segments["uc_never"]["since"] is None
    assert segments["uc_active"].keys() >= {"key", "inSegment", "since", "updated_at"}


@pytest.mark.deep
def test_a_user_is_shown_by_any_id(searched: RunningStack) -> None:
    """An id of any kind works, and the `id` that the search gave; the original took its internal id alone."""
    ids = {
        searched.call("GET", f"/v1/admin/users/{id}").json()["user"]["id"]
        for id in ("uc-Anna", "user:uc-Anna", "anon:uc-phone")
    }

    assert ids == {users_page(searched, query="uc-anna")["users"][0]["id"]}


@pytest.mark.parametrize("user", ["abc", "7f9c24e8-3b12-4fef-91e0-5d2b0f3b7a11", "not%20there", "anon:nobody"])
def test_an_unknown_user_is_not_found(searched: RunningStack, user: str) -> None:
    """An unknown id is 404 in the original's words; there an id that was no UUID was an internal error."""
    answer = searched.call("GET", f"/v1/admin/users/{user}")

    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (404, "not_found", "User not found")
