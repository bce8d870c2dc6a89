"""Refused events: listed with their reasons, and sent again once each: on a real stack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from serving.store import keys
from serving.store.store import Store
from tests.pipelines.world import World
from tests.running import RunningStack, api_beside
from tests.serving.local_api import answers
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


def refuse(stack: RunningStack, key: str, *events: dict[str, Any], **batch: Any) -> list[dict[str, Any]]:
    """Sends events in a batch with a key of this label, all of which are refused; gives them as the list has them,
    in their order.
    """
    made = stack.call("POST", "/v1/admin/keys", json={"kind": "write", "label": key}).json()["key"]
    headers = {"Authorization": f"Bearer {made}"}
    answer = stack.http.post("/v1/batch", json={"batch": list(events), **batch}, headers=headers).json()
    assert len(answer["rejected"]) == len(events), answer
    found: list[dict[str, Any]] = []

    def are_listed() -> bool:
        found[:] = listed(stack, key=key)["rejected"]
        return len(found) == len(events)

    wait_until(are_listed, "the drain has moved them")
    return sorted(found, key=lambda event: event["line"])


def listed(stack: RunningStack, **query: Any) -> dict[str, Any]:
    """A page of the list."""
    answer = stack.call("GET", "/v1/admin/rejected", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def redrive(stack: RunningStack, **body: Any) -> dict[str, Any]:
    """What became of events that were sent again."""
    answer = stack.call("POST", "/v1/admin/rejected/redrive", json=body)
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


def events_of(stack: RunningStack, user: str) -> list[dict[str, Any]]:
    """The events of a user, oldest first; none while nobody knows the user."""
    answer = stack.call("GET", f"/v1/admin/users/{user}/data")
    return [] if answer.status_code == 404 else list(answer.json()["events"])


def test_the_list_says_which_why_and_whence(stack: RunningStack) -> None:
    """Events come newest first, a page at a time, each once, with text, key and path; numbers by reason leave out what
    was sent, so events of one kind are one reason."""
    sent = [{"type": "track", "userId": f"rj-{at}", "event": "e", "timestamp": f"no time {at}"} for at in range(3)]
    refused = refuse(stack, "rj listed", *sent, {"type": "track", "userId": "rj-3"})

    assert [event["line"] for event in refused] == [0, 1, 2, 3]
    assert refused[0]["event"] == '{"type":"track","userId":"rj-0","event":"e","timestamp":"no time 0"}'
    assert {(event["key"], event["path"], event["source"], event["cut"]) for event in refused} == {
        ("rj listed", "/v1/batch", "api", False)
    }
    page = listed(stack)
    assert {"source": "api", "path": "/v1/batch", "key": "rj listed", "count": 4} in page["sources"]
    group = refused[0]["group"]
    assert group.startswith("timestamp: ") and "no time" not in group
    assert next(of["count"] for of in page["reasons"] if of["reason"] == group) >= 3
    ids: list[str] = []
    cursor = None
    for _ in range(3):
        page = listed(stack, key="rj listed", reason=group, limit=1, **({"cursor": cursor} if cursor else {}))
        ids += [event["id"] for event in page["rejected"]]
        cursor = page["cursor"]
    assert cursor is None
    assert sorted(ids) == sorted(event["id"] for event in refused[:3])
    assert stack.call("GET", "/v1/admin/rejected", params={"cursor": "x"}).status_code == 400


def test_an_event_is_sent_again_once_the_cause_is_repaired(stack: RunningStack) -> None:
    """A number beyond what a summed property may be is refused while the sum is there. Sent again before the repair, it
    is refused again; after it, the event counts at its own time, with its batch's context and its key. Sent once more,
    by id or by reason, it does not count again."""
    stack.define("trait", "rj_sum", "events.rj_paid.amount.sum")
    event = {"type": "track", "userId": "rj-ada", "event": "rj_paid", "timestamp": "2026-01-02T03:04:05.000Z"}
    shared = {"context": {"app": "till"}, "sentAt": "2026-01-02T03:04:06.000Z"}
    (refused,) = refuse(stack, "rj till", event | {"properties": {"amount": 10**13}}, **shared)

    unrepaired = redrive(stack, ids=[refused["id"]])
    stack.call("DELETE", "/v1/admin/traits/rj_sum")
    first = redrive(stack, ids=[refused["id"], "nothing"])

    assert (unrepaired["redriven"], unrepaired["refused"][0]["id"]) == (0, refused["id"])
    assert unrepaired["refused"][0]["message"] == refused["reason"]
    assert (first["redriven"], first["duplicates"]) == (1, 0)
    assert [(of["id"], of["code"]) for of in first["refused"]] == [("nothing", "not_found")]
    (counted,) = events_of(stack, "rj-ada")
    assert counted["properties"] == {"amount": 10**13}
    assert counted["context"]["app"] == "till"
    before = datetime.fromisoformat(refused["received_at"]) - datetime.fromisoformat(counted["ts"])
    assert before == timedelta(seconds=1), "a second before its batch was sent, by the client's clock"
    again = redrive(stack, ids=[refused["id"]])
    assert (again["redriven"], [of["code"] for of in again["refused"]]) == (0, ["already_exists"])
    assert redrive(stack, reason=refused["group"])["redriven"] == 0
    assert len(events_of(stack, "rj-ada")) == 1
    (after,) = listed(stack, key="rj till")["rejected"]
    assert after["redriven_at"] is not None
    entry = stack.call("GET", "/v1/admin/audit").json()["entries"][0]
    assert (entry["action"], entry["kind"], entry["key"]) == ("redrive", "rejected", refused["id"])


def test_an_event_that_was_taken_meanwhile_does_not_count_again(stack: RunningStack) -> None:
    """The client repaired it and sent it under the same `messageId`: it is a duplicate, and marked as sent again."""
    bad = {"type": "track", "userId": "rj-bob", "event": "rj_e", "messageId": "rj-m1", "timestamp": "never"}
    (refused,) = refuse(stack, "rj client", bad)
    stack.track("rj-bob", "rj_e", messageId="rj-m1")

    done = redrive(stack, ids=[refused["id"]], event={**bad, "timestamp": None})

    assert (done["redriven"], done["duplicates"], done["refused"]) == (0, 1, [])
    assert len(events_of(stack, "rj-bob")) == 1


@pytest.mark.deep
def test_of_calls_that_come_at_once_one_sends_an_event_again(stack: RunningStack) -> None:
    """Also where each puts another event in its place, under an id and of a person that no event had before; and by way
    of several processes."""
    (refused,) = refuse(stack, "rj race", {"type": "track", "userId": "rj-r", "event": "rj_e", "timestamp": "never"})
    places = [
        {"type": "track", "userId": f"rj-r{number}", "event": "rj_e", "messageId": f"rj-r{number}"}
        for number in range(4)
    ]

    with api_beside(stack) as beside, ThreadPoolExecutor(len(places)) as callers:
        ways = [stack, beside, stack, beside]
        answers = list(callers.map(lambda way, place: redrive(way, ids=[refused["id"]], event=place), ways, places))

    assert sorted(answer["redriven"] for answer in answers) == [0, 0, 0, 1]
    assert sum(len(events_of(stack, place["userId"])) for place in places) == 1


def test_a_call_that_was_cut_off_is_made_again_with_the_same_event_alone(stack: RunningStack) -> None:
    """A call was killed, or waits for a slow store, after it said what it sends. Whether it sent that nobody knows. So
    another event, as whose copy no one would know it, is not sent in its place; the same one is, and counts once."""
    (refused,) = refuse(stack, "rj cut off", {"type": "track", "userId": "rj-o", "event": "rj_e", "timestamp": "never"})
    place = {"type": "track", "userId": "rj-o1", "event": "rj_e", "messageId": "rj-o1"}
    other = {"type": "track", "userId": "rj-o2", "event": "rj_e", "messageId": "rj-o2"}
    with Store(stack.stack.redis_url, stack.stack.shards) as store:
        assert store.begin_sending({refused["id"]: ("user:rj-o1", "rj-o1")}, "cut off") == [True]

    instead = redrive(stack, ids=[refused["id"]], event=other)
    same = redrive(stack, ids=[refused["id"]], event=place)
    later = redrive(stack, ids=[refused["id"]], event=other)

    assert (instead["redriven"], [of["code"] for of in instead["refused"]]) == (0, ["already_exists"])
    assert (same["redriven"], same["refused"]) == (1, [])
    assert later["refused"][0]["message"].startswith("it was sent again at ")
    assert [len(events_of(stack, user)) for user in ("rj-o", "rj-o1", "rj-o2")] == [0, 1, 0]


def test_what_was_cut_or_names_somebody_deleted_is_not_sent_again(stack: RunningStack) -> None:
    """An event that could not be read has no text, and says so; but another event may take its place. Events of a
    person who was deleted since leave the list, and are not sent again."""
    late = {"type": "track", "userId": "rj-gone", "event": "rj_e", "timestamp": "never"}
    large = {"type": "track", "userId": "rj-large", "event": "rj_e", "properties": {"text": "x" * 40_000}}
    gone, cut = refuse(stack, "rj kept", late, large)
    assert (gone["cut"], cut["cut"]) == (False, True)
    stack.call("DELETE", "/v1/admin/users/rj-gone")

    done = redrive(stack, ids=[gone["id"], cut["id"]])

    assert done["redriven"] == 0
    messages = {of["id"]: of["message"] for of in done["refused"]}
    assert messages[gone["id"]] == "somebody whom it names was deleted since"
    assert messages[cut["id"]].startswith("not all of its text was kept")
    assert [event["id"] for event in listed(stack, key="rj kept")["rejected"]] == [cut["id"]]
    repaired = {"type": "track", "userId": "rj-large", "event": "rj_e"}
    assert redrive(stack, ids=[cut["id"]], event=repaired)["redriven"] == 1
    assert len(events_of(stack, "rj-large")) == 1


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("levels", [40, 900, 2_000])
def test_an_event_that_nests_deeply_is_sent_again_in_another_shape(stack: RunningStack, levels: int) -> None:
    """It is refused anew by its own fault, as deep as a decoder follows and deeper. A flat one in its place counts."""
    key = f"deep-{levels}"
    made = stack.call("POST", "/v1/admin/keys", json={"kind": "write", "label": key}).json()["key"]
    deep = '{"a":' * levels + "1" + "}" * levels
    body = f'{{"batch":[{{"type":"track","userId":"{key}","event":"deep_again","properties":{deep}}}]}}'
    sent = stack.http.post("/v1/batch", content=body, headers={"Authorization": f"Bearer {made}"})
    assert (sent.status_code, len(sent.json()["rejected"])) == (200, 1)
    (refused,) = wait_until(lambda: listed(stack, key=key)["rejected"], "the drain has moved it")

    unrepaired = redrive(stack, ids=[refused["id"]])
    flat = {"type": "track", "userId": key, "event": "deep_again", "properties": {"a": 1}}
    repaired = redrive(stack, ids=[refused["id"]], event=flat)

    assert unrepaired["redriven"] == 0
    why = "already_exists" if refused["cut"] else "invalid_argument"  # its beginning alone cannot be sent
    assert [(of["id"], of["code"]) for of in unrepaired["refused"]] == [(refused["id"], why)]
    assert (repaired["redriven"], repaired["refused"]) == (1, [])
    wait_until(lambda: [event["name"] for event in events_of(stack, key)] == ["deep_again"], "it is drained")


@pytest.mark.parametrize(
    "body", [{}, {"ids": []}, {"ids": ["a"], "reason": "b"}, {"reason": "b", "event": {}}, {"ids": ["a"] * 1_001}]
)
def test_a_call_that_names_no_events_is_refused(stack: RunningStack, body: dict[str, Any]) -> None:
    """It is either ids, up to 1,000, or a reason; an event replaces that of one id."""
    assert stack.call("POST", "/v1/admin/rejected/redrive", json=body).status_code == 400


def test_a_refused_event_that_cannot_be_kept_has_no_other_sent_again(redis_url: str, tmp_path: Path) -> None:
    """Redis takes the good events of a batch, and then has no room for the refused one. Were the answer 429 or 503, all
    would be sent again, and those without a `messageId` would count twice. A batch of which nothing was taken is."""
    world = World(redis_url, tmp_path, shards=2, write_key="write")
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    good = [{"type": "track", "userId": user, "event": "purchase"} for user in ("ann", "bob")]
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.rejected(), "no stream: whatever is added is refused")
        taken, refused = answers(
            world.settings,
            [
                httpx.Request("POST", "http://api/v1/batch", headers={"Authorization": "Bearer write"}, json=body)
                for body in ({"batch": [*good, {"type": "none"}]}, {"batch": [{"type": "none"}]})
            ],
        )
        client.delete(keys.rejected())

    assert (taken.status_code, taken.json()["accepted"], len(taken.json()["rejected"])) == (200, 2, 1)
    assert refused.status_code in (429, 503) and "retry-after" in refused.headers
    assert [world.values(user)["orders"] for user in ("ann", "bob")] == [1, 1]


@pytest.mark.deep
def test_the_command_lists_and_sends_again(stack: RunningStack) -> None:
    """`tinycdp rejected` shows events; `--again-all` sends all of a reason; the exit code 1 says: refused again."""
    stack.define("trait", "rj_cli", "events.rj_cli.amount.sum")
    sent = [
        {"type": "track", "userId": f"rj-c{at}", "event": "rj_cli", "properties": {"amount": 10**13}} for at in (1, 2)
    ]
    refused = refuse(stack, "rj cli", *sent)
    group = refused[0]["group"]
    text = stack.tinycdp("rejected", "--reason", group).stdout
    assert refused[0]["id"] in text

    assert stack.tinycdp("rejected", "--again", refused[0]["id"], ok=False).returncode == 1
    stack.call("DELETE", "/v1/admin/traits/rj_cli")
    done = stack.json("rejected", "--reason", group, "--again-all", ok=False)

    assert done["redriven"] >= 2
    assert len(events_of(stack, "rj-c1")) == len(events_of(stack, "rj-c2")) == 1
