"""Events over everybody as they come in: accepted and refused, once each, and never of the deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
import tinycdp

from serving.api.newest_events import LOOKED_AT_MAX
from serving.settings import Settings
from serving.store import keys
from serving.store.operations.newest_events import REFUSED_MAX
from serving.store.store import Store
from tests.running import RunningStack
from tests.serving.local_api import answers, get
from tests.serving.store.arrivals import arrival, ready

pytestmark = pytest.mark.xdist_group("stack")


def newest(stack: RunningStack, **query: Any) -> dict[str, Any]:
    """The answer to the call with these parameters."""
    answer = stack.call("GET", "/v1/admin/events", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_accepted_and_refused_events_are_there_at_once(stack: RunningStack) -> None:
    """The next answer has both, with what was sent, and with why one was refused; the one after it has neither."""
    key = stack.call("POST", "/v1/admin/keys", json={"kind": "write", "label": "web shop"}).json()["key"]
    header = {"Authorization": f"Bearer {key}"}
    cursor = newest(stack)["cursor"]
    good = {"userId": "live-ada", "event": "live_bought", "messageId": "live-1", "properties": {"amount": 3}}
    bad = {"userId": "live-ada", "event": "live_bought", "timestamp": "no time"}
    assert stack.http.post("/v1/track", json=good, headers=header).status_code == 200
    assert stack.http.post("/v1/track", json=bad, headers=header).status_code == 400
    stack.http.post("/v1/batch", json={"batch": [{**bad, "type": "track"}, {"type": "nothing"}]}, headers=header)

    answer = newest(stack, after=cursor)
    by_state = {
        state: [event for event in answer["events"] if event["state"] == state] for state in ("accepted", "refused")
    }
    assert answer["skipped"] == 0
    (accepted,) = by_state["accepted"]
    assert (accepted["id"], accepted["eventId"], accepted["name"]) == ("user:live-ada", "live-1", "live_bought")
    assert (accepted["properties"], accepted["key"], accepted["reason"]) == ({"amount": 3}, "web shop", None)
    assert accepted["ts"] <= accepted["received_at"]
    assert [event["name"] for event in by_state["refused"]].count("live_bought") == 2
    first = by_state["refused"][-1]
    assert (first["id"], first["key"], first["code"]) == ("user:live-ada", "web shop", "invalid_argument")
    assert "timestamp" in first["reason"] and "no time" in first["text"]
    assert newest(stack, after=answer["cursor"])["events"] == []


def test_a_name_and_a_state_are_looked_for(stack: RunningStack) -> None:
    """Only events of that name and state are in the answer; the cursor goes on over all."""
    cursor = newest(stack)["cursor"]
    for name in ("live_a", "live_b"):
        stack.track("live-bob", name)
    stack.call("POST", "/v1/track", "write", json={"event": "live_a"})

    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        named = admin.newest_events(after=cursor, name="live_a")
        refused = admin.newest_events(after=cursor, name="live_a", state="refused")
        accepted = admin.newest_events(after=cursor, state="accepted")
    assert [event["name"] for event in named["events"]] == ["live_a", "live_a"]
    assert [event["state"] for event in refused["events"]] == ["refused"]
    assert {event["name"] for event in accepted["events"]} == {"live_a", "live_b"}
    assert named["cursor"] == accepted["cursor"] == refused["cursor"]


def test_an_event_that_nests_deeply_is_shown_as_its_text(stack: RunningStack) -> None:
    """Whoever has a write key may send it, as deep as a decoder follows and deeper: the answer is there."""
    cursor = newest(stack)["cursor"]
    for levels in (40, 900, *range(930, 1_000, 2)):
        deep = '{"a":' * levels + "1" + "}" * levels
        body = f'{{"userId": "live-deep", "event": "deep_{levels}", "properties": {deep}}}'
        assert stack.call("POST", "/v1/track", "write", content=body).status_code == 400

    events = newest(stack, after=cursor, state="refused")["events"]

    for levels in (40, 900):
        (event,) = [event for event in events if f"deep_{levels}" in event["text"]]
        assert event["properties"] is None


def test_events_of_the_deleted_are_not_shown(stack: RunningStack) -> None:
    """Neither accepted nor refused ones that came before the delete; what comes after it is shown."""
    cursor = newest(stack)["cursor"]
    stack.track("live-gone", "live_before", anonymousId="live-device")
    stack.call("POST", "/v1/track", "write", json={"userId": "live-gone", "event": "live_bad", "timestamp": "never"})
    assert len(newest(stack, after=cursor)["events"]) == 2

    assert stack.call("DELETE", "/v1/admin/users/live-gone").status_code == 200
    stack.track("live-gone", "live_after")

    assert [event["name"] for event in newest(stack, after=cursor)["events"]] == ["live_after"]


@pytest.mark.parametrize("query", [{"after": "1"}, {"after": "x" * 20}, {"limit": 0}, {"limit": 201}, {"state": "new"}])
def test_a_question_that_is_none_is_refused(stack: RunningStack, query: dict[str, Any]) -> None:
    """The refusal names the field."""
    answer = stack.call("GET", "/v1/admin/events", params=query)

    assert answer.status_code == 400
    assert answer.json()["details"]["field"] in query


def test_what_goes_by_too_fast_is_counted(redis_url: str, tmp_path: Path) -> None:
    """More events than are looked at or shown since a cursor: shown and skipped ones are all of them."""
    settings = Settings(home=tmp_path, redis_url=redis_url, shards=1, admin_key="k")  # type: ignore[arg-type]
    with Store(redis_url, shards=1) as store:
        ready(store)
        store.ingest([arrival(f"a{number}") for number in range(3)], 0)
        before = (3, 0)
        store.ingest([arrival(f"b{number}") for number in range(LOOKED_AT_MAX + 7)], 0)
        calls = REFUSED_MAX // 30 + 1
        for _ in range(calls):
            store.keep_refused([b'[1,"c","r","{}","k",[]]'] * 30)
        sent = LOOKED_AT_MAX + 7 + 30 * calls
        with redis.Redis.from_url(redis_url) as client:
            assert client.xlen(keys.refused()) == REFUSED_MAX

    (answer,) = answers(
        settings, [get(f"/v1/admin/events?after={before[0]}_{before[1]}&limit=20", Authorization="Bearer k")]
    )
    body = answer.json()
    assert len(body["events"]) == 20
    assert body["skipped"] + 20 == sent
    assert body["cursor"] == f"{3 + LOOKED_AT_MAX + 7}_{30 * calls}"
