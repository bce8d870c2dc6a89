"""Identify and track as clients of the original TypeScript TinyCDP send them, against a running stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

NO_ID_TRACK = "At least one identifier (userId, deviceId, or externalId) is required"
NO_ID_IDENTIFY = "At least one identifier (deviceId, userId, or externalId) is required"
NO_NAME = "Event name is required and cannot be empty"
NO_TIME = "Invalid timestamp format. Use ISO 8601 format (e.g., '2023-01-01T12:00:00Z')"


@pytest.fixture(scope="module")
def counting(stack: RunningStack) -> RunningStack:
    """A stack that counts the events of this module and knows an attribute."""
    stack.define("trait", "ingest_seen", "events.ingested.count")
    stack.define("trait", "ingest_seen_30d", "events.ingested.count_30d")
    stack.define("trait", "ingest_padded", 'events["  ingested "].count')
    stack.define("trait", "ingest_amount", "events.ingested.amount.sum")
    stack.define("trait", "ingest_tier", "profile.tier")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def sent(stack: RunningStack, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of one call with a write key."""
    answer = stack.call("POST", path, "write", json=body)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("body", "user"),
    [
        ({"userId": "ic-1"}, "ic-1"),
        ({"externalId": "ic-2"}, "ic-2"),
        ({"deviceId": "ic-3"}, "ic-3"),
        ({"userId": "ic-4", "externalId": "ic-other"}, "ic-4"),
        ({"userId": "", "externalId": "ic-5"}, "ic-5"),
        ({"userId": "ic-6", "deviceId": "ic-phone", "traits": {"tier": "gold"}}, "ic-6"),
        ({"userId": "ic-7", "unknown": 1, "options": {"a": []}}, "ic-7"),
    ],
)
def test_identify_takes_any_of_three_ids(counting: RunningStack, body: dict[str, Any], user: str) -> None:
    """`userId` wins over `externalId`, a blank one is none, unknown fields are ignored; the answer has the id."""
    status, answer = sent(counting, "/v1/identify", body)

    assert (status, answer["success"], answer["userId"]) == (200, True, user)


@pytest.mark.parametrize("body", [{}, {"userId": ""}, {"deviceId": "", "externalId": "", "traits": {"a": 1}}])
def test_identify_wants_an_id(counting: RunningStack, body: dict[str, Any]) -> None:
    """An identify without an id, or with blank ids only, is 400 in the original's words."""
    status, answer = sent(counting, "/v1/identify", body)

    assert (status, answer["code"], answer["message"]) == (400, "invalid_argument", NO_ID_IDENTIFY)


def test_traits_of_identify_are_what_expressions_read(counting: RunningStack) -> None:
    """What the original took and threw away is the profile: the next identify changes it, with the next read (D-2)."""
    assert counting.traits("ic-profile")["traits"]["ingest_tier"] is None
    for tier in ("gold", "silver"):
        sent(counting, "/v1/identify", {"userId": "ic-profile", "traits": {"tier": tier}})
        assert counting.traits("ic-profile")["traits"]["ingest_tier"] == tier


@pytest.mark.parametrize(
    "body",
    [
        {"userId": "tc-1", "event": "ingested"},
        {"externalId": "tc-2", "event": "ingested", "props": {"amount": 5}},
        {"deviceId": "tc-3", "event": "ingested", "props": None},
        {"userId": "tc-4", "deviceId": "tc-phone", "event": "ingested", "ts": "2023-01-01T12:00:00Z"},
        {"userId": "tc-5", "event": "ingested", "unknown": {"a": 1}},
        {"userId": "tc-6", "event": "any characters: ✓ \" ' \\ <b>"},
    ],
)
def test_track_takes_one_event(counting: RunningStack, body: dict[str, Any]) -> None:
    """The answer is 200 with `success` and `eventId`, for any kind of id, with or without `ts` and `props`."""
    status, answer = sent(counting, "/v1/track", body)

    assert (status, answer["success"]) == (200, True)
    assert answer["eventId"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, NO_NAME),
        ({"userId": "tc"}, NO_NAME),
        ({"userId": "tc", "event": ""}, NO_NAME),
        ({"userId": "tc", "event": " \t"}, NO_NAME),
        ({"event": " "}, NO_NAME),
        ({"event": "ingested"}, NO_ID_TRACK),
        ({"event": "ingested", "userId": "", "deviceId": ""}, NO_ID_TRACK),
        ({"event": "ingested", "ts": "nonsense"}, NO_ID_TRACK),
        ({"event": "ingested", "userId": "tc", "ts": "nonsense"}, NO_TIME),
        ({"event": "ingested", "userId": "tc", "ts": ""}, NO_TIME),
    ],
)
def test_track_refuses_in_the_originals_words_and_order(
    counting: RunningStack, body: dict[str, Any], message: str
) -> None:
    """The event's name is checked first, then an id, then the time."""
    status, answer = sent(counting, "/v1/track", body)

    assert (status, answer["code"], answer["message"]) == (400, "invalid_argument", message)


@pytest.mark.parametrize("lax", ["2023", "5", "12/31/2023", "Jan 1 2023", "yesterday", "2023-13-01"])
def test_a_time_that_is_not_iso_8601_is_refused(counting: RunningStack, lax: str) -> None:
    """The original read "5" as May 2001; guessing puts events where nobody looks for them (D-17)."""
    status, answer = sent(counting, "/v1/track", {"userId": "tc", "event": "ingested", "ts": lax})

    assert (status, answer["message"], answer["details"]["field"]) == (400, NO_TIME, "ts")


def test_what_the_originals_fields_said_is_counted(counting: RunningStack) -> None:
    """`ts` and `props` are read as such, and so are `timestamp` and `properties`, which the original dropped."""
    for body in (
        {"ts": "2020-01-01T00:00:00Z", "props": {"amount": 5}},
        {"timestamp": "2020-01-01T00:00:00+02:00", "properties": {"amount": 6}},
        {"props": {"amount": 7}},
    ):
        assert sent(counting, "/v1/track", {"userId": "tc-fields", "event": "ingested", **body})[0] == 200

    traits = counting.traits("tc-fields")["traits"]
    assert (traits["ingest_seen"], traits["ingest_seen_30d"], traits["ingest_amount"]) == (3, 1, 18)


def test_an_events_name_is_kept_as_it_came(counting: RunningStack) -> None:
    """Blanks around a name belong to it, as in the original: with them it is another name."""
    sent(counting, "/v1/track", {"userId": "tc-pad", "event": "  ingested "})

    traits = counting.traits("tc-pad")["traits"]
    assert (traits["ingest_padded"], traits["ingest_seen"]) == (1, 0)


def test_a_decision_after_the_acknowledgement_sees_the_event(counting: RunningStack) -> None:
    """The original computed before it answered, and scripts rely on that: here the next read computes."""
    for n in range(1, 6):
        sent(counting, "/v1/track", {"userId": "tc-sync", "event": "ingested"})
        assert counting.traits("tc-sync")["traits"]["ingest_seen"] == n


def test_identify_with_both_ids_makes_them_one_person(counting: RunningStack) -> None:
    """What the device did counts for the user whom it is identified as; the user's id is the stronger one."""
    sent(counting, "/v1/track", {"deviceId": "tc-tablet", "event": "ingested"})
    sent(counting, "/v1/track", {"externalId": "tc-alice", "event": "ingested"})
    assert (
        sent(counting, "/v1/identify", {"deviceId": "tc-tablet", "externalId": "tc-alice"})[1]["userId"] == "tc-alice"
    )

    assert counting.traits("tc-alice")["traits"]["ingest_seen"] == 2
