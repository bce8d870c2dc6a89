"""An event of Segment's as it is accepted: its kind, names, ids, context, and the time that it happened."""

from __future__ import annotations

from typing import Any

import pytest

from serving.ingest.accept import Envelope, Limits, accept
from serving.refusals import Invalid

NO_LIMITS = Limits()
RECEIVED_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def accepted(envelope: Envelope = Envelope(RECEIVED_MS), **raw: Any) -> Any:  # noqa: B008
    """An event that must be accepted."""
    return accept({"userId": "ada", "type": "track", "event": "x", **raw}, NO_LIMITS, envelope=envelope)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # without sentAt the client's clock is trusted
        ({"timestamp": RECEIVED_MS - MINUTE_MS}, RECEIVED_MS - MINUTE_MS),
        # a clock an hour slow, an event a minute before it was sent
        ({"timestamp": RECEIVED_MS - 61 * MINUTE_MS, "sentAt": RECEIVED_MS - 60 * MINUTE_MS}, RECEIVED_MS - MINUTE_MS),
        # a clock an hour fast
        ({"timestamp": RECEIVED_MS + 59 * MINUTE_MS, "sentAt": RECEIVED_MS + 60 * MINUTE_MS}, RECEIVED_MS - MINUTE_MS),
        # half a second is the network
        ({"timestamp": RECEIVED_MS - MINUTE_MS, "sentAt": RECEIVED_MS - 500}, RECEIVED_MS - MINUTE_MS),
        # originalTimestamp alone is the client's time
        (
            {"originalTimestamp": RECEIVED_MS - 2 * MINUTE_MS, "sentAt": RECEIVED_MS - MINUTE_MS},
            RECEIVED_MS - MINUTE_MS,
        ),
        # both were corrected before, by whoever passes the event on
        (
            {
                "timestamp": RECEIVED_MS - 9 * MINUTE_MS,
                "originalTimestamp": RECEIVED_MS - 8 * MINUTE_MS,
                "sentAt": RECEIVED_MS - MINUTE_MS,
            },
            RECEIVED_MS - 9 * MINUTE_MS,
        ),
        # a sentAt that cannot be read, or is in seconds, is as none
        ({"timestamp": RECEIVED_MS - MINUTE_MS, "sentAt": RECEIVED_MS // 1000}, RECEIVED_MS - MINUTE_MS),
        ({"timestamp": RECEIVED_MS - MINUTE_MS, "sentAt": "soon"}, RECEIVED_MS - MINUTE_MS),
        ({"sentAt": RECEIVED_MS - MINUTE_MS}, None),
        ({"timestamp": None, "originalTimestamp": None}, None),
    ],
)
def test_a_clock_that_is_off_is_put_right(times: dict[str, Any], expected: int | None) -> None:
    """The time is received − (sentAt − timestamp), unless the difference is under a second or unknown."""
    assert accepted(**times).original_ts == expected


def test_an_events_own_sending_counts_before_its_batchs() -> None:
    """The event's own sentAt counts, else the request's."""
    envelope = Envelope(RECEIVED_MS, sent_at=RECEIVED_MS - 10 * MINUTE_MS)
    at = RECEIVED_MS - 30 * MINUTE_MS

    assert accepted(envelope, timestamp=at).original_ts == RECEIVED_MS - 20 * MINUTE_MS
    assert accepted(envelope, timestamp=at, sentAt=RECEIVED_MS - 30 * MINUTE_MS).original_ts == RECEIVED_MS


def test_what_a_wrong_clock_said_is_kept() -> None:
    """A corrected event keeps both of the client's times in its context; another keeps its context as it is."""
    clock = {"timestamp": RECEIVED_MS - 2 * MINUTE_MS, "sentAt": RECEIVED_MS - MINUTE_MS}

    assert accepted(**clock, context={"ip": "1.2.3.4"}).context == {"ip": "1.2.3.4", "clock": clock}
    assert accepted(timestamp=RECEIVED_MS, context={"ip": "1.2.3.4"}).context == {"ip": "1.2.3.4"}


@pytest.mark.parametrize(
    "text",
    [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20.000Z",
        "2023-11-14T22:13:20.000000+00:00",
        "2023-11-15T00:13:20+02:00",
        "2023-11-14T22:13:20.000",
    ],
)
def test_every_form_of_iso_8601_that_clients_send_is_read(text: str) -> None:
    """Z, offsets, milliseconds and microseconds are read; a time without a zone is UTC."""
    assert accepted(timestamp=text).original_ts == RECEIVED_MS


def test_the_context_of_a_batch_is_everybodys() -> None:
    """An event's own entries win over those of its batch."""
    envelope = Envelope(RECEIVED_MS, context={"ip": "1.2.3.4", "locale": "de"})

    assert accepted(envelope, context={"locale": "fr"}).context == {"ip": "1.2.3.4", "locale": "fr"}
    assert accepted(envelope, context=None).context == {"ip": "1.2.3.4", "locale": "de"}


def test_pages_and_screens_have_one_event_name_and_keep_their_own() -> None:
    """`page` and `screen` count as "Page Viewed" and "Screen Viewed"; name and category join the properties."""
    page = accepted(type="page", name="Home", category="Shop", properties={"name": "stated", "url": "/"})
    screen = accepted(type="screen", name="Cart", category=None, properties=None)

    assert (page.name, page.properties) == ("Page Viewed", {"name": "stated", "url": "/", "category": "Shop"})
    assert (screen.name, screen.properties) == ("Screen Viewed", {"name": "Cart"})


def test_a_group_is_kept_and_is_no_event() -> None:
    """The group's id and traits are kept; it has no event name, so nothing counts it."""
    group = accepted(type="group", groupId=7, traits={"seats": 3})

    assert (group.kind, group.name, group.properties, group.traits) == ("group", None, {"groupId": "7"}, {"seats": 3})


def test_an_alias_names_both_ids() -> None:
    """An alias has the user and the previous id, and belongs to the user."""
    alias = accepted(type="alias", previousId="before")

    assert (alias.kind, alias.user_id, alias.name) == ("alias", "ada", None)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"type": "group"}, "groupId"),
        ({"type": "alias"}, "previousId"),
        ({"type": "alias", "userId": None, "previousId": "before"}, "userId"),
        ({"type": "page", "name": ["x"]}, "name"),
        ({"context": "mobile"}, "context"),
        ({"originalTimestamp": "yesterday"}, "originalTimestamp"),
        ({"messageId": "x" * 100}, "messageId"),
    ],
)
def test_what_a_kind_needs_is_asked_for(raw: dict[str, Any], field: str) -> None:
    """The refusal names the field."""
    with pytest.raises(Invalid) as caught:
        accepted(**raw)
    assert caught.value.details is not None
    assert caught.value.details["field"] == field


@pytest.mark.parametrize(("given", "expected"), [(7, "7"), (7.0, "7"), (7.5, "7.5"), ("7", "7"), (2**63, str(2**63))])
def test_numbers_are_taken_as_ids(given: Any, expected: str) -> None:
    """An id that is a number becomes the text that JavaScript writes for it, and so does a messageId."""
    event = accepted(userId=given, messageId=given)

    assert (event.user_id, event.event_id) == (expected, expected)


def test_attributes_in_the_context_are_an_identifys() -> None:
    """Clients that send them there alone are understood; attributes of its own win; a track's context is left alone."""
    there = {"traits": {"plan": "pro"}}

    assert accepted(type="identify", context=there).traits == {"plan": "pro"}
    assert accepted(type="identify", context=there, traits={"plan": "free"}).traits == {"plan": "free"}
    assert accepted(context=there).traits == {}
