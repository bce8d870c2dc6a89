"""Which events are accepted, under which id and time, and how a refusal reads."""

from __future__ import annotations

from typing import Any

import pytest

from serving.ingest.accept import Limits, accept
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS
from serving.refusals import Invalid

NO_LIMITS = Limits()


def track(**changes: Any) -> dict[str, Any]:
    """A good track call with these changes."""
    return {"type": "track", "userId": "ada", "event": "purchase", "messageId": "m-1", **changes}


def refusal(raw: Any, limits: Limits = NO_LIMITS, kind: str | None = None) -> Invalid:
    """The refusal of an event that must be refused."""
    with pytest.raises(Invalid) as caught:
        accept(raw, limits, kind)
    assert caught.value.details is not None
    assert {"field", "value", "remedy"} <= caught.value.details.keys()
    return caught.value


def test_an_event_goes_to_its_user_before_its_device() -> None:
    """An event with both ids belongs to the user's record and keeps the other id."""
    event = accept(track(anonymousId="device-1"), NO_LIMITS)

    assert (event.id, event.user_id, event.anonymous_id) == ("user:ada", "ada", "device-1")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"anonymousId": "d"}, "anon:d"),
        ({"deviceId": "d"}, "anon:d"),
        ({"externalId": "e"}, "user:e"),
        ({"userId": "u", "externalId": "e"}, "user:u"),
        ({"userId": 42}, "user:42"),
        ({"userId": "", "deviceId": "d"}, "anon:d"),
        ({"userId": None, "deviceId": "d"}, "anon:d"),
        ({"userId": "  ", "deviceId": "d"}, "anon:d"),
    ],
)
def test_any_of_the_id_fields_names_the_record(ids: dict[str, Any], expected: str) -> None:
    """userId wins over externalId, a user over a device; blanks and nulls are no ids; numbers become text."""
    assert accept({"type": "track", "event": "x", **ids}, NO_LIMITS).id == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"timestamp": "1970-01-01T00:00:01Z"}, 1_000),
        ({"ts": "1970-01-01T00:00:01.5+00:00"}, 1_500),
        ({"timestamp": "1970-01-01T00:00:01.123456Z"}, 1_123),
        ({"timestamp": "1970-01-01T02:00:00+02:00"}, 0),
        ({"timestamp": "1970-01-02"}, 86_400_000),
        ({"timestamp": "19700101T000001Z"}, 1_000),
        ({"timestamp": 1_700_000_001_500}, 1_700_000_001_500),
        ({"timestamp": 631_152_000_000}, 631_152_000_000),
        ({"timestamp": None, "ts": "1970-01-01T00:00:01Z"}, 1_000),
        ({"timestamp": "0001-01-01T14:00:00+14:00"}, INSTANT_MIN_MS),
        ({"timestamp": "9999-12-31T09:59:59-14:00"}, INSTANT_MAX_MS),
        ({}, None),
    ],
)
def test_a_time_is_read_from_iso_text_or_milliseconds(given: dict[str, Any], expected: int | None) -> None:
    """A time is ISO text or milliseconds, in `timestamp` or in `ts`, which are two names of one field."""
    assert accept(track(**given), NO_LIMITS).original_ts == expected


@pytest.mark.parametrize(
    "bad",
    [
        *("yesterday", "2023", "5", "12/31/2023", "2023-02-30", "2023-01-01T25:00:00Z", True, {}, "0000-01-01"),
        *("0001-01-01T00:00:00+14:00", "00010101T000000+1400", "9999-12-31T23:59:59-14:00", "1700010110000"),
    ],
)
def test_a_time_that_is_no_time_is_refused(bad: Any) -> None:
    """A bare year or a date in another order is refused, with the form to use; nothing is guessed. So is what an offset
    leads out of the years 1 to 9999 in UTC."""
    assert refusal(track(timestamp=bad)).message.startswith("Invalid timestamp format. Use ISO 8601")


@pytest.mark.parametrize("field", ["timestamp", "ts", "originalTimestamp"])
@pytest.mark.parametrize("seconds", [1_700_000_000, 1_700_000_000.25, 631_151_999_999, 0, -5])
def test_a_number_before_1990_is_refused(field: str, seconds: float) -> None:
    """Seconds in the place of milliseconds would be a day of January 1970: the refusal says what to send."""
    found = refusal(track(**{field: seconds}))

    assert found.details is not None
    assert (found.details["field"], found.details["value"]) == (field, repr(seconds))
    assert "milliseconds" in found.details["remedy"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"type": "track", "event": "x"}, "At least one identifier (userId, deviceId, or externalId) is required"),
        ({"type": "identify"}, "At least one identifier (deviceId, userId, or externalId) is required"),
        ({"type": "track", "userId": "a"}, "Event name is required and cannot be empty"),
        (track(event="  "), "Event name is required and cannot be empty"),
        (track(event=7), "Event name is required and cannot be empty"),
        (
            track(type="purchase"),
            "type: 'purchase' is not accepted; use one of track, identify, page, screen, group, alias",
        ),
        (track(properties=[1]), "properties: [1] is not accepted; send a JSON object"),
        (track(userId=["a"]), "userId: ['a'] is not accepted; send a string"),
        (track(properties={"a": {"b": float("inf")}}), "properties.a.b: inf is not accepted; send a finite number"),
        ([], "event: [] is not accepted; send a JSON object"),
    ],
)
def test_a_refusal_names_field_value_and_remedy(raw: Any, message: str) -> None:
    """The refusals of the most common mistakes name field, value and remedy."""
    assert refusal(raw).message == message


def test_what_can_grow_is_bounded() -> None:
    """Ids, names, message ids, depth, properties and attributes each have a limit and say it."""
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"inside": deep}
    for raw in (
        track(userId="x" * 257),
        track(event="x" * 201),
        track(messageId="x" * 100),
        track(properties=deep),
        track(properties={str(n): n for n in range(513)}),
        track(properties={"x" * 201: 1}),
        {"type": "identify", "userId": "a", "traits": {str(n): n for n in range(257)}},
        {"type": "identify", "userId": "a", "traits": {"bio": "x" * 9_000}},
    ):
        assert "at most" in str(refusal(raw).details) or "within" in str(refusal(raw).details)


def test_a_summed_property_is_bounded_and_others_are_not() -> None:
    """Beyond 10^12 a number is refused where a trait sums it, nested names included (S6)."""
    limits = Limits(summed={"purchase": frozenset({"order.total"})})
    beyond = {"order": {"total": -1.000001e12, "placed_ms": 1.7e12}}

    assert refusal(track(properties=beyond), limits).details["field"] == "properties.order.total"  # type: ignore[index]
    assert accept(track(properties=beyond), NO_LIMITS).properties == beyond
    assert accept(track(properties={"order": {"total": 1e12}}), limits).name == "purchase"


def test_an_event_without_a_message_id_gets_one_of_its_own() -> None:
    """Two events without a message id are two events."""
    first, second = (accept(track(messageId=None), NO_LIMITS) for _ in range(2))

    assert first.event_id != second.event_id


def test_text_that_has_no_utf8_form_is_refused() -> None:
    """Text with half a surrogate pair is refused, since it cannot be stored."""
    assert refusal(track(userId="\ud800")).details["field"] == "userId"  # type: ignore[index]
    assert refusal(track(properties={"a": "\udfff"})).details["field"] == "properties.a"  # type: ignore[index]
