"""Definitions have a history, and any version of it comes back: on a real stack."""

from __future__ import annotations

import pytest

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")


def test_a_definition_keeps_what_it_says_to_people(stack: RunningStack) -> None:
    """Description, owner and tags are stored; a change that leaves them out keeps them, and null
    empties them."""
    stack.define("trait", "described", "events.x.count", description="how often", owner="growth", tags=["core"])

    changed = stack.call("PUT", "/v1/admin/traits/described", json={"expression": "events.x.count_7d"}).json()["trait"]

    assert (changed["description"], changed["owner"], changed["tags"]) == ("how often", "growth", ["core"])
    assert (changed["expression"], changed["author"]) == ("events.x.count_7d", "admin")
    body = {"expression": "events.x.count_7d", "owner": None, "tags": None}
    emptied = stack.call("PUT", "/v1/admin/traits/described", json=body).json()["trait"]
    assert (emptied["description"], emptied["owner"], emptied["tags"]) == ("how often", "", [])


def test_the_history_has_every_version(stack: RunningStack) -> None:
    """Versions come newest first, a deletion among them, each with its author."""
    stack.define("segment", "versioned", "events.x.count > 1")
    stack.call("PUT", "/v1/admin/segments/versioned", json={"rule": "events.x.count > 2"})
    stack.call("DELETE", "/v1/admin/segments/versioned")

    versions = stack.call("GET", "/v1/admin/segments/versioned/history").json()["versions"]

    assert [(version["expression"], version["deleted"]) for version in versions] == [
        ("events.x.count > 2", True),
        ("events.x.count > 2", False),
        ("events.x.count > 1", False),
    ]
    assert {version["author"] for version in versions} == {"admin"}
    assert stack.call("GET", "/v1/admin/segments/never/history").status_code == 404


def test_a_rollback_brings_a_version_back_as_a_new_one(stack: RunningStack) -> None:
    """Expression and settings are those of that version; a deleted definition comes back; unknown versions are 404."""
    first = stack.define("flag", "rolled", "events.x.count > 1", description="one")
    stack.call("PUT", "/v1/admin/flags/rolled", json={"rule": "true", "description": "two", "enabled": False})
    stack.call("DELETE", "/v1/admin/flags/rolled")

    answer = stack.call("POST", "/v1/admin/flags/rolled/rollback", json={"version": first["version"]})

    flag = answer.json()["flag"]
    assert (flag["rule"], flag["description"], flag["enabled"]) == ("events.x.count > 1", "one", True)
    assert flag["version"] > first["version"]
    missing = stack.call("POST", "/v1/admin/flags/rolled/rollback", json={"version": 10**9})
    assert (missing.status_code, missing.json()["details"]["field"]) == (404, "version")


def test_lists_are_paged(stack: RunningStack) -> None:
    """`limit` and `offset` walk through the keys in order (D-34: lists had no pages)."""
    for number in range(3):
        stack.define("trait", f"paged_{number}", "events.x.count")

    keys = [trait["key"] for trait in stack.call("GET", "/v1/admin/traits").json()["traits"]]
    pages = [stack.call("GET", f"/v1/admin/traits?limit=1&offset={at}").json()["traits"] for at in range(len(keys))]

    assert [page[0]["key"] for page in pages] == keys == sorted(keys)
    assert stack.call("GET", "/v1/admin/traits?limit=0").status_code == 400
