"""Activity over HTTP: what a stack did, and what its flags answered apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import tinycdp

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


def flag(stack: RunningStack, key: str) -> dict[str, Any]:
    """What the activity says of one flag."""
    flags = stack.call("GET", "/v1/admin/activity/flags").json()["flags"]
    return next(found for found in flags if found["key"] == key)


def made_key(stack: RunningStack, kind: str) -> str:
    """A new key of a kind."""
    key: str = stack.call("POST", "/v1/admin/keys", json={"kind": kind, "label": "activity"}).json()["key"]
    return key


@pytest.mark.deep
def test_what_the_stack_did_is_there_within_seconds(stack: RunningStack) -> None:
    """An event and a decision are counted in the minutes of now, with latencies."""
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        before = admin.activity()["total"]
        stack.define("flag", "act_counted", "true")
        stack.track("act-ada", "act_bought")
        stack.decide("act-ada", "act_counted")

        def grown() -> bool:
            now = admin.activity()["total"]
            return now["events"] > before["events"] and now["decisions"] > before["decisions"]

        wait_until(grown, "the minute has them")
        activity = admin.activity(step=60)
    assert activity["since"] is not None
    assert activity["total"]["decide"]["p50"] and activity["total"]["ingest"]["p99"]
    assert sum(point["events"] for point in activity["points"]) == activity["total"]["events"]


@pytest.mark.deep
def test_only_apps_make_a_flag_look_used(stack: RunningStack) -> None:
    """People's trials and bulk questions leave `lastAsked` empty; a read or profile key that names the flag sets it."""
    keys = {kind: made_key(stack, kind) for kind in ("profile", "viewer")}

    def ask_with(kind: str, key: str) -> httpx.Response:
        of_kind = {"Authorization": f"Bearer {keys[kind]}"}
        return stack.http.get("/v1/decide", params={"userId": "a", "flag": key}, headers=of_kind)

    stack.define("flag", "act_used", "true", variants=[{"name": "red"}])
    stack.define("flag", "act_tried", "true")
    stack.define("flag", "act_known", "true")
    asks: list[Callable[[], Any]] = [
        lambda: stack.call("GET", "/v1/decide", "admin", params={"userId": "a", "flag": "act_tried"}),
        lambda: ask_with("viewer", "act_tried"),
        lambda: ask_with("profile", "act_known"),
        lambda: stack.call("POST", "/v1/decide", "read", json={"userId": "a"}),
        lambda: stack.call("POST", "/ofrep/v1/evaluate/flags", "read", json={"context": {"targetingKey": "a"}}),
        lambda: stack.call("GET", "/v1/decide", "read", params={"userId": "a", "flag": "act_used"}),
        lambda: stack.call("POST", "/v1/decide", "read", json={"userId": "a", "flags": ["act_used"]}),
        lambda: stack.call(
            "POST", "/ofrep/v1/evaluate/flags/act_used", "read", json={"context": {"targetingKey": "a"}}
        ),
    ]
    for ask in asks:
        assert ask().status_code == 200

    used = wait_until(lambda: (found := flag(stack, "act_used"))["byName"] == 3 and found, "the answers are noted")
    known = wait_until(lambda: (found := flag(stack, "act_known"))["byName"] == 1 and found, "so is the profile key's")
    tried = flag(stack, "act_tried")

    assert (used["inBulk"], tried["inBulk"], tried["byName"]) == (2, 2, 0)
    assert used["variants"] == [{"variant": "red", "byName": 3, "inBulk": 2, "share": 1.0}]
    assert [day["variants"] for day in used["days"]] == [{"red": 5}]
    assert known["lastAsked"] is not None
    assert used["lastAsked"] is not None and tried["lastAsked"] is None
    assert not used["stale"] and not tried["stale"]


@pytest.mark.deep
def test_a_rebuild_notes_how_many_people_there_are(stack: RunningStack) -> None:
    """The last point has the new segment with its member; only so many points are given as are wanted."""
    stack.define("segment", "act_members", "events.act_joined.count >= 1")
    stack.track("act-eve", "act_joined")
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        wait_until(lambda: admin.search_users("act-eve")["total"] == 1, "the lake has the event")
        stack.json("rebuild")

        (point,) = admin.segment_activity(points=1)["points"]
        assert point["segments"]["act_members"] == 1
        assert point["users"] >= 1
        assert admin.segment_activity(until="2020-01-01")["points"] == []


@pytest.mark.parametrize("query", ["from=yesterday", "from=2026-01-02&to=2026-01-01", "step=0", "to=" + "9" * 50])
def test_a_period_that_is_none_is_refused(stack: RunningStack, query: str) -> None:
    """The refusal names the field."""
    answer = stack.call("GET", f"/v1/admin/activity?{query}")

    assert answer.status_code == 400
    assert answer.json()["details"]["field"] == query.partition("=")[0]


def test_only_admins_read_activity(stack: RunningStack) -> None:
    """A read key is refused."""
    for path in ("/v1/admin/activity", "/v1/admin/activity/flags", "/v1/admin/activity/segments"):
        assert stack.call("GET", path, "read").status_code == 403
