"""A person's ids, data and deletion, as an administrator meets them: on a real stack."""

from __future__ import annotations

import os
import signal
from typing import Any
from urllib.parse import quote

import pytest

from tests.faults.parts import pid_of
from tests.running import RunningStack
from tests.serving.api.test_identity import sent, visit, visits
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def persons(people: RunningStack) -> RunningStack:
    """A stack with a segment of everybody who came."""
    people.define("segment", "visitors", "visits >= 1")
    wait_until(lambda: not people.traits("nobody")["warming"], "definitions settle")
    return people


def called(stack: RunningStack, method: str, user: str, what: str = "", **more: Any) -> dict[str, Any]:
    """An administrator's call about a person, which must be answered."""
    answer = stack.call(method, f"/v1/admin/users/{user}{what}", **more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_the_identity_says_whose_ids_are_whose_since_when_and_by_which_event(persons: RunningStack) -> None:
    """Each id of the person gives the same answer; the person's own id comes first, without an owner."""
    visit(persons, userId="dora", deviceId="tv", messageId="said-so")
    visit(persons, userId="dora", emailHash="AA")
    identity = called(persons, "GET", "anon:tv", "/identity")
    by_id = {linked["id"]: linked for linked in identity["ids"]}

    assert identity == called(persons, "GET", "dora", "/identity") == called(persons, "GET", "email:aa", "/identity")
    assert identity["id"] == identity["ids"][0]["id"] == "user:dora"
    assert (
        by_id["user:dora"] | {"value": "dora", "kind": "externalId", "owner": None, "since": None} == by_id["user:dora"]
    )
    assert (by_id["anon:tv"]["owner"], by_id["anon:tv"]["event"]) == ("user:dora", "said-so")
    assert by_id["anon:tv"]["kind"] == "deviceId"
    assert by_id["anon:tv"]["since"].startswith("20")
    assert persons.call("GET", "/v1/admin/users/nobody-at-all/identity").status_code == 404


def test_an_alias_joins_two_known_users_and_refuses_a_ring(persons: RunningStack) -> None:
    """Events, devices and attributes of one are the other's from then on; the alias back is refused by name."""
    visit(persons, userId="maiden", deviceId="m-phone")
    visit(persons, userId="married")
    sent(persons, "alias", previousId="maiden", userId="married")

    assert visits(persons, "maiden") == visits(persons, "married") == visits(persons, "anon:m-phone") == 2
    back = persons.call("POST", "/v1/alias", "write", json={"previousId": "user:married", "userId": "maiden"})
    assert (back.status_code, back.json()["details"]["field"]) == (409, "previousId")
    assert "belongs to user:married already" in back.json()["message"]
    assert visits(persons, "maiden") == 2


def test_an_unlinked_id_is_a_person_of_its_own(persons: RunningStack) -> None:
    """An unlinked id has its own events and nothing of the other's, at once.

    An id without an owner cannot be unlinked.
    """
    visit(persons, deviceId="pad")
    sent(persons, "identify", userId="eve", deviceId="pad", traits={"city": "Bern"})
    assert visits(persons, "eve") == 1
    unlinked = called(persons, "POST", "anon:pad", "/unlink")

    assert (unlinked["id"], unlinked["owner"]) == ("anon:pad", "user:eve")
    assert (visits(persons, "eve"), visits(persons, "anon:pad")) == (0, 1)
    assert persons.traits("anon:pad")["traits"]["home_city"] is None
    again = persons.call("POST", "/v1/admin/users/anon:pad/unlink")
    assert (again.status_code, again.json()["details"]["field"]) == (404, "userId")


def test_a_person_gets_all_their_data(persons: RunningStack) -> None:
    """The data are ids, attributes, traits, segments and, in pages, every event of every id as it came."""
    visit(persons, deviceId="gus-pad", timestamp="2024-01-01T00:00:00Z", properties={"page": {"n": 1}})
    sent(persons, "identify", userId="gus", deviceId="gus-pad", traits={"city": "Graz", "secret": [1]})
    visit(persons, userId="gus", context={"ip": "203.0.113.9"})
    data = called(persons, "GET", "gus", "/data")

    assert [linked["id"] for linked in data["ids"]] == ["user:gus", "anon:gus-pad"]
    assert data["attributes"] == {"city": "Graz", "secret": [1]}
    assert (data["traits"]["visits"], data["segments"]["visitors"]) == (2, True)
    assert [(event["id"], event["kind"]) for event in data["events"]] == [
        ("anon:gus-pad", "track"),
        ("user:gus", "identify"),
        ("user:gus", "track"),
    ]
    assert data["events"][0]["properties"] == {"page": {"n": 1}}
    assert data["events"][2]["context"]["ip"] == "203.0.113.9"
    pages = [called(persons, "GET", "gus", f"/data?limit=2&offset={at}") for at in (0, 2)]
    assert [event for page in pages for event in page["events"]] == data["events"]
    assert [page["hasMore"] for page in pages] == [True, False]


@pytest.mark.deep
def test_a_deleted_person_is_gone_from_every_answer(persons: RunningStack) -> None:
    """Live reads, search, detail, data, preview and lake have none of their ids; new events count alone, repeats not.

    D-30: nobody could be deleted.
    """
    visit(persons, deviceId="ivy-pad", messageId="ivy-1")
    link = {"userId": "ivy-ann", "deviceId": "ivy-pad", "messageId": "ivy-2"}
    sent(persons, "identify", **link, traits={"city": "Nice"})
    persons.tinycdp("rebuild")
    deleted = called(persons, "DELETE", "anon:ivy-pad")

    assert deleted["settled"] is True
    assert {alias["value"] for alias in deleted["deleted"]} == {"ivy-ann", "ivy-pad"}
    for user in ("ivy-ann", "anon:ivy-pad"):
        assert persons.traits(user)["traits"] | {"visits": 0, "home_city": None} == persons.traits(user)["traits"]
        for what in ("", "/data", "/identity"):
            assert persons.call("GET", f"/v1/admin/users/{user}{what}").status_code == 404
    assert persons.call("GET", "/v1/admin/users/search", params={"query": "ivy-"}).json()["total"] == 0
    assert "ivy" not in persons.tinycdp("users", "visitors").stdout
    assert "ivy-pad" not in str(persons.call("GET", "/v1/admin/audit").json())

    assert visit(persons, deviceId="ivy-pad", messageId="ivy-1")["duplicate"] is True
    assert sent(persons, "identify", **link)["duplicate"] is True
    visit(persons, deviceId="ivy-pad")
    persons.tinycdp("rebuild")
    assert (visits(persons, "anon:ivy-pad"), visits(persons, "ivy-ann")) == (1, 0)


@pytest.mark.deep
def test_a_deleted_person_is_gone_while_the_drain_stands(persons: RunningStack) -> None:
    """The same answers while nothing is drained; the delete says that the lake is not settled."""
    visit(persons, userId="joy-ann", deviceId="joy-pad")
    visit(persons, userId="joy-lee")
    persons.tinycdp("rebuild")
    drain = pid_of(persons, "drain")
    assert drain is not None
    os.kill(drain, signal.SIGSTOP)
    try:
        assert called(persons, "DELETE", "joy-ann")["settled"] is False
        for user in ("joy-ann", "anon:joy-pad"):
            for what in ("", "/data", "/identity"):
                assert persons.call("GET", f"/v1/admin/users/{user}{what}").status_code == 404
        found = persons.call("GET", "/v1/admin/users/search", params={"query": "joy-"}).json()
        assert [user["id"] for user in found["users"]] == ["user:joy-lee"]
        users = persons.tinycdp("users", "visitors").stdout
        assert "joy-lee" in users and "joy-ann" not in users
        text = persons.call("GET", "/v1/export/segment/visitors.csv").text
        assert "joy-lee" in text and "joy-ann" not in text and "joy-pad" not in text
    finally:
        os.kill(drain, signal.SIGCONT)


def test_a_person_is_deleted_by_the_hash_of_an_email_in_any_case(persons: RunningStack) -> None:
    """An email hash in a path is taken as it is in events: its case does not matter."""
    visit(persons, userId="kay-lee", emailHash="AB12CD")
    deleted = called(persons, "DELETE", "email:AB12CD")

    assert {alias["value"] for alias in deleted["deleted"]} == {"kay-lee", "ab12cd"}
    assert visits(persons, "kay-lee") == visits(persons, "email:ab12CD") == 0


AWKWARD = ["auth0|a/b", "urn:x/y/z", "trailing/", "100%/a", "a%2Fb", "two\nlines", "line\n", "search"]
ASKED_LIKE = ["me/identity", "me/unlink", "me/data", "me/traits", "me%2Fidentity", "me/identity/data"]


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize("user", [*AWKWARD, *ASKED_LIKE])
def test_an_id_may_hold_slashes_and_ends_of_lines(persons: RunningStack, user: str) -> None:
    """Such an id is shown, handed out, unlinked and deleted like any other, even if it ends in `/data`."""
    path = quote(f"user:{user}", safe="")
    visit(persons, userId=user, deviceId=f"{user} pad")

    assert visits(persons, path) == 1
    assert called(persons, "GET", path)["user"]["id"] == f"user:{user}"
    assert called(persons, "GET", path, "/identity")["id"] == f"user:{user}"
    assert called(persons, "GET", path, "/data")["total"] == 1
    device = quote(f"anon:{user} pad", safe="")
    assert called(persons, "POST", device, "/unlink")["owner"] == f"user:{user}"
    visit(persons, deviceId=user)
    sent(persons, "alias", previousId=f"anon:{user}", userId="somebody")
    assert called(persons, "POST", quote(f"anon:{user}", safe=""), "/unlink")["id"] == f"anon:{user}"
    assert [alias["value"] for alias in called(persons, "DELETE", path)["deleted"]] == [user]
    assert visits(persons, path) == 0


def test_a_slash_as_it_is_may_be_what_is_asked(persons: RunningStack) -> None:
    """After a plain slash, a word that says what is asked is that word."""
    visit(persons, userId="plain/one")
    visit(persons, userId="plain/one/data")

    assert visits(persons, "plain/one") == 1
    for what in ("/identity", "/data"):
        assert called(persons, "GET", "plain/one", what)["id"] == "user:plain/one"
    assert called(persons, "GET", "plain/one/data", "/identity")["id"] == "user:plain/one/data"
    called(persons, "DELETE", "plain/one")
    assert (visits(persons, "plain/one"), visits(persons, "plain/one/data")) == (0, 1)


def test_only_administrators_may(persons: RunningStack) -> None:
    """Read and write keys see and delete nobody."""
    for method, what in (("GET", "/identity"), ("GET", "/data"), ("POST", "/unlink"), ("DELETE", "")):
        for key in ("read", "write"):
            assert persons.call(method, f"/v1/admin/users/someone{what}", key).status_code == 403
        assert persons.call(method, f"/v1/admin/users/someone{what}", None).status_code == 401
