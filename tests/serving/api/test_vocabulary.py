"""The names that expressions are made of, and examples of values: on a real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def spoken(stack: RunningStack) -> RunningStack:
    """A stack with events, attributes and definitions of this module, which are drained."""
    stack.define("trait", "voc_paid", "events.voc_buy.amount.sum", description="what they paid")
    stack.define("segment", "voc_payers", "voc_paid > 0")
    for number in range(3):
        properties = {"amount": number, "voc": {"color": "red" if number else "blue"}, "tags": ["a", f"b{number}"]}
        stack.track(f"voc-{number}", "voc_buy", messageId=f"voc-{number}", properties=properties)
    stack.track("voc-0", "voc_buy", messageId="voc-3", properties={"amount": "much", "gone": None, "is_big": True})
    traits = {"voc.plan": "pro", "voc_home": {"city": "Oslo"}, "voc_age": None}
    stack.call("POST", "/v1/identify", "write", json={"userId": "voc-0", "messageId": "voc-4", "traits": traits})
    wait_until(lambda: "voc_buy" in events(stack) and "voc.plan" in attributes(stack), "the lake's names are read", 200)
    return stack


def vocabulary(stack: RunningStack) -> dict[str, Any]:
    """The names."""
    answer = stack.call("GET", "/v1/admin/vocabulary")
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def events(stack: RunningStack) -> dict[str, Any]:
    """The events by name."""
    return {event["name"]: event for event in vocabulary(stack)["events"]}


def attributes(stack: RunningStack) -> dict[str, Any]:
    """The attributes, names inside them left out."""
    return {one["key"]: one for one in vocabulary(stack)["attributes"] if not one["path"]}


def test_events_have_their_properties_with_the_kinds_that_were_seen(spoken: RunningStack) -> None:
    """Nested names are dotted; a null is no property; counts are of rows."""
    event = events(spoken)["voc_buy"]

    assert event["count"] == 4
    assert {one["name"]: (one["kinds"], one["count"]) for one in event["properties"]} == {
        "amount": (["number", "string"], 4),
        "voc.color": (["string"], 3),
        "tags": (["list"], 3),
        "is_big": (["boolean"], 1),
    }


def test_attributes_are_there_whole_and_by_the_names_inside_them(spoken: RunningStack) -> None:
    """A dot in a key is no step into a value; a null has no kind."""
    found = {(one["key"], *one["path"]): one["kinds"] for one in vocabulary(spoken)["attributes"]}

    assert found["voc.plan",] == ["string"]
    assert (found["voc_home",], found["voc_home", "city"]) == ([], ["string"])
    assert found["voc_age",] == []


def test_definitions_and_the_language_are_there(spoken: RunningStack) -> None:
    """Traits with their types, segments, functions with signature and sentence, aggregates, the kinds of ids."""
    names = vocabulary(spoken)

    assert {"key": "voc_paid", "type": ["null", "number"], "description": "what they paid"} in names["traits"]
    assert "voc_payers" in [segment["key"] for segment in names["segments"]]
    functions = {one["name"]: one for one in names["functions"]}
    assert functions["starts_with"]["signature"] == "starts_with(string, string) → boolean"
    assert functions["abs"]["says"] == "The number without its sign."
    assert "floor" not in functions  # which is internal
    aggregates = {one["name"]: one for one in names["aggregates"]}
    assert (aggregates["sum"]["property"], aggregates["unique_days"]["dates"]) == ("required", True)
    assert [(one["kind"], one["prefix"]) for one in names["ids"]] == [
        ("externalId", "user"),
        ("deviceId", "anon"),
        ("emailHash", "email"),
    ]


def values(stack: RunningStack, **query: Any) -> list[tuple[Any, int]]:
    """Examples of values, each with its count."""
    answer = stack.call("GET", "/v1/admin/vocabulary/values", params=query)
    assert answer.status_code == 200, answer.text
    return [(one["value"], one["count"]) for one in answer.json()["values"]]


@pytest.mark.deep
def test_examples_of_values_are_read_when_asked_for(spoken: RunningStack) -> None:
    """Of a property, of the items of a list, of an attribute and a name inside it; the most frequent first."""
    assert values(spoken, event="voc_buy", property="voc.color") == [("red", 2), ("blue", 1)]
    assert set(values(spoken, event="voc_buy", property="amount")) == {(0, 1), (1, 1), (2, 1), ("much", 1)}
    assert values(spoken, event="voc_buy", property="tags")[0] == ("a", 3)
    assert values(spoken, event="voc_buy", property="is_big") == [(True, 1)]
    assert values(spoken, attribute="voc.plan") == [("pro", 1)]
    assert values(spoken, attribute="voc_home", path=["city"]) == [("Oslo", 1)]
    assert values(spoken, event="voc_buy", property="never") == []


def test_a_deleted_person_is_no_example(spoken: RunningStack) -> None:
    """At once: the rows are in the lake until a purge takes them."""
    spoken.track("voc-gone", "voc_secret", messageId="voc-9", properties={"word": "hush"})
    wait_until(lambda: values(spoken, event="voc_secret", property="word") == [("hush", 1)], "the event is drained")

    spoken.call("DELETE", "/v1/admin/users/voc-gone")

    assert values(spoken, event="voc_secret", property="word") == []


def test_examples_of_nothing_are_refused(spoken: RunningStack) -> None:
    """Either an event and its property are named, or an attribute."""
    for query in ({}, {"event": "a"}, {"event": "a", "property": "b", "attribute": "c"}, {"property": "b"}):
        answer = spoken.call("GET", "/v1/admin/vocabulary/values", params=query)
        assert (answer.status_code, answer.json()["details"]["field"]) == (400, "event")


def test_the_names_in_the_lake_are_completed(spoken: RunningStack) -> None:
    """An event that no definition reads is offered, with its count, and its properties with their kinds."""

    def completed(text: str) -> dict[str, Any]:
        body = {"type": "trait", "expression": text, "parts": ["completions"]}
        found = spoken.call("POST", "/v1/admin/validate", json=body).json()["completions"]
        return {one["label"]: one for one in found}

    event = completed("events.voc_b")["voc_buy"]
    assert event["detail"] == "came 4 times"
    assert completed("events.voc_buy.am")["amount"]["type"] == ["number", "string"]
    assert completed("events.voc_buy.voc.")["color"]["kind"] == "property"
    assert completed("profile.vo")["voc.plan"]["text"] == '["voc.plan"]'
    assert "city" in completed("profile.voc_home.")
