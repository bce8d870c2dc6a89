"""Change streams on a real stack: what is told, when, and to whom."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from itertools import count, takewhile
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from serving.http.event_stream import HEARTBEAT_S
from serving.store import keys
from serving.streams.listeners import OF_TICKET_MAX
from serving.streams.tickets import name_of
from tests.change_streams import bulk, decided, listening, stream_url
from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]

#: The promises: seconds until a change is told, by what changed it.
BY_EVENT_S, BY_DEFINITION_S, BY_TIME_S = 1.0, 2.0, 10.0
#: What a machine with other work to do may add to them: what is told by the look at time comes later than by an event.
BUSY_S = 4.0

_numbers = count()


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack with flags that events, links and time change."""
    stack.define("trait", "cs_orders", "events.cs_order.count")
    stack.define("trait", "cs_lately", "events.cs_order.count_1m")
    stack.define("flag", "cs_loyal", "cs_orders >= 2")
    stack.define("flag", "cs_price", "cs_orders >= 3", variants=[{"name": "low", "value": 8}])
    stack.define("flag", "cs_lately", "cs_lately >= 5")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


@pytest.fixture
def user() -> str:
    """Somebody whom nobody knows yet."""
    return f"cs-{next(_numbers)}"


def order(stack: RunningStack, user: str, times: int = 1, **more: Any) -> float:
    """Sends so many orders at once; returns when they were acknowledged."""
    batch = [{"type": "track", "userId": user, "event": "cs_order", **more} for _ in range(times)]
    assert stack.call("POST", "/v1/batch", "write", json={"batch": batch}).status_code == 200
    return time.monotonic()


def test_an_event_that_changes_a_decision_is_told(defined: RunningStack, user: str) -> None:
    """Within a second, with the tag that the answer then has. An event that changes none is not told."""
    with listening(stream_url(defined, user)) as listener:
        assert listener.headers["content-type"].startswith("text/event-stream")
        assert listener.wait_for(1).data["etag"] == bulk(defined, user).headers["etag"]

        order(defined, user)
        came_s = order(defined, user)
        second = listener.wait_for(2)

        assert second.at_s - came_s < BY_EVENT_S + BUSY_S
        assert second.data == {"type": "refetchEvaluation", "etag": bulk(defined, user).headers["etag"]}
        assert [told.id for told in listener.told] == [listener.told[0].id, second.id]
        assert listener.told[0].id != second.id


def test_a_variant_that_changes_is_told_and_so_is_the_way_back(defined: RunningStack, user: str) -> None:
    """A flag that is changed back has the state that it had: each change is told, within two seconds."""
    order(defined, user, 3)
    with listening(stream_url(defined, user)) as listener:
        first = listener.wait_for(1)
        for number, value in ((2, 7), (3, 8)):
            changed = defined.call(
                "PUT", "/v1/admin/flags/cs_price", json={"variants": [{"name": "low", "value": value}]}
            )
            saved_s = time.monotonic()
            assert changed.status_code == 200
            assert listener.wait_for(number).at_s - saved_s < BY_DEFINITION_S + BUSY_S

        assert listener.told[1].id != first.id
        assert listener.told[2].id == first.id


def test_a_state_that_passes_between_two_looks_is_told_to_whoever_was_answered_by_it(
    defined: RunningStack, user: str
) -> None:
    """The client holds what an answer said meanwhile: it is told that the state is again the one that it was."""
    with listening(stream_url(defined, user)) as listener:
        first = listener.wait_for(1)
        order(defined, user, 2)
        meanwhile = bulk(defined, user)
        for rule in ("cs_orders >= 9", "cs_orders >= 2"):
            assert defined.call("PUT", "/v1/admin/flags/cs_loyal", json={"rule": rule}).status_code == 200
            now = bulk(defined, user).headers["etag"]
            wait_until(lambda now=now: listener.told[-1].data["etag"] == now, "the present state is told")
        assert meanwhile.headers["etag"] != first.data["etag"]


@pytest.mark.deep
def test_what_time_alone_changes_is_told(defined: RunningStack, user: str) -> None:
    """Events leave a window of a minute: told within ten seconds of the instant."""
    with listening(stream_url(defined, user)) as listener:
        listener.wait_for(1)
        now_ms = int(time.time() * 1000)
        order(defined, user, 5, timestamp=now_ms - 55_000)
        listener.wait_for(2)
        told = listener.wait_for(3)

        late_s = time.time() - (time.monotonic() - told.at_s) - (now_ms / 1000 + 5)
        assert -1 < late_s < BY_TIME_S + BUSY_S
        assert len(listener.told) == 3


def test_a_device_that_becomes_the_users_is_told(defined: RunningStack, user: str) -> None:
    """The events of the device count for the user from the link on; whoever listens as the device hears of it too."""
    for _ in range(2):
        body = {"anonymousId": f"{user}-device", "event": "cs_order"}
        assert defined.call("POST", "/v1/track", "write", json=body).status_code == 200
    with (
        listening(stream_url(defined, user)) as of_user,
        listening(stream_url(defined, f"anon:{user}-device")) as of_device,
    ):
        of_user.wait_for(1)
        of_device.wait_for(1)
        body = {"userId": user, "anonymousId": f"{user}-device", "traits": {"plan": "pro"}}
        assert defined.call("POST", "/v1/identify", "write", json=body).status_code == 200
        linked_s = time.monotonic()

        assert of_user.wait_for(2).at_s - linked_s < BY_EVENT_S + BUSY_S
        order(defined, user)
        now = bulk(defined, user).headers["etag"]
        wait_until(lambda: of_user.told[-1].data["etag"] == now, "the user hears of the order")
        wait_until(lambda: of_device.told[-1].id == of_user.told[-1].id, "and so does the device")


def test_whoever_knows_the_state_is_told_nothing_at_the_opening(defined: RunningStack, user: str) -> None:
    """`Last-Event-ID` names it. With the id of another state, or none, the present one is told at once."""
    url = stream_url(defined, user)
    with listening(url) as listener:
        known = listener.wait_for(1).id
    with listening(url, Last_Event_ID=known) as knows, listening(url, Last_Event_ID="0" * 32) as other:
        assert other.wait_for(1).id == known
        order(defined, user, 2)

        assert knows.wait_for(1).id == other.wait_for(2).id != known


def test_the_address_is_the_same_at_every_answer(defined: RunningStack, user: str) -> None:
    """Of the same key and ids; another person, device, key or protocol has another one."""
    own = defined.call("POST", "/v1/admin/keys", json={"kind": "read", "label": "cs"}).json()["key"]
    urls = [stream_url(defined, user) for _ in range(2)]
    order(defined, user, 2)
    others = [stream_url(defined, f"{user}-other"), stream_url(defined, user, own)]

    assert urls == [stream_url(defined, user)] * 2
    assert len({urls[0], *others, defined.stack.api_url + decided(defined, user).json()["stream"]}) == 4


def test_an_answer_that_still_holds_repeats_no_address(defined: RunningStack, user: str) -> None:
    """A 304 is empty, also with the tag of a message, and keeps the ticket as an answer does."""
    first = bulk(defined, user)
    url = first.json()["eventStreams"][0]["url"]
    headers = {"Authorization": f"Bearer {defined.keys['read']}", "If-None-Match": first.headers["etag"]}
    params = {"flagConfigEtag": first.headers["etag"], "flagConfigLastModified": "0"}
    body = {"context": {"targetingKey": user}}
    again = defined.http.post("/ofrep/v1/evaluate/flags", json=body, headers=headers, params=params)

    assert (again.status_code, again.content) == (304, b"")
    with listening(url) as listener:
        assert listener.wait_for(1).data["etag"] == first.headers["etag"]


def test_our_own_answer_has_an_address_where_it_is_asked_for(defined: RunningStack, user: str) -> None:
    """As a path, whose messages name the tag of that answer; without `stream`, or about some flags, there is none."""
    answer = decided(defined, user)
    assert "stream" not in decided(defined, user, stream=False).json()
    assert "stream" not in decided(defined, user, flags=["cs_loyal"]).json()
    assert decided(defined, user, stream=False).headers["etag"] != answer.headers["etag"]
    assert decided(defined, user, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    refused = defined.call("POST", "/v1/decide", "read", json={"userId": user, "stream": "yes"})
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, "stream")

    with listening(defined.stack.api_url + answer.json()["stream"]) as listener:
        assert listener.wait_for(1).data["etag"] == answer.headers["etag"]
        order(defined, user, 2)
        assert listener.wait_for(2).data["etag"] == decided(defined, user).headers["etag"]


@pytest.mark.parametrize("ticket", ["0" * 52, "0" * 32, "nobodys", "0" * 4_000, "%00", "a" * 31 + "é"])
def test_an_unknown_ticket_is_refused(defined: RunningStack, ticket: str) -> None:
    """404, whatever it looks like."""
    answer = defined.call("GET", f"/v1/stream/{ticket}", None)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_ticket_that_nobody_gave_out_costs_redis_nothing(defined: RunningStack, user: str) -> None:
    """A process sees by its check that it is none. The key of a ticket that was given out counts each opening."""
    url = stream_url(defined, user)
    path, _, ticket = url.rpartition("/")
    kept = keys.stream_ticket(name_of(ticket))
    with redis.Redis.from_url(defined.stack.redis_url) as client, client.monitor() as commands:
        for number in range(20):
            wrong = f"{path}/{ticket[:20]}{number:08x}{ticket[28:]}"
            assert defined.http.get(wrong).status_code == 404
        with listening(url):
            asked = [
                command["command"]
                for command in takewhile(lambda one: one["command"] != f"GET {kept}", commands.listen())
            ]

    assert not [command for command in asked if command.startswith("GET stream:")]


@pytest.mark.deep
def test_a_stream_ends_with_its_key(defined: RunningStack, user: str) -> None:
    """Also in a process that did not revoke it. Its address is unknown then, and the streams of others go on."""
    made = defined.call("POST", "/v1/admin/keys", json={"kind": "read", "label": "cs"}).json()
    with api_beside(defined) as beside:
        url = stream_url(beside, user, made["key"])
        with listening(url) as here, listening(stream_url(defined, user)) as others:
            here.wait_for(1)
            others.wait_for(1)
            assert defined.call("DELETE", f"/v1/admin/keys/{made['id']}").status_code == 200
            wait_until(lambda: here.is_over, "the stream ends", 10)

            assert beside.http.get(url).status_code == 404
            order(defined, user, 2)
            others.wait_for(2)


@pytest.mark.deep
def test_each_process_tells_its_own(defined: RunningStack, user: str) -> None:
    """Two processes give out the same ticket, and each tells who listens to it of an event that the other took."""
    with api_beside(defined) as beside:
        url, other_url = stream_url(defined, user), stream_url(beside, user)
        assert url.removeprefix(defined.stack.api_url) == other_url.removeprefix(beside.stack.api_url)
        with listening(url) as here, listening(other_url) as there:
            here.wait_for(1)
            there.wait_for(1)
            order(beside, user, 2)

            assert here.wait_for(2)[:2] == there.wait_for(2)[:2]


@pytest.mark.deep
def test_a_process_that_ends_ends_its_streams(defined: RunningStack, user: str) -> None:
    """At once, in order; the next process knows the ticket."""
    process = ExitStack()
    with listening(stream_url(process.enter_context(api_beside(defined)), user)) as listener:
        listener.wait_for(1)
        began_s = time.monotonic()
        process.close()
        wait_until(lambda: listener.is_over, "the stream ends", HEARTBEAT_S)
        assert time.monotonic() - began_s < HEARTBEAT_S, "nobody waits for the next sign of life"
        assert listener.is_whole

    with listening(stream_url(defined, user), Last_Event_ID=listener.told[0].id) as again:
        order(defined, user, 2)
        assert again.wait_for(1).id != listener.told[0].id


def test_one_address_has_a_bound(defined: RunningStack, user: str) -> None:
    """One stream more is 429 with Retry-After, and answers give the address to nobody else.

    A place is free again as soon as one of them is left.
    """
    url = stream_url(defined, user)
    with httpx.Client(timeout=10) as client:
        streams = [client.stream("GET", url) for _ in range(OF_TICKET_MAX)]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        refused = client.get(url)
        assert (refused.status_code, refused.json()["code"]) == (429, "resource_exhausted")
        assert int(refused.headers["retry-after"]) > 0
        assert "eventStreams" not in bulk(defined, user).json()
        assert "eventStreams" in bulk(defined, f"{user}-other").json()
        streams[0].__exit__(None, None, None)

        def is_taken() -> bool:
            with client.stream("GET", url) as answer:
                return answer.status_code == 200

        wait_until(is_taken, "a place is free", 10)
        for stream in streams[1:]:
            stream.__exit__(None, None, None)


@pytest.mark.deep
def test_a_process_that_is_full_says_so_and_gives_out_no_address(defined: RunningStack, user: str) -> None:
    """503 with Retry-After; answers have no address, under another tag: so no 304 keeps a client at one."""
    with api_beside(defined, connections_max="4") as beside:
        url, tag = stream_url(beside, user), bulk(beside, user).headers["etag"]
        with listening(url) as first:
            first.wait_for(1)
            full = bulk(beside, user, **{"If-None-Match": tag})
            assert beside.http.get(url).status_code == 429  # one key has not all of the two
            assert full.status_code == 200
            assert "eventStreams" not in full.json()
            assert full.headers["etag"] != tag


def test_pages_of_any_allowed_origin_may_listen(defined: RunningStack, user: str) -> None:
    """The answer names the page's origin, asks nobody to keep it, and comes through nginx at once."""
    with listening(stream_url(defined, user), Origin="https://shop.example") as listener:
        assert listener.headers["access-control-allow-origin"] in ("*", "https://shop.example")
        assert listener.headers["cache-control"] == "no-store, no-transform"
        assert listener.headers["x-accel-buffering"] == "no"
        assert listener.lines[0].startswith("retry: ")


def shown(stack: RunningStack, name: str) -> float:
    """A number, as Prometheus sees it."""
    lines = stack.call("GET", "/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_open_streams_are_counted(defined: RunningStack, user: str) -> None:
    """Prometheus sees how many there are of how many."""
    before = shown(defined, "tinycdp_streams_open")
    with listening(stream_url(defined, user)), listening(stream_url(defined, user)):
        now = shown(defined, "tinycdp_streams_open")
        assert now == before + 2 <= shown(defined, "tinycdp_streams_max")


@pytest.mark.deep
def test_a_client_that_takes_nothing_any_more_holds_no_place(defined: RunningStack, user: str) -> None:
    """Also where what waits for it has room in the system's buffer, as heartbeats of days have."""
    with api_beside(defined, request_s_max="2") as beside, socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        url = urlsplit(stream_url(beside, user))
        silent.connect((url.hostname, url.port))
        paths = ["/health"] * 20 + [url.path]
        silent.sendall("".join(f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n" for path in paths).encode())

        wait_until(lambda: shown(beside, "tinycdp_streams_open") == 1, "the stream is open")
        wait_until(lambda: shown(beside, "tinycdp_streams_open") == 0, "its place is free", 20)
