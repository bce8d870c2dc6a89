"""From a call to the wire: which values are understood, which are refused alone, and what `before_send` may do."""

from __future__ import annotations

import enum
import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy
import pandas
import pytest
import tinycdp
from tinycdp._events import EVENT_BYTES_MAX, MessageIds, event_bytes

from tests.sdk.scripted_server import scripted_server

NOBODY = "http://127.0.0.1:9"


class Size(enum.Enum):
    """A value of an app."""

    LARGE = "L"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (numpy.int64(7), 7),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.array([1, 2]), [1, 2]),
        (pandas.Timestamp("2026-01-01", tz="UTC"), "2026-01-01T00:00:00Z"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2026-01-01T00:00:00Z"),
        (date(2026, 1, 1), "2026-01-01"),
        (Decimal("10"), 10),
        (Decimal("10.50"), 10.5),
        (Decimal("1E+30"), 1e30),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Size.LARGE, "L"),
        ({"b", "a"}, ["a", "b"]),
        (("a", None), ["a", None]),
        ({1: "a"}, {"1": "a"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_libraries_are_json(value: Any, sent: Any) -> None:
    """Each is written as JSON has it (analytics-python#200: one from numpy ended the sender)."""
    assert json.loads(event_bytes({"properties": {"value": value}}))["properties"]["value"] == sent


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "object is no JSON value"),
        (float("inf"), "finite"),
        (numpy.float64("nan"), "finite"),
        (datetime(2026, 1, 1), "no time zone"),
        (numpy.datetime64("2026-01-01T00:00:00", "ms"), "no time zone"),
        (pandas.NaT, "no JSON|no time zone"),
        ("\ud800", "surrogate"),
        ({(1, 2): "a"}, "text keys"),
        ("x" * EVENT_BYTES_MAX, "bytes"),
        (Decimal("NaN"), "finite"),
    ],
    ids=["object", "inf", "nan", "datetime", "datetime64", "NaT", "surrogate", "tuple", "long", "Decimal"],
)
def test_a_value_that_is_no_json_is_refused_alone_and_at_once(
    new_client: Callable[..., Any], failures: list[tinycdp.Failure], value: Any, reason: str
) -> None:
    """It is told where it was written, with the reason; nothing is raised, and nothing is queued."""
    client = new_client(NOBODY, "w", on_error=failures.append)

    handle = client.track("ada", "bought", {"value": value})

    assert handle.state == "refused"
    (failure,) = failures
    assert failure.message_id == handle.message_id
    assert any(part in failure.reason for part in reason.split("|")), failure.reason
    assert client.stats().queued == 0


def test_a_circle_is_refused(new_client: Callable[..., Any], failures: list[tinycdp.Failure]) -> None:
    """A dict within itself has no end: it is refused, and the process goes on."""
    circle: dict[str, Any] = {}
    circle["itself"] = circle

    assert new_client(NOBODY, "w", on_error=failures.append).track("ada", "bought", circle).state == "refused"


def test_before_send_changes_drops_and_may_be_wrong(
    new_client: Callable[..., Any], failures: list[tinycdp.Failure]
) -> None:
    """What it returns is sent; None drops, counted and untold; what it raises refuses the one event and is told."""

    def before_send(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["event"] == "secret":
            return None
        if event["event"] == "odd":
            raise KeyError("odd")
        event["properties"] = {"card": "…"}
        return event

    with scripted_server() as server:
        client = new_client(server.url, "w", before_send=before_send, on_error=failures.append)
        for name in ("secret", "odd", "bought"):
            client.track("ada", name, {"card": "4111"})
        stats = client.flush()

        ((event,),) = server.batches()
    assert (event["event"], event["properties"]) == ("bought", {"card": "…"})
    assert (dict(stats.dropped), dict(stats.refused)) == ({"before_send": 1}, {"before_send failed": 1})
    assert [failure.reason for failure in failures] == ["before_send raised KeyError"]


def test_what_the_app_changes_afterwards_is_not_sent(new_client: Callable[..., Any]) -> None:
    """An event is written when it is tracked; the client's context stands where the call gives none."""
    with scripted_server() as server:
        client = new_client(server.url, "w", context={"app": "shop"})
        properties = {"amount": 1}
        client.track("ada", "bought", properties)
        properties["amount"] = 2
        client.track("ada", "bought", properties, context={"app": "till"}, timestamp=datetime(2026, 1, 1, tzinfo=UTC))
        client.flush()

        events = [event for batch in server.batches() for event in batch]
    assert [event["properties"]["amount"] for event in events] == [1, 2]
    assert [event["context"]["app"] for event in events] == ["shop", "till"]
    assert events[1]["timestamp"] == "2026-01-01T00:00:00Z"


def test_after_close_an_event_is_dropped_and_told(
    new_client: Callable[..., Any], failures: list[tinycdp.Failure]
) -> None:
    """Nothing is queued that nobody would send."""
    client = new_client(NOBODY, "w", on_error=failures.append)
    client.close(0)

    assert client.track("ada", "late").state == "dropped"
    assert [failure.reason for failure in failures] == ["the client was closed before"]


def test_without_a_write_key_an_event_is_refused_and_told(
    new_client: Callable[..., Any], failures: list[tinycdp.Failure]
) -> None:
    """A client that only decides raises nothing into a request that tracks."""
    handle = new_client(NOBODY, read_key="r", on_error=failures.append).track("ada", "bought")

    assert (handle.state, failures[0].reason.partition(":")[0]) == ("refused", "write_key")


def test_a_full_queue_that_blocks_raises(new_client: Callable[..., Any]) -> None:
    """With `when_full="block"` the caller hears of it (posthog-python#146: in silence)."""
    client = new_client(NOBODY, "w", queue_max=1, when_full="block", block_s=0.05)
    client.track("ada", "first")

    with pytest.raises(tinycdp.QueueFull):
        client.track("ada", "second")


def test_message_ids_are_uuids_and_differ() -> None:
    """They are version 4, and none is drawn twice."""
    draw = MessageIds()
    drawn = {draw() for _ in range(2_000)}

    assert len(drawn) == 2_000
    assert {UUID(one).version for one in drawn} == {4}


def test_threads_never_draw_the_same_message_id() -> None:
    """An id that two events share counts once, so one of them would be lost. Threads switch at every chance here."""
    draw, interval_s = MessageIds(), sys.getswitchinterval()
    drawn: list[list[str]] = [[] for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda mine=mine: mine.extend(draw() for _ in range(5_000))) for mine in drawn
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)

    assert len({one for mine in drawn for one in mine}) == 20_000
