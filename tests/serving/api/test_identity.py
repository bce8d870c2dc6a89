"""Several ids of one person: on a real stack, as clients meet it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lake.lake import Lake
from lake.schemas import AUDIT
from serving.people.family import DEPTH_MAX
from serving.store.scripts.members import MEMBERS_MAX
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")


def sent(stack: RunningStack, kind: str, **body: Any) -> dict[str, Any]:
    """One call that must be accepted."""
    answer = stack.call("POST", f"/v1/{kind}", "write", json=body)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def visit(stack: RunningStack, **ids: str) -> dict[str, Any]:
    """One visit of whoever these ids name."""
    return sent(stack, "track", event="visit", **ids)


def visits(stack: RunningStack, user: str) -> int:
    """How many visits a person has, by any id."""
    count: int = stack.traits(user)["traits"]["visits"]
    return count


def test_what_a_device_did_before_the_login_counts_from_the_login_on(people: RunningStack) -> None:
    """A call with both ids links them: the next read by either id sees the events of both, without a rebuild."""
    visit(people, anonymousId="anns-phone")
    before = visits(people, "ann")
    sent(people, "identify", userId="ann", anonymousId="anns-phone", traits={"city": "Oslo"})
    visit(people, userId="ann")

    assert before == 0
    assert visits(people, "ann") == visits(people, "anon:anns-phone") == 2
    assert people.traits("anon:anns-phone")["traits"]["home_city"] == "Oslo"


def test_any_kind_of_id_is_taken_wherever_one_is(people: RunningStack) -> None:
    """userId and externalId, anonymousId and deviceId, emailHash in any case: each finds the same person (D-1)."""
    visit(people, externalId="bea", deviceId="phone-2")
    visit(people, emailHash="AB12", userId="bea")
    named = (
        {"userId": "bea"},
        {"externalId": "bea"},
        {"deviceId": "phone-2"},
        {"anonymousId": "phone-2"},
        {"emailHash": "ab12"},
    )

    for ids in named:
        answer = people.call("GET", "/v1/decide", "read", params={"flag": "returning", **ids})
        assert (ids, answer.json()["allow"]) == (ids, True)
    assert visits(people, "email:ab12") == 2


def test_a_later_user_of_a_device_gets_only_their_own_events(people: RunningStack) -> None:
    """The first claim on a device wins; of another person nothing leaks, neither events nor attributes.

    D-6: a shared device fused people for good.
    """
    visit(people, deviceId="shared")
    sent(people, "identify", userId="first", deviceId="shared", traits={"city": "Rome"})
    visit(people, userId="second", deviceId="shared")
    visit(people, deviceId="shared")

    assert (visits(people, "first"), visits(people, "second")) == (2, 1)
    assert people.traits("second")["traits"]["home_city"] is None
    assert "first" not in str(people.traits("second"))


def test_a_device_that_became_known_by_its_email_goes_to_the_user_of_that_email(people: RunningStack) -> None:
    """A device claimed by an email hash belongs to the user who claims the hash, at any remove."""
    visit(people, deviceId="phone-3", emailHash="cd34")
    visit(people, userId="cleo", emailHash="cd34")

    assert visits(people, "cleo") == visits(people, "anon:phone-3") == 2


def test_many_first_events_at_once_make_one_person(people: RunningStack) -> None:
    """Twenty parallel first calls of a new user and device: one person, every event, one link."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: visit(people, userId="rush", deviceId="phone-4"), range(20)))

    assert visits(people, "rush") == visits(people, "anon:phone-4") == 20


def test_beyond_the_cap_the_link_is_refused_and_the_event_stands(people: RunningStack) -> None:
    """The answer says that the id was not linked and what to do; the event counts for its user all the same."""
    for number in range(MEMBERS_MAX):
        assert "warnings" not in visit(people, userId="many", deviceId=f"many-{number}")
    answer = visit(people, userId="many", deviceId="one-too-many")

    assert "anon:one-too-many was not linked to user:many" in answer["warnings"][0]
    assert "unlink" in answer["warnings"][0]
    assert visits(people, "many") == MEMBERS_MAX + 1


def test_a_long_chain_is_refused_with_its_reason_and_deleted_in_one_commit(people: RunningStack) -> None:
    """An alias that would be too far away from the person's own id is 409, and says what to do. The delete of all ids
    of a person is one commit of the audit log."""
    for number in range(DEPTH_MAX):
        sent(people, "alias", previousId=f"user:chain-{number + 1}", userId=f"chain-{number}")
    answer = people.call(
        "POST", "/v1/alias", "write", json={"previousId": "user:chain-beyond", "userId": f"chain-{DEPTH_MAX}"}
    )
    assert answer.status_code == 409
    assert f"more than {DEPTH_MAX} links away" in answer.json()["message"]
    assert "the person's own id" in answer.json()["details"]["remedy"]
    lake = Lake(people.stack.lake_uri)
    commits, rows = lake.open(AUDIT).version(), people.call("GET", "/v1/admin/audit").json()["total"]
    deleted = people.call("DELETE", "/v1/admin/users/chain-7").json()["deleted"]

    assert len(deleted) == DEPTH_MAX + 1
    assert people.call("GET", "/v1/admin/audit").json()["total"] == rows + DEPTH_MAX + 1
    assert lake.open(AUDIT).version() == commits + 1


def test_no_id_at_all_is_refused_by_name(people: RunningStack) -> None:
    """A request without an id is 400 with the field and the remedy, for events and for decisions."""
    tracked = people.call("POST", "/v1/track", "write", json={"event": "visit", "emailHash": " "})
    decided = people.call("GET", "/v1/decide", "read", params={"flag": "returning"})

    assert (tracked.status_code, tracked.json()["details"]["field"]) == (400, "userId")
    assert (decided.status_code, decided.json()["details"]["field"]) == (400, "userId")
