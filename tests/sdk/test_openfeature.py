"""The OpenFeature provider: the same values as the published OFREP provider, the server's reasons, events, asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import tinycdp
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.track import TrackingEventDetails
from tinycdp.openfeature_provider import TinyCDPProvider

from tests.running import RunningStack
from tests.sdk.scripted_server import Asked, decided, scripted_server, stored
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

ADA = EvaluationContext("of-ada")


@pytest.fixture(scope="module")
def flags(stack: RunningStack) -> RunningStack:
    """The stack with a flag for each type of value, and one that is off."""

    def variants(*values: Any) -> list[dict[str, Any]]:
        return [{"name": f"v{n}", "weight": 100 if n == 0 else 0, "value": value} for n, value in enumerate(values)]

    stack.define("flag", "sdk_of_on", "true")
    stack.define("flag", "sdk_of_never", "false")
    stack.define("flag", "sdk_of_off", "true", enabled=False)
    stack.define("flag", "sdk_of_bought", "events.of_bought.count >= 1")
    for name, values in {"text": ("a", "b"), "whole": (3, 4), "number": (1.5, 2), "object": ({"a": [1]}, {})}.items():
        stack.define("flag", f"sdk_of_{name}", "true", variants=variants(*values))
    stack.track("of-ada", "sdk_of_bought")
    wait_until(lambda: stack.decide("of-ada", "sdk_of_bought")["reason"] != "STALE", "the flags are ready")
    return stack


@pytest.fixture
def provider(flags: RunningStack) -> Iterator[TinyCDPProvider]:
    """Our provider of the stack."""
    provider = TinyCDPProvider(
        tinycdp.Client(flags.stack.api_url, flags.keys["write"], flags.keys["read"], decide_timeout_s=30)
    )
    yield provider
    provider.shutdown()


@pytest.mark.parametrize(
    ("key", "kind", "default"),
    [
        ("sdk_of_on", "boolean", False),
        ("sdk_of_never", "boolean", True),
        ("sdk_of_off", "boolean", True),
        ("sdk_of_bought", "boolean", False),
        ("sdk_of_text", "string", ""),
        ("sdk_of_whole", "integer", 0),
        ("sdk_of_number", "float", 0.0),
        ("sdk_of_object", "object", {}),
        ("sdk_of_text", "integer", 7),
        ("sdk_of_unknown", "boolean", True),
    ],
)
def test_values_are_those_of_the_published_provider(
    flags: RunningStack, provider: TinyCDPProvider, key: str, kind: str, default: Any
) -> None:
    """OFREP gives the same value and error; the reason is the server's own, and asyncio gets the same."""
    other = OFREPProvider(flags.stack.api_url, headers_factory=lambda: {"X-API-Key": flags.keys["read"]})

    ours = getattr(provider, f"resolve_{kind}_details")(key, default, ADA)

    async def wait() -> Any:
        details = await getattr(provider, f"resolve_{kind}_details_async")(key, default, ADA)
        await provider.close_async()
        return details

    waited = asyncio.run(wait())
    theirs, code = default, None
    with suppress(OpenFeatureError):
        try:
            theirs = getattr(other, f"resolve_{kind}_details")(key, default, ADA).value
        except OpenFeatureError as error:
            code = error.error_code
            raise

    assert (ours.value, ours.error_code) == (theirs, code)
    if code is None:
        assert ours.reason == flags.decide("of-ada", key)["reason"]
    assert waited == ours


def test_what_is_tracked_arrives(flags: RunningStack, provider: TinyCDPProvider) -> None:
    """An event of the context's user, with the value beside its attributes."""
    provider.track("sdk_of_paid", EvaluationContext("of-eve"), TrackingEventDetails(9.5, {"currency": "EUR"}))
    provider._client.flush()

    wait_until(
        lambda: flags.call("GET", "/v1/admin/users/of-eve/data").json().get("events"), "the event is in the lake"
    )
    (event,) = flags.call("GET", "/v1/admin/users/of-eve/data").json()["events"]
    assert (event["name"], event["properties"]) == ("sdk_of_paid", {"currency": "EUR", "value": 9.5})


def test_without_an_id_nothing_is_asked(provider: TinyCDPProvider) -> None:
    """The default, with OpenFeature's code for a missing targeting key."""
    details = provider.resolve_boolean_details("sdk_of_on", False, EvaluationContext())

    assert (details.value, details.error_code) == (False, ErrorCode.TARGETING_KEY_MISSING)


def test_an_outage_and_its_end_are_events() -> None:
    """Last answers: stale. Defaults: error. An answer: ready again. Each change is told once."""
    told: list[str] = []

    def note(name: str) -> Any:
        def noted(_: EventDetails) -> None:
            told.append(name)

        return noted

    with scripted_server(decided(True)) as server:
        provider = TinyCDPProvider(tinycdp.Client(server.url, "w", "r"))
        api.set_provider_and_wait(provider, "outage")
        flags = api.get_client("outage")
        for event in ProviderEvent:
            flags.add_handler(event, note(event.name))
        wait_until(lambda: told == ["PROVIDER_READY"], "the first handler has run")
        assert flags.get_boolean_value("f", False, ADA)

        server.answer = lambda _: (503, {}, b"{}")
        assert [flags.get_boolean_value("f", False, ADA) for _ in range(5)] == [True] * 5
        assert [flags.get_boolean_value("f", False, EvaluationContext("eve")) for _ in range(5)] == [False] * 5
        server.answer = decided(True)
        wait_until(lambda: flags.get_boolean_value("f", False, EvaluationContext("eve")), "the breaker tries again")

        changes = ["PROVIDER_READY", "PROVIDER_STALE", "PROVIDER_ERROR", "PROVIDER_READY"]
        wait_until(lambda: len(told) >= len(changes), "the handlers have run, which is in a thread of their own")
        assert told == changes
        provider.shutdown()


def test_any_number_of_event_loops_may_ask() -> None:
    """Twice `asyncio.run`, then loops in threads at once: each has its answers, and closed loops leave nothing behind.

    What is tracked drops the answers of its user for them too.
    """
    asked: list[str] = []

    def answer(request: Asked) -> Any:
        asked.append(request.path)
        return decided(True, Cache_Control="max-age=60")(request)

    async def ask(provider: TinyCDPProvider, *users: str) -> list[str | None]:
        found = await asyncio.gather(
            *(provider.resolve_boolean_details_async("f", False, EvaluationContext(user)) for user in users)
        )
        await provider.close_async()
        return [details.reason for details in found if details.value]

    with scripted_server(answer) as server:
        provider = TinyCDPProvider(tinycdp.Client(server.url, "w", "r", decide_timeout_s=10))
        assert [asyncio.run(ask(provider, "ada")) for _ in range(2)] == [["STATIC"]] * 2
        assert len(asked) == 1  # all loops share the client's answers

        provider.track("seen", ADA)
        provider._client.flush()
        asyncio.run(ask(provider, "of-ada"))
        provider.track("seen", ADA)
        asyncio.run(ask(provider, "of-ada"))
        assert len([path for path in asked if "of-ada" in path]) == 2

        found: list[list[str | None]] = []
        barrier = threading.Barrier(4)

        def run(number: int) -> None:
            barrier.wait(10)
            found.append(asyncio.run(ask(provider, *(f"u{number}-{n}" for n in range(10)))))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == [["STATIC"] * 10] * 4
        assert provider._https == {}
        provider.shutdown()


def test_the_async_methods_block_no_loop() -> None:
    """While a decision is on its way the loop goes on: what lets the server answer runs in it."""
    may_answer = threading.Event()

    def answer(asked: Asked) -> Any:
        assert may_answer.wait(10)
        return decided(True)(asked)

    async def both(provider: TinyCDPProvider) -> bool:
        async def release() -> None:
            may_answer.set()

        details, _ = await asyncio.gather(provider.resolve_boolean_details_async("f", False, ADA), release())
        await provider.close_async()
        return details.value

    with scripted_server(answer) as server:
        provider = TinyCDPProvider(tinycdp.Client(server.url, "w", "r", decide_timeout_s=5))
        assert asyncio.run(both(provider)) is True
        server.answer = stored
        provider.shutdown()
