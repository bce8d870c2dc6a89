"""The Python clients against a running stack: events arrive, refusals are told, decisions come or the default does."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import tinycdp

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture
def client(stack: RunningStack, new_client: Callable[..., Any], failures: list[tinycdp.Failure]) -> Any:
    """A client of the stack, of either kind."""
    keys = stack.keys
    return new_client(stack.stack.api_url, keys["write"], keys["read"], keys["admin"], on_error=failures.append)


def test_events_arrive_with_values_that_are_no_json_by_themselves(
    stack: RunningStack, client: Any, failures: list[tinycdp.Failure]
) -> None:
    """Dates, decimals and sets are written as JSON; an acknowledged event is sent, and nothing else is told."""
    bought = client.track("sdk-ada", "bought", {"on": date(2026, 1, 1), "price": Decimal("1.5"), "tags": {"a"}})

    assert bought.wait(10) == "sent"
    assert client.stats().sent == 1
    assert failures == []


def test_a_bad_event_is_told_and_costs_no_other(client: Any, failures: list[tinycdp.Failure]) -> None:
    """What is no JSON is refused at once, what the server refuses when it answers; the good event is sent."""
    no_json = client.track("sdk-ada", "bought", {"price": float("nan")})
    nameless, good = client.track("sdk-ada", ""), client.track("sdk-ada", "bought")

    assert (no_json.state, nameless.wait(10), good.wait(10)) == ("refused", "refused", "sent")
    assert [failure.message_id for failure in failures] == [no_json.message_id, nameless.message_id]


@pytest.fixture(scope="module")
def bought(stack: RunningStack) -> None:
    """A flag that is on for whoever bought, settled."""
    stack.define("trait", "sdk_bought_count", "events.sdk_bought.count")
    stack.define("flag", "sdk_bought", "sdk_bought_count >= 1")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")


@pytest.mark.usefixtures("bought")
def test_a_decision_sees_the_event_that_it_comes_after(client: Any) -> None:
    """`after` sends the event ahead and waits for it; without it an unknown flag is the default, with the reason."""
    user = f"sdk-{type(client).__name__}"
    assert not client.decide(user, "sdk_bought", False)

    seen = client.decide(user, "sdk_bought", False, after=client.track(user, "sdk_bought"), timeout=10)

    assert (seen.allow, seen.after_met, seen.error) == (True, True, None)
    assert client.decide_all(user)["sdk_bought"].allow
    assert client.traits(user)["traits"]["sdk_bought_count"] == 1
    unknown = client.decide(user, "no_such_flag", "default")
    assert (unknown.value, unknown.reason) == ("default", "ERROR")
    assert "not found" in str(unknown.error)


def test_without_a_server_nothing_is_raised_and_nothing_is_silent(new_client: Callable[..., Any]) -> None:
    """Nobody answers: a decision is the default within its time, and what was not sent is counted at the end."""
    told: list[tinycdp.Failure] = []
    client = new_client("http://127.0.0.1:9", "w", "r", on_error=told.append)
    event = client.track("sdk-ada", "bought")
    began_s = time.monotonic()

    decisions = [client.decide("sdk-ada", "f", "default") for _ in range(50)]
    stats = client.close(0.2)

    assert {decision.value for decision in decisions} == {"default"}
    assert time.monotonic() - began_s < 30
    assert (event.state, dict(stats.dropped), len(told)) == ("dropped", {"closed": 1}, 1)


def test_a_wrong_setting_names_itself_and_no_key() -> None:
    """The error has the setting, the value and the remedy; a key is never repeated."""
    with pytest.raises(tinycdp.ConfigurationError, match=r"url: 'ftp://x' is not accepted; give the server's address"):
        tinycdp.Client("ftp://x")
    with pytest.raises(tinycdp.ConfigurationError, match=r"write_key: \(not shown\)"):
        tinycdp.Client(write_key="geheim\n\0")
