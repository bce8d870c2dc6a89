"""Decisions as clients of the original TypeScript TinyCDP ask for and read them, against a running stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def deciding(stack: RunningStack) -> RunningStack:
    """A stack with the segments and traits of the original's examples, and somebody who has them."""
    for key, expression in (
        ("dc_n", "events.dc_done.count"),
        ("dc_plan", "profile.dc_plan"),
        ("dc_nothing", "profile.dc_nothing"),
    ):
        stack.define("trait", key, expression)
    stack.define("segment", "dc_vip", "dc_n >= 2")
    stack.define("segment", "dc_no", "dc_n > 1000")
    for rule, (key, _, _) in RULES.items():
        stack.define("flag", key, rule)
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    for n in range(5):
        stack.track("dc-ada", "dc_done", messageId=f"dc-{n}", deviceId="dc-phone")
    body = {"userId": "dc-ada", "traits": {"dc_plan": "premium"}}
    assert stack.call("POST", "/v1/identify", "write", json=body).status_code == 200
    return stack


#: Each rule of the original's documents with what it says of somebody, and its reasons.
RULES: dict[str, tuple[str, bool, list[str]]] = {
    'segment("dc_vip")': ("dc_f1", True, ["segment(dc_vip) = true"]),
    '!segment("dc_no")': ("dc_f2", True, ["segment(dc_no) = false"]),
    'segment("dc_vip") && segment("dc_no")': ("dc_f3", False, ["segment(dc_vip) = true", "segment(dc_no) = false"]),
    'segment("dc_no") == false': ("dc_f4", True, ["segment(dc_no) = false"]),
    'trait("dc_n") >= 5': ("dc_f5", True, ["trait(dc_n) = 5"]),
    'trait("dc_plan") == "premium"': ("dc_f6", True, ['trait(dc_plan) = "premium"']),
    'trait("dc_nothing") == true': ("dc_f7", False, ["trait(dc_nothing) = null"]),
    'trait("dc_n") >= 5 && segment("dc_vip") && trait("dc_n") < 9': (
        "dc_f8",
        True,
        ["segment(dc_vip) = true", "trait(dc_n) = 5", "trait(dc_n) = 5"],
    ),
    "true": ("dc_f9", True, []),
    "false": ("dc_f10", False, []),
}


@pytest.mark.parametrize(("flag", "allow", "reasons"), RULES.values(), ids=list(RULES))
def test_reasons_keep_the_originals_format(deciding: RunningStack, flag: str, allow: bool, reasons: list[str]) -> None:
    """Reasons are the segments in order, then the traits in order, each as often as it is written, then the result."""
    answer = deciding.decide("dc-ada", flag)

    assert answer["allow"] is allow
    assert answer["reasons"] == [*reasons, f"final_result = {str(allow).lower()}"]


def test_a_decision_has_the_originals_fields(deciding: RunningStack) -> None:
    """A decision has `allow`, `variant` and `reasons`, and `userId` and `flag` as the question had them."""
    answer = deciding.decide("dc-ada", "dc_f1")

    assert answer | {"allow": True, "variant": None, "userId": "dc-ada", "flag": "dc_f1"} == answer
    assert isinstance(answer["reasons"], list)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({}, 400, "userId parameter is required and cannot be empty"),
        ({"flag": "dc_f1"}, 400, "userId parameter is required and cannot be empty"),
        ({"userId": " ", "flag": " "}, 400, "userId parameter is required and cannot be empty"),
        ({"userId": "dc-ada"}, 400, "flag parameter is required and cannot be empty"),
        ({"userId": "dc-ada", "flag": " "}, 400, "flag parameter is required and cannot be empty"),
        ({"userId": "dc-ada", "flag": "dc_none"}, 404, "Flag 'dc_none' not found"),
        ({"userId": "nobody", "flag": "dc_none"}, 404, "Flag 'dc_none' not found"),
    ],
)
def test_a_question_is_refused_in_the_originals_words(
    deciding: RunningStack, query: dict[str, str], status: int, message: str
) -> None:
    """The user is checked first, then the flag, then whether there is such a flag."""
    answer = deciding.call("GET", "/v1/decide", "read", params=query)

    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert answer.json()["code"] == {400: "invalid_argument", 404: "not_found"}[status]


@pytest.mark.parametrize("user", ["7f9c24e8-3b12-4fef-91e0-5d2b0f3b7a11", "never-seen", "ünïcode 👋", "a/b?c#d"])
def test_somebody_unknown_has_no_traits_and_no_segments(deciding: RunningStack, user: str) -> None:
    """Any text is an id. An unknown one has no events, so it gets a decision, not an error."""
    answer = deciding.decide(user, "dc_f2")

    assert (answer["allow"], answer["userId"]) == (True, user)
    assert deciding.decide(user, "dc_f1")["allow"] is False


@pytest.mark.parametrize("named", [{"userId": "dc-ada"}, {"externalId": "dc-ada"}, {"deviceId": "dc-phone"}])
def test_the_ids_that_apps_know_are_decided_for(deciding: RunningStack, named: dict[str, str]) -> None:
    """The original knew only its own internal id, which its clients never saw (D-1: their decisions were always no)."""
    answer = deciding.call("GET", "/v1/decide", "read", params={"flag": "dc_f1", **named})

    assert (answer.status_code, answer.json()["allow"]) == (200, True)


def test_a_changed_and_a_deleted_flag_are_so_at_once(deciding: RunningStack) -> None:
    """No decision outlives its flag: the original went on answering for up to a minute (D-8)."""
    deciding.define("flag", "dc_short", "true")
    answers: list[Any] = [deciding.decide("dc-ada", "dc_short")["allow"]]
    deciding.call("PUT", "/v1/admin/flags/dc_short", json={"rule": "false"})
    answers.append(deciding.decide("dc-ada", "dc_short")["allow"])
    deciding.call("DELETE", "/v1/admin/flags/dc_short")
    answers.append(deciding.decide("dc-ada", "dc_short")["message"])

    assert answers == [True, False, "Flag 'dc_short' not found"]


def test_the_originals_minute_is_kept_by_clients_where_a_flag_says_so(deciding: RunningStack) -> None:
    """`cache_seconds: 60` tells clients to hold an answer for a minute; without it they ask each time."""
    deciding.define("flag", "dc_held", "true", cache_seconds=60)

    def caching(flag: str) -> str:
        query = {"userId": "dc-ada", "flag": flag}
        return deciding.call("GET", "/v1/decide", "read", params=query).headers["Cache-Control"]

    assert (caching("dc_held"), caching("dc_f1")) == ("private, max-age=60", "private, no-cache")


def test_the_cache_has_no_door(deciding: RunningStack) -> None:
    """No cache has to be invalidated, so the original's internal call is not there."""
    assert deciding.call("POST", "/decide/invalidate-cache", json={}).status_code == 404
