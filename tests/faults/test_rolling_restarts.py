"""API processes that are replaced while clients send: no valid key is refused, and no event is lost."""

from __future__ import annotations

import threading
from contextlib import suppress

import httpx
import pytest
from segment.analytics.client import Client as SegmentClient

from cli.ports import free_port
from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")

STARTS = 2
#: A made key asks so often at least while the processes come and go.
ASKED_MIN = 100


@pytest.mark.deep
def test_no_valid_key_is_refused_while_processes_start(victim: RunningStack) -> None:
    """Over several starts, of one process and of two, a made key is answered or not answered, and never 401.

    A published client of Segment, which drops events at 401, sends all the while: each of its events counts once.
    """
    key = victim.call("POST", "/v1/admin/keys", json={"kind": "write", "label": "rolling"}).json()["key"]
    port = free_port()
    dropped: list[object] = []
    client = SegmentClient(
        key,
        host=f"http://127.0.0.1:{port}",
        on_error=lambda error, batch: dropped.append(error),
        upload_interval=0.05,
        max_retries=20,
    )
    done = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}) as http:
            while not done.is_set():
                with suppress(httpx.TransportError):
                    statuses.append(http.get("/v1/decide", params={"userId": "r", "flag": "f"}).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for start in range(STARTS):
            with api_beside(victim, port, api_processes=str(1 + start)):
                asked = len(statuses)
                for n in range(50):
                    client.track("rolling", "purchase", {"amount": 1}, message_id=f"rolling-{start}-{n}")
                wait_until(lambda asked=asked: len(statuses) > asked + ASKED_MIN, "the process answers")
        with api_beside(victim, port):
            client.flush()
    finally:
        done.set()
        asking.join()
        client.join()

    assert set(statuses) <= {403, 503}, "a write key may not decide, but it is known"
    assert statuses.count(403) > STARTS * ASKED_MIN / 2
    assert dropped == []
    assert victim.traits("rolling")["traits"]["orders"] == STARTS * 50
