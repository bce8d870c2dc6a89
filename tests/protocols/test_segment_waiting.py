"""What published clients do while the stack has no room for more: they wait as long as told, and lose nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest
from segment.analytics.client import Client as SegmentClient

from cli import up
from serving.settings import Settings
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("waiting"), pytest.mark.timeout(300)]

TAIL_MAX = 8


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack in which an id may have eight events that no rebuild has covered yet."""
    settings = Settings(home=tmp_path_factory.mktemp("narrow"), port=0)
    with pytest.MonkeyPatch.context() as environment:  # from which the parts of a stack read their settings
        environment.setenv("TINYCDP_TAIL_WANTED_ENTRIES", str(TAIL_MAX // 2))
        environment.setenv("TINYCDP_TAIL_ENTRIES_MAX", str(TAIL_MAX))
        started = up.start(settings, with_prefect=False)
    running = RunningStack(started, settings)
    try:
        running.define("trait", "orders", "events.order.count")
        yield running
    finally:
        running.http.close()
        up.stop(settings, started)


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
    assert narrow.traits("crowded")["traits"]["orders"] == 2 * TAIL_MAX
