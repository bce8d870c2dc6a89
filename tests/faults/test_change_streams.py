"""Change streams while parts fail: who listens hears of every change all the same, and nobody else waits."""

from __future__ import annotations

import time
from contextlib import ExitStack

import httpx
import pytest
import redis

from tests.change_streams import bulk, listening, stream_url
from tests.faults.parts import await_drained, await_well, kill
from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("victim"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def defined(victim: RunningStack) -> RunningStack:
    """A stack with a flag that purchases change."""
    victim.define("flag", "fs_buyer", "orders >= 2")
    wait_until(lambda: not victim.traits("nobody")["warming"], "definitions settle")
    return victim


def buy(stack: RunningStack, user: str, times: int = 1) -> None:
    """Buys so often; what is not acknowledged is sent again."""
    for number in range(times):
        body = {"userId": user, "event": "purchase", "messageId": f"{user}-{time.monotonic()}-{number}"}
        wait_until(lambda body=body: stack.call("POST", "/v1/track", "write", json=body).status_code == 200, "bought")


def test_a_stream_outlives_a_wiped_redis(defined: RunningStack) -> None:
    """It goes on by itself, and tells of what comes after. The ticket comes back with the next answer, as it was."""
    url = stream_url(defined, "fs-wiped")
    buy(defined, "fs-wiped")
    await_drained(defined)
    with listening(url) as listener:
        before = listener.wait_for(1).id
        with redis.Redis.from_url(defined.stack.redis_url) as client:
            client.flushall()
        assert defined.http.get(url).status_code in (404, 503)
        buy(defined, "fs-wiped")

        wait_until(lambda: listener.told[-1].id != before, "the change is told")
        wait_until(lambda: not defined.traits("fs-wiped")["warming"], "all is rebuilt")
        wait_until(lambda: "eventStreams" in bulk(defined, "fs-wiped").json(), "the ticket is kept again")
        assert stream_url(defined, "fs-wiped") == url
        wait_until(
            lambda: listener.told[-1].data["etag"] == bulk(defined, "fs-wiped").headers["etag"], "it knows the answer"
        )


@pytest.mark.deep
def test_an_api_that_is_killed_is_listened_to_again(defined: RunningStack) -> None:
    """Redis keeps the ticket. What changed meanwhile is told at the opening, to whoever names what it knew."""
    url = stream_url(defined, "fs-killed")
    with listening(url) as listener:
        known = listener.wait_for(1).id
        killed = kill(defined, "api")
        wait_until(lambda: listener.is_over, "the stream breaks")
    await_well(defined, "api", killed)
    buy(defined, "fs-killed", 2)
    with listening(url, Last_Event_ID=known) as again:
        assert again.wait_for(1).id != known


@pytest.mark.deep
def test_a_flood_of_streams_leaves_room_for_others(defined: RunningStack) -> None:
    """Beyond the bound each is refused at once, decisions are answered all the while, and places come free again."""
    with api_beside(defined, connections_max="80") as beside:
        urls = [stream_url(beside, f"fs-flood-{number}") for number in range(30)]
        with ExitStack() as streams, httpx.Client(timeout=20) as client:
            statuses = []
            for url in [*urls, *urls]:
                answer = streams.enter_context(client.stream("GET", url))
                statuses.append(answer.status_code)
                assert beside.decide("fs-flood", "fs_buyer")["reason"] == "DEFAULT"
            assert statuses.count(200) == 30  # three quarters of half of the connections: all of them have one key
            assert set(statuses) == {200, 429}

        wait_until(lambda: "eventStreams" in bulk(beside, "fs-flood").json(), "places are free again", 20)
