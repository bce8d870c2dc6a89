"""Published Python clients of Segment's tracking API, as they are, against a running stack."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient
from segment.analytics.request import APIError

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


class Errors(list[Any]):
    """What a client gave up on."""

    def take(self, error: Exception, batch: Any) -> None:
        self.append((error, batch))


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack that counts what the clients send."""
    stack.define("trait", "py_orders", "events.py_order.count")
    stack.define("trait", "py_spent", "events.py_order.amount.sum")
    stack.define("trait", "py_orders_2h", "events.py_order.count_2h")
    stack.define("trait", "py_page", 'events["Page Viewed"].name.last')
    stack.define("trait", "py_screen", 'events["Screen Viewed"].category.last')
    stack.define("trait", "py_plan", "profile.py_plan")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


@pytest.fixture(params=["plain", "gzip"])
def segment(defined: RunningStack, request: pytest.FixtureRequest) -> Iterator[tuple[SegmentClient, Errors]]:
    """segment-analytics-python, once with and once without gzip, and what it gave up on."""
    errors = Errors()
    client = SegmentClient(
        defined.keys["write"],
        host=defined.stack.api_url,
        gzip=request.param == "gzip",
        on_error=errors.take,
        upload_interval=0.05,
        max_retries=2,
    )
    yield client, errors
    client.join()


def of(stack: RunningStack, user: str, *keys: str) -> dict[str, Any]:
    """Some of a user's traits."""
    traits = stack.traits(user)["traits"]
    return {key: traits[key] for key in keys}


def test_segment_sends_every_kind_of_call(
    defined: RunningStack, segment: tuple[SegmentClient, Errors], request: pytest.FixtureRequest
) -> None:
    """Each call arrives, explicit nulls and numeric ids included; nothing is given up."""
    client, errors = segment
    user = 4_200 + client.gzip
    client.identify(user, {"py_plan": "pro"})
    for n in range(250):
        client.track(user, "py_order", {"amount": 0.5, "coupon": None}, message_id=f"{user}-{n}")
    client.page(user, "Docs", "Install", {"url": "/docs"})
    client.screen(user, "Shop", "Cart")
    client.group(user, "acme", {"seats": 3})
    client.flush()

    assert errors == []
    assert of(defined, str(user), "py_orders", "py_spent", "py_plan", "py_page", "py_screen") == {
        "py_orders": 250,
        "py_spent": 125,
        "py_plan": "pro",
        "py_page": "Install",
        "py_screen": "Shop",
    }


def test_what_segment_sends_twice_counts_once(defined: RunningStack, segment: tuple[SegmentClient, Errors]) -> None:
    """A messageId that was taken is acknowledged again and not counted again."""
    client, errors = segment
    user = f"twice-{client.gzip}"
    for _ in range(2):
        client.track(user, "py_order", message_id=f"{user}-1")
        client.flush()

    assert errors == []
    assert of(defined, user, "py_orders") == {"py_orders": 1}


def test_segment_says_when_it_happened(defined: RunningStack, segment: tuple[SegmentClient, Errors]) -> None:
    """A time that the caller names is kept: the client's clock is right, so nothing is corrected."""
    client, errors = segment
    user, now = f"when-{client.gzip}", datetime.now(UTC)
    for ago in (1, 3):
        client.track(user, "py_order", timestamp=now - timedelta(hours=ago))
    client.flush()

    assert errors == []
    assert of(defined, user, "py_orders", "py_orders_2h") == {"py_orders": 2, "py_orders_2h": 1}


def test_segment_makes_one_person_of_two_ids(defined: RunningStack, segment: tuple[SegmentClient, Errors]) -> None:
    """What a device did counts for the user whom an identify links it to, and an alias brings a former id along."""
    client, errors = segment
    user, before, device = (f"{name}-{client.gzip}" for name in ("whole", "before", "device"))
    client.track(anonymous_id=device, event="py_order", properties={"amount": 1})
    client.track(before, "py_order", {"amount": 2})
    client.track(user, "py_order", {"amount": 4})
    client.identify(user, {"py_plan": "pro"}, anonymous_id=device)
    client.alias(before, user)
    client.flush()

    assert errors == []
    assert of(defined, user, "py_orders", "py_spent") == {"py_orders": 3, "py_spent": 7}


def test_segment_drops_what_an_unknown_key_sent(defined: RunningStack) -> None:
    """401 with code and message is read as an error of the API, which the client does not repeat."""
    client = SegmentClient("unknown", host=defined.stack.api_url, sync_mode=True)
    with pytest.raises(APIError) as caught:
        client.track("stranger", "py_order")

    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")


def test_a_bad_event_among_segments_leaves_the_others(
    defined: RunningStack, segment: tuple[SegmentClient, Errors]
) -> None:
    """One event that we refuse does not make the client give up its batch."""
    client, errors = segment
    user = f"mixed-{client.gzip}"
    client.track(user, "py_order", {"amount": 1})
    client.track(user, "x" * 300)
    client.track(user, "py_order", {"amount": 1})
    client.flush()

    assert errors == []
    assert of(defined, user, "py_orders") == {"py_orders": 2}


def test_rudderstack_sends_every_kind_of_call(defined: RunningStack) -> None:
    """Gzip by default, the key in the header alone, and an identify whose attributes are in its context alone."""
    errors = Errors()
    client = RudderClient(
        defined.keys["write"], host=defined.stack.api_url, on_error=errors.take, upload_interval=0.05, max_retries=2
    )
    try:
        client.identify("rudder", {"py_plan": "free"})
        client.track("rudder", "py_order", {"amount": 3})
        client.page("rudder", "Docs", "Start")
        client.screen("rudder", "Shop", "Cart")
        client.group("rudder", "acme", {"seats": 3})
        client.flush()
    finally:
        client.join()

    assert errors == []
    assert of(defined, "rudder", "py_orders", "py_spent", "py_plan", "py_page", "py_screen") == {
        "py_orders": 1,
        "py_spent": 3,
        "py_plan": "free",
        "py_page": "Start",
        "py_screen": "Shop",
    }


def test_the_requests_of_older_segment_clients_are_taken(defined: RunningStack) -> None:
    """Before 2.4 the key came in the body alone, and only 200 was success; their error needs code and message."""
    body = {
        "batch": [
            {
                "integrations": {},
                "anonymousId": None,
                "properties": {"amount": 2},
                "timestamp": "2024-05-01T12:00:00.123456+00:00",
                "context": {"library": {"name": "analytics-python", "version": "2.3.3"}},
                "userId": "older",
                "type": "track",
                "event": "py_order",
                "messageId": "0c7b45c5-4de2-4e5e-9d5e-2d9b5d2c3f7a",
            }
        ],
        "sentAt": datetime.now(UTC).isoformat(),
        "writeKey": defined.keys["write"],
    }
    taken = defined.http.post("/v1/batch", json=body, headers={"User-Agent": "analytics-python/2.3.3"})
    refused = defined.http.post("/v1/batch", json=body | {"writeKey": "unknown"})

    assert taken.status_code == 200
    assert {"code", "message"} <= refused.json().keys()
    assert of(defined, "older", "py_orders", "py_spent") == {"py_orders": 1, "py_spent": 2}
