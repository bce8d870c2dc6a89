"""When a client asks for a decision, when it answers by itself, and what it says while the server is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.sdk.scripted_server import Asked, decided, scripted_server


def questions(asked: list[Asked]) -> int:
    """How many decisions were asked for."""
    return sum("/v1/decide" in one.path for one in asked)


def test_an_answer_is_given_again_for_its_max_age_alone(new_client: Callable[..., Any]) -> None:
    """With `max-age=60` the second call asks nobody; with `no-cache` each one asks, and sends the tag."""
    with scripted_server(decided(True, cache_control="private, max-age=60")) as server:
        client = new_client(server.url, "w", "r")
        assert client.decide("ada", "f", False).value and client.decide("ada", "f", False).value
        assert questions(server.asked) == 1

        server.answer = decided(True, cache_control="private, no-cache", etag='W/"7"')
        client.decide("eve", "f", False)
        server.answer = lambda _: (304, {}, b"")
        assert client.decide("eve", "f", False).value is True
        assert server.asked[-1].headers["if-none-match"] == 'W/"7"'


def test_what_the_client_sends_of_a_user_drops_that_users_answers_alone(new_client: Callable[..., Any]) -> None:
    """After an event of Ada's her next decision asks; Eve's answer stands."""
    with scripted_server(decided(True, cache_control="max-age=60")) as server:
        client = new_client(server.url, "w", "r")
        client.decide("ada", "f", False)
        client.decide("eve", "f", False)

        client.track("ada", "bought").wait(10)
        client.decide("ada", "f", False)
        client.decide("eve", "f", False)

        assert questions(server.asked) == 3


def test_in_an_outage_the_last_answer_stands_and_one_warning_is_said(
    new_client: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Ada's answer is given again, marked CACHED; Eve, who was never asked about, gets the default.

    The breaker opens: 50 calls ask a few times only, take no time, and warn once (posthog-python#112).
    """
    with scripted_server(decided(True, cache_control="no-cache")) as server:
        client = new_client(server.url, "w", "r")
        client.decide("ada", "f", False)
        server.answer = lambda _: (503, {}, b"{}")

        with caplog.at_level(logging.WARNING, "tinycdp"):
            away = [client.decide("ada", "f", False) for _ in range(50)]

        assert {(decision.value, decision.reason) for decision in away} == {(True, "CACHED")}
        assert client.decide("eve", "f", "default").value == "default"
        assert questions(server.asked) < 10
        assert len(caplog.records) == 1


def test_a_decision_waits_for_all_of_the_users_events_on_their_way(new_client: Callable[..., Any]) -> None:
    """An earlier event of the user waits to be sent again: a decision after a later one does not go without it."""
    with scripted_server(lambda _: (503, {"Retry-After": "1"}, b"{}")) as server:
        client = new_client(server.url, "w", "r", flush_interval_s=0)
        earlier = client.track("ada", "first")
        earlier.wait(0.2)
        server.answer = decided(True)

        decision = client.decide("ada", "f", False, after=client.track("ada", "second"), timeout=10)

        assert (decision.value, decision.after_met, earlier.state) == (True, True, "sent")
        assert {event["event"] for batch in server.batches() for event in batch} == {"first", "second"}


def test_a_decision_after_an_event_of_another_id_is_asked_for_anew(new_client: Callable[..., Any]) -> None:
    """Eve's event may have linked her with Ada: Ada's answer of before is not given, though it is fresh."""
    with scripted_server(decided(True, cache_control="max-age=60")) as server:
        client = new_client(server.url, "w", "r")
        client.decide("ada", "f", False)
        client.decide("ada", "f", False, after=client.track("eve", "linked"), timeout=10)

        assert questions(server.asked) == 2


def test_a_decision_after_an_event_that_is_not_acknowledged_is_the_default(new_client: Callable[..., Any]) -> None:
    """Within its timeout; the reason is ERROR, and `after_met` says what failed."""
    with scripted_server(lambda asked: None if asked.path == "/v1/batch" else decided(True)(asked)) as server:
        client = new_client(server.url, "w", "r")

        decision = client.decide("ada", "f", "default", after=client.track("ada", "bought"), timeout=0.3)

        assert (decision.value, decision.reason, decision.after_met) == ("default", "ERROR", False)


def test_an_answer_that_trickles_is_not_waited_for(new_client: Callable[..., Any]) -> None:
    """The timeout is of the whole answer: bytes one by one do not prolong it (flagsmith-python-client#115)."""
    with scripted_server(lambda _: (200, {}, [b" "] * 200)) as server:
        client = new_client(server.url, "w", "r")
        began_s = time.monotonic()

        decision = client.decide("ada", "f", "default", timeout=0.2)

        assert (decision.value, decision.reason) == ("default", "ERROR")
        assert time.monotonic() - began_s < 5  # ten seconds is the whole


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            b'{"code":"not_found","message":"Flag \'f\' not found","details":{"field":"flag","value":"f"}}',
            "FLAG_NOT_FOUND",
        ),
        (b'{"code":"not_found","message":"endpoint not found","details":null}', "GENERAL"),
        (b"<html>404</html>", "GENERAL"),
    ],
    ids=["no flag", "no path", "a proxy"],
)
def test_a_404_is_told_as_what_it_is(new_client: Callable[..., Any], body: bytes, code: str) -> None:
    """A wrong address is no missing flag. One that ends with /v1 is right: calls begin with that."""
    with scripted_server(lambda _: (404, {}, body)) as server:
        decision = new_client(f"{server.url}/v1/", "w", "r").decide("ada", "f", False)

    assert [one.path.partition("?")[0] for one in server.asked] == ["/v1/decide"]
    assert (decision.value, decision.reason, decision.error_code) == (False, "ERROR", code)
