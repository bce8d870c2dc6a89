"""What published clients do while the stack has no room for more: they wait as long as told, and lose nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest
from segment.analytics.client import Client as SegmentClient

from tests.running import RunningStack, api_beside

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]

TAIL_MAX = 8


@pytest.fixture(scope="module")
def narrow(stack: RunningStack) -> Iterator[RunningStack]:
    """An API by which an id may have eight events that no rebuild has covered yet."""
    stack.define("trait", "crowded_orders", "events.order.count")
    with api_beside(stack, tail_wanted_entries=str(TAIL_MAX // 2), tail_entries_max=str(TAIL_MAX)) as api:
        yield api


def crowded(stack: RunningStack, user: str) -> httpx.Response:
    """The answer to twice as many events of a user as there is room for. They have ids, so what was taken is known."""
    batch = [{"type": "track", "userId": user, "event": "order", "messageId": f"{n}"} for n in range(2 * TAIL_MAX)]
    return stack.call("POST", "/v1/batch", "write", json={"batch": batch})


def test_the_refusal_names_whole_seconds(narrow: RunningStack) -> None:
    """Retry-After is an integer from 1 to 300, in the older browser libraries' header as well."""
    refused = crowded(narrow, "full")

    assert refused.status_code == 429
    assert {"success", "code", "message"} <= refused.json().keys()
    assert 1 <= int(refused.headers["retry-after"]) <= 300
    assert refused.headers["x-ratelimit-reset"] == refused.headers["retry-after"]


@pytest.mark.deep
def test_a_client_that_is_told_to_wait_loses_nothing_and_counts_nothing_twice(
    narrow: RunningStack, caplog: pytest.LogCaptureFixture
) -> None:
    """429 with Retry-After makes segment-analytics-python wait and send the same again; each event counts once."""
    errors: list[object] = []
    client = SegmentClient(
        narrow.keys["write"],
        host=narrow.stack.api_url,
        upload_interval=0.05,
        on_error=lambda error, batch: errors.append(error),
    )
    with caplog.at_level(logging.DEBUG, logger="segment"):
        for n in range(2 * TAIL_MAX):
            client.track("crowded", "order", message_id=f"{n}")
        client.flush()
        client.join()

    assert errors == []
    assert "Rate-limited (status 429)" in caplog.text
    assert narrow.traits("crowded")["traits"]["crowded_orders"] == 2 * TAIL_MAX
