"""The examples in Node as processes of their own, on the demo's stack."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.examples.checkout import Example
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(400), pytest.mark.deep]


@pytest.fixture(scope="module")
def environment(running: RunningStack) -> dict[str, str]:
    """The address and the keys of the stack, as the examples read them."""
    keys = {f"TINYCDP_{kind.upper()}_KEY": running.keys[kind] for kind in ("write", "read")}  # type: ignore[index]
    return {"TINYCDP_URL": running.stack.api_url, **keys}


@pytest.fixture
def service(example: Callable[[str], Example], environment: dict[str, str]) -> Iterator[tuple[Any, httpx.Client]]:
    """The service, its process and calls to it."""
    with (
        example("node-service").runs("service.js", PORT="0", **environment) as (process, address),
        httpx.Client(base_url=address, timeout=30) as calls,
    ):
        yield process, calls


def test_the_service_counts_orders_once_and_decides_after_them(service: Any, running: RunningStack) -> None:
    """A decision sees the order that it comes after, an order that is sent twice counts once, and members pay less."""
    _, calls = service
    assert calls.post("/signup", json={"userId": "node-ada", "email": "ada@example.com"}).status_code == 201
    member = {"x-user-id": "node-ada"}
    assert calls.get("/products", headers=member).json()["percentOff"] == 0

    mug = {"userId": "node-ada", "order": "n1", "product": "mug"}
    first, again = (calls.post("/orders", json=mug).json() for _ in range(2))
    machine = calls.post("/orders", json={**mug, "order": "n2", "product": "machine"}).json()

    assert first == again == {"order": "n1", "amount": 19, "shipping": 5}
    assert machine["shipping"] == 0
    assert calls.get("/products", headers=member).json()["products"][0] == {"id": "mug", "price": 15.2}
    assert calls.get("/products").json()["percentOff"] == 0
    traits = running.traits("node-ada")["traits"]
    assert (traits["orders_30d"], traits["total_spent"]) == (2, 668)


def test_a_service_that_is_told_to_stop_sends_first(service: Any, running: RunningStack) -> None:
    """What waits for a batch when SIGTERM comes is sent, and the process says so."""
    process, calls = service
    calls.post("/signup", json={"userId": "node-stop", "email": "stop@example.com"})
    assert calls.get("/health").json()["queued"] == 1

    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)

    assert json.loads(said.splitlines()[-1]) == {"sent": 2, "queued": 0}
    names = [event["name"] for event in running.call("GET", "/v1/admin/users/node-stop/events").json()["events"]]
    assert "signed_up" in names


def test_a_function_sends_before_it_answers(
    example: Callable[[str], Example], environment: dict[str, str], running: RunningStack
) -> None:
    """Its process ends with the answer; the invoice counts, and so does the event after the decision."""
    done = example("node-service").run("invoke.js", "node-lambda", "i1", "640", **environment)

    assert (done.returncode, json.loads(done.stdout)) == (0, {"gift": True, "queued": 0}), done.stderr
    events = running.call("GET", "/v1/admin/users/node-lambda/events").json()["events"]
    assert {event["name"] for event in events} == {"purchase", "invoice_paid"}


def test_every_pattern_runs(
    example: Callable[[str], Example], environment: dict[str, str], running: RunningStack
) -> None:
    """An app's own words, a funnel, flags, Vue, and defaults where nobody answers: one script says what happened."""
    done = example("patterns").run("run.js", USER_ID="patterns-ada", **environment)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    variant = running.decide("patterns-ada", "checkout_button")["variant"]
    assert said == {
        "before": {"percentOff": 0, "freeShipping": False},
        "percentOff": 20,
        "freeShipping": True,
        "variant": variant,
        "allowed": {"free_shipping": True, "help_chat": False, "no_such_flag": False},
        "vue": [True],
        "inOutage": {"percentOff": 0, "allowed": {"help_chat": False}},
        "sent": 14,
        "queued": 0,
    }
    traits = running.traits("patterns-ada")["traits"]
    assert (traits["orders_30d"], traits["total_spent"]) == (1, 30)
