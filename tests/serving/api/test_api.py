"""The API as clients meet it: a real stack, real requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack with some definitions, all of them settled."""
    stack.define("trait", "orders_30d", "events.purchase.count_30d")
    stack.define("trait", "spent", "events.purchase.amount.sum")
    stack.define("trait", "plan", "profile.plan")
    stack.define("segment", "loyal", "orders_30d >= 2")
    stack.define("flag", "free_shipping", 'segment("loyal") || plan == "premium"')
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def of(stack: RunningStack, user: str) -> dict[str, Any]:
    """A user's values of the three traits that all tests here share."""
    traits = stack.traits(user)["traits"]
    return {key: traits[key] for key in ("orders_30d", "spent", "plan")}


def test_the_next_read_after_an_acknowledgement_sees_the_event(defined: RunningStack) -> None:
    """Ack to visible is zero: each decision counts every event that was acknowledged before it."""
    decided = []
    for n in range(3):
        decided.append(defined.decide("ack", "free_shipping")["allow"])
        defined.track("ack", "purchase", messageId=f"ack-{n}", properties={"amount": 12.5})

    assert decided == [False, False, True]
    assert of(defined, "ack") == {"orders_30d": 3, "spent": 37.5, "plan": None}


def test_a_repeated_message_is_acknowledged_and_not_counted(defined: RunningStack) -> None:
    """The same messageId within 24 h counts once, and the answer says so (D-19: retries counted)."""
    answers = [defined.track("twice", "purchase", messageId="twice-1") for _ in range(3)]

    assert [answer["duplicate"] for answer in answers] == [False, True, True]
    assert defined.traits("twice")["traits"]["orders_30d"] == 1


def test_both_names_of_time_and_properties_are_read(defined: RunningStack) -> None:
    """`ts` and `props` mean `timestamp` and `properties`; an event of 31 days ago is outside of 30 days."""
    defined.track("names", "purchase", ts="2020-01-01T00:00:00Z", props={"amount": 5})
    defined.track("names", "purchase", timestamp="2020-01-01T00:00:00Z", properties={"amount": 6})

    assert of(defined, "names") == {"orders_30d": 0, "spent": 11, "plan": None}


def test_an_event_from_the_future_counts_now(defined: RunningStack) -> None:
    """A time after the receipt is clamped to it, so the event counts at once and leaves with its receipt (D-17)."""
    defined.track("future", "purchase", timestamp="2199-01-01T00:00:00Z")

    assert defined.traits("future")["traits"]["orders_30d"] == 1


def test_identify_sets_changes_and_removes_attributes(defined: RunningStack) -> None:
    """S8: whole values by key, the newest time wins whatever the order of arrival, null removes.

    D-2: they were lost.
    """

    def identify(plan: Any, at: str) -> Any:
        body = {"userId": "attr", "traits": {"plan": plan}, "timestamp": at}
        assert defined.call("POST", "/v1/identify", "write", json=body).json()["success"] is True
        return defined.traits("attr")["traits"]["plan"]

    assert identify("basic", "2024-01-02T00:00:00Z") == "basic"
    assert identify("older", "2024-01-01T00:00:00Z") == "basic"
    assert identify("premium", "2024-01-03T00:00:00Z") == "premium"
    assert defined.decide("attr", "free_shipping")["allow"] is True
    assert identify(None, "2024-01-04T00:00:00Z") is None
    assert identify("late", "2024-01-03T12:00:00Z") is None


def test_the_good_part_of_a_batch_stands(defined: RunningStack) -> None:
    """A batch answers accepted, duplicates, and each refused event by its index; the rest counts."""
    events = [
        {"type": "track", "userId": "batch", "event": "purchase", "messageId": "b1"},
        {"type": "track", "userId": "batch"},
        {"type": "identify", "userId": "batch", "traits": {"plan": "pro"}},
        {"type": "track", "userId": "batch", "event": "purchase", "messageId": "b1"},
        "nonsense",
        {"type": "track", "event": "purchase"},
    ]
    answer = defined.call("POST", "/v1/batch", "write", json={"batch": events})

    body = answer.json()
    assert answer.status_code == 200
    assert (body["success"], body["accepted"], body["duplicates"]) == (True, 2, 1)
    assert [(rejected["index"], rejected["code"]) for rejected in body["rejected"]] == [
        (1, "invalid_argument"),
        (4, "invalid_argument"),
        (5, "invalid_argument"),
    ]
    assert of(defined, "batch") == {"orders_30d": 1, "spent": 0, "plan": "pro"}


def test_a_decision_says_why(defined: RunningStack) -> None:
    """Reasons list segments, then traits, then the result; asof says what the answer rests on."""
    decided = defined.decide("why", "free_shipping", explain="true")

    assert decided["reasons"] == ["segment(loyal) = false", "trait(plan) = null", "final_result = false"]
    assert (decided["reason"], decided["variant"], decided["value"]) == ("DEFAULT", None, False)
    assert decided["asof"]["ids"]["user:why"]["seq"] == 0
    assert decided["explanation"]["parts"][0]["definition"]["text"] == "orders_30d >= 2"


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("POST", "/v1/track", None, 401),
        ("POST", "/v1/track", "read", 403),
        ("POST", "/v1/batch", "read", 403),
        ("GET", "/v1/decide?userId=a&flag=free_shipping", None, 401),
        ("GET", "/v1/decide?userId=a&flag=free_shipping", "write", 403),
        ("GET", "/v1/decide?userId=a&flag=free_shipping", "admin", 200),
        ("GET", "/v1/users/a/traits", "read", 403),
        ("GET", "/v1/admin/traits", "read", 403),
        ("GET", "/v1/admin/traits", None, 401),
        ("GET", "/v1/decide?userId=a&flag=unknown", "read", 404),
        ("GET", "/v1/decide?flag=free_shipping", "read", 400),
        ("GET", "/v1/decide?userId=&flag=free_shipping", "read", 400),
        ("GET", "/v1/nothing", "admin", 404),
        ("DELETE", "/v1/admin/traits/unknown", "admin", 404),
        ("PUT", "/v1/admin/traits/unknown", "admin", 404),
    ],
)
def test_statuses_are_themselves(defined: RunningStack, method: str, path: str, key: Any, status: int) -> None:
    """No key is 401, a key of another kind 403; 404 and 400 have the same shape of body (D-25)."""
    body = {"json": {"expression": "1 + 1"}} if method in ("PUT", "POST") else {}
    answer = defined.call(method, path, key, **body)

    assert answer.status_code == status
    if status != 200:
        assert answer.json()["success"] is False
        assert {"code", "message", "details"} <= answer.json().keys()


def test_a_wrong_key_is_refused_and_a_key_in_the_query_works(defined: RunningStack) -> None:
    """An unknown key is 401; `apiKey` in the query stands for the header where there is none."""
    path = "/v1/decide?userId=a&flag=free_shipping"
    assert defined.http.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert defined.http.get(f"{path}&apiKey={defined.keys['read']}").status_code == 200


def test_definitions_are_checked_when_they_are_saved(defined: RunningStack) -> None:
    """A refusal has line, column, what was expected and the nearest names; an existing key is 409."""
    bad = defined.call("POST", "/v1/admin/segments", json={"key": "x", "rule": "orders_30 >= 2"})
    taken = defined.call("POST", "/v1/admin/traits", json={"key": "spent", "expression": "1 + 1"})
    key = defined.call("POST", "/v1/admin/traits", json={"key": "9lives", "expression": "1 + 1"})

    assert (bad.status_code, taken.status_code, key.status_code) == (400, 409, 400)
    assert bad.json()["details"]["nearest"][0] == "orders_30d"
    assert (bad.json()["details"]["line"], bad.json()["details"]["column"]) == (1, 1)
    assert taken.json()["message"] == "Trait with key 'spent' already exists"


def test_what_others_use_is_not_deleted(defined: RunningStack) -> None:
    """Deleting names what uses the definition; what nothing uses goes, and what used it keeps answering.

    D-20: segments went stale.
    """
    refused = defined.call("DELETE", "/v1/admin/traits/orders_30d")
    assert refused.status_code == 409
    assert refused.json()["details"]["used_by"] == ["segment 'loyal'"]

    defined.define("trait", "short_lived", "events.purchase.count_7d")
    assert defined.call("DELETE", "/v1/admin/traits/short_lived").status_code == 200
    assert defined.call("GET", "/v1/admin/traits/short_lived").status_code == 404
    assert "short_lived" not in defined.traits("ack")["traits"]


def test_a_definition_without_new_fields_is_live_when_it_is_acknowledged(defined: RunningStack) -> None:
    """A new definition waits for no rebuild where records hold all that it reads."""
    defined.track("live", "purchase")
    defined.define("trait", "orders_7d", "events.purchase.count_7d")

    live = defined.traits("live")
    assert live["traits"]["orders_7d"] == 1
    assert "orders_7d" not in live["warming"]


def test_a_definition_with_a_new_field_warms_up_and_then_counts_history(defined: RunningStack) -> None:
    """Until a rebuild covers it a flag on it answers its default as STALE; then it counts what came before it.

    D-4: it waited for each user's next event.
    """
    defined.track("warm", "signup", properties={"seats": 7})
    defined.define("trait", "seats", "events.signup.seats.sum")
    defined.define("flag", "big_team", "seats >= 5", default=False)
    wait_until(lambda: "seats" not in defined.traits("warm")["warming"], "the rebuild covers it", 60)

    assert defined.traits("warm")["traits"]["seats"] == 7
    assert defined.decide("warm", "big_team")["reason"] == "TARGETING_MATCH"


def test_a_flag_that_is_off_answers_its_default(defined: RunningStack) -> None:
    """DISABLED is the reason, whatever the rule says; switching it on is live at once."""
    defined.define("flag", "switch", "true", enabled=False)
    assert (defined.decide("a", "switch")["allow"], defined.decide("a", "switch")["reason"]) == (False, "DISABLED")
    defined.call("PUT", "/v1/admin/flags/switch", json={"rule": "true", "enabled": True})
    assert (defined.decide("a", "switch")["allow"], defined.decide("a", "switch")["reason"]) == (True, "STATIC")


def test_validate_says_what_saving_would(defined: RunningStack) -> None:
    """A valid expression gets its type, an invalid one the reason and the place; nothing is saved."""
    good = defined.call("POST", "/v1/admin/validate", json={"type": "trait", "expression": "spent / orders_30d"}).json()
    bad = defined.call("POST", "/v1/admin/validate", json={"type": "flag", "expression": "spent"}).json()
    kind = defined.call("POST", "/v1/admin/validate", json={"type": "audience", "expression": "1"})

    assert (good["valid"], good["type"]) == (True, ["null", "number"])
    assert bad["valid"] is False
    assert "number" in bad["error"]
    assert kind.json()["message"] == "Type must be one of: trait, segment, flag"


def test_json_is_read_whatever_the_content_type(defined: RunningStack) -> None:
    """A body of text/plain is JSON too; one that is no JSON, or too large, is 400 with the remedy."""
    text = {"Content-Type": "text/plain"}
    good = defined.call("POST", "/v1/track", "write", content=b'{"userId":"t","event":"x"}', headers=text)
    broken = defined.call("POST", "/v1/track", "write", content=b'{"userId":', headers=text)
    large = defined.call("POST", "/v1/track", "write", content=b'{"a":"' + b"x" * 40_000 + b'"}')

    assert (good.status_code, broken.status_code, large.status_code) == (200, 400, 400)


def test_health_says_that_all_is_ready(defined: RunningStack) -> None:
    """The answer is 200 with a check for each part, and needs no key."""
    answer = defined.call("GET", "/health", None)

    assert answer.status_code == 200
    checks = {"redis", "shards", "definitions", "drain", "worker", "lake", "memory", "clock", "history"}
    assert answer.json()["checks"].keys() == checks


def test_refused_events_reach_the_lake_with_their_reasons(defined: RunningStack) -> None:
    """A client's refused event is kept in `rejected`; an unknown caller's is not."""
    from lake.lake import Lake

    assert defined.call("POST", "/v1/track", "write", json={"userId": "r", "event": " "}).status_code == 400
    assert defined.call("POST", "/v1/track", None, json={"userId": "stranger", "event": " "}).status_code == 401
    lake = Lake(defined.stack.lake_uri)

    def kept() -> list[str]:
        texts: list[str] = lake.rejected().collect().get_column("event").drop_nulls().to_list()  # a purge takes texts
        return [event for event in texts if '"r"' in event]

    assert wait_until(kept, "the drain stores what was refused")
    assert not [event for event in lake.rejected().collect().get_column("event").drop_nulls() if "stranger" in event]
