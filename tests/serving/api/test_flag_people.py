"""Whom a flag allows: the same people as its decisions say one by one. On a real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

USERS = [f"fp-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def matched(stack: RunningStack) -> RunningStack:
    """A stack with people whose events are drained and rebuilt, and flags about them."""
    stack.define("trait", "fp_seen", "events.fp.count")
    stack.define("flag", "fp_needed", 'bucket("fp") < 70000')
    stack.define(
        "flag",
        "fp_flag",
        "fp_seen >= 1",
        variants=[{"name": "blue", "weight": 1}, {"name": "red", "weight": 1}],
        rollout=80,
        prerequisites=[{"flag": "fp_needed"}],
        users={"fp-0": "red", "fp-1": False, "fp-other": "blue"},
    )
    stack.define("flag", "fp_off", "true", enabled=False)
    for user in USERS:
        stack.track(user, "fp", messageId=f"{user}-1")
    stack.track("fp-other", "another", messageId="fp-other-1")
    wait_until(lambda: people(stack, "fp_needed", limit=1_000)["total"] >= total_of(stack), "the events are drained")
    return stack


def total_of(stack: RunningStack) -> int:
    """How many people the search finds, all of ours among them."""
    page = stack.call("GET", "/v1/admin/users/search", params={"query": "fp-"}).json()
    if page["total"] < len(USERS) + 1:
        return 10**9
    total: int = stack.call("GET", "/v1/admin/users/search").json()["total"]
    return total


def people(stack: RunningStack, flag: str, **query: Any) -> dict[str, Any]:
    """Whom a flag allows."""
    answer = stack.call("GET", f"/v1/admin/flags/{flag}/people", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_those_are_listed_whom_a_decision_allows(matched: RunningStack) -> None:
    """With schedule, prerequisites, named people, the rule, the rollout and the variant."""
    listed = {user["id"]: user["variant"] for user in people(matched, "fp_flag", limit=1_000)["users"]}

    def decided() -> dict[str, str]:
        decisions = {user: matched.decide(user, "fp_flag") for user in [*USERS, "fp-other"]}
        return {f"user:{user}": one["variant"] for user, one in decisions.items() if one["allow"]}

    wait_until(lambda: not matched.traits("fp-0")["warming"], "the trait is ready")
    assert listed == decided()
    assert 0 < len(listed) < len(USERS) + 1


def test_people_are_counted_and_paged(matched: RunningStack) -> None:
    """By id; a variant asks for those alone who get it."""
    everybody = people(matched, "fp_flag", limit=1_000)
    ids = [user["id"] for user in everybody["users"]]
    first, second = people(matched, "fp_flag", limit=3), people(matched, "fp_flag", limit=1_000, offset=3)
    red = people(matched, "fp_flag", variant="red", limit=1_000)

    assert ids == sorted(ids) and len(ids) == everybody["count"]
    assert [user["id"] for page in (first, second) for user in page["users"]] == ids
    assert (first["hasMore"], second["hasMore"]) == (True, False)
    assert {one["variant"]: one["count"] for one in everybody["variants"]}["red"] == len(red["users"])
    assert {user["variant"] for user in red["users"]} == {"red"}
    assert red["count"] == everybody["count"] <= everybody["total"]


def test_a_flag_that_is_off_allows_nobody(matched: RunningStack) -> None:
    """And a flag that is not there is not found."""
    nobody = people(matched, "fp_off")

    assert (nobody["count"], nobody["users"], nobody["variants"]) == (0, [], [])
    assert matched.call("GET", "/v1/admin/flags/fp_none/people").status_code == 404


def test_a_variant_that_the_flag_lacks_is_refused(matched: RunningStack) -> None:
    """With the field, the value and the variants that there are. A flag without variants has none to ask for."""
    wrong = matched.call("GET", "/v1/admin/flags/fp_flag/people", params={"variant": "nope"})
    without = matched.call("GET", "/v1/admin/flags/fp_off/people", params={"variant": "blue"})

    assert (wrong.status_code, without.status_code) == (400, 400)
    assert wrong.json()["details"] == {
        "field": "variant",
        "value": "'nope'",
        "remedy": "send a variant of the flag, one of blue, red",
    }
    assert without.json()["details"]["remedy"] == "leave it out: the flag has no variants"
