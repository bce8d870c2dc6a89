"""Traits, segments and flags under `/v1/admin`, as clients of the original TypeScript TinyCDP keep them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

#: Kind, the name of its expression, an expression that is fine, and what the original shows of one.
KINDS = {
    "trait": ("expression", "events.defined.count_30d >= 1", {"id", "key", "expression", "updated_at"}),
    "segment": ("rule", "last_seen_minutes_ago < 60", {"id", "key", "rule", "updated_at"}),
    "flag": ("rule", "true", {"key", "rule"}),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def called(stack: RunningStack, method: str, kind: str, at: str = "", /, **body: Any) -> tuple[int, Any]:
    """Status and body of a call with an admin key; `it` is the expression by the kind's own name."""
    if "it" in body:
        body[KINDS[kind][0]] = body.pop("it")
    path = f"/v1/admin/{kind}s/{at}" if at else f"/v1/admin/{kind}s"
    answer = stack.call(method, path, **({} if method in ("GET", "DELETE") else {"json": body}))
    return answer.status_code, answer.json() if answer.content else None


@EVERY_KIND
def test_a_definition_lives_as_in_the_original(stack: RunningStack, kind: str) -> None:
    """A definition is created, listed, changed and deleted with 200, in the original's shapes.

    A delete answers an empty body.
    """
    key, (field, expression, fields) = f"def_{kind}", KINDS[kind]

    status, created = called(stack, "POST", kind, key=key, it=expression, unknown="ignored")
    assert (status, list(created)) == (200, [kind])
    assert fields <= created[kind].keys()
    assert (created[kind]["key"], created[kind][field]) == (key, expression)
    assert datetime.fromisoformat(created[kind]["updated_at"]).tzinfo is not None

    status, listed = called(stack, "GET", kind)
    assert (status, list(listed)) == (200, [f"{kind}s"])
    assert [definition["key"] for definition in listed[f"{kind}s"]] == sorted(
        definition["key"] for definition in listed[f"{kind}s"]
    )
    shown = next(definition for definition in listed[f"{kind}s"] if definition["key"] == key)
    # A rebuild may have counted its users since, and the lake may have its history now.
    assert shown | {"size": None, "history": None} == created[kind] | {"warnings": [], "size": None, "history": None}

    other = "1 == 1"
    status, changed = called(stack, "PUT", kind, key, it=other, key="another")
    assert (status, changed[kind]["key"], changed[kind][field]) == (200, key, other)
    assert changed[kind]["updated_at"] >= created[kind]["updated_at"]

    assert called(stack, "DELETE", kind, key) == (200, None)
    assert called(stack, "DELETE", kind, key)[0] == 404
    assert key not in str(called(stack, "GET", kind)[1])


KEY_IS_EMPTY = "{Kind} key is required and cannot be empty"
TEXT_IS_EMPTY = "{Kind} {field} is required and cannot be empty"
KEY_IS_ODD = "{Kind} key must start with a letter or underscore and contain only {characters}"
CHARACTERS = {
    "trait": "letters, numbers, and underscores",
    "segment": "letters, numbers, and underscores",
    "flag": "letters, numbers, underscores, hyphens, and dots",
}


@EVERY_KIND
@pytest.mark.parametrize(
    ("key", "text", "status", "message"),
    [
        ("", "", 400, KEY_IS_EMPTY),
        (" ", "true", 400, KEY_IS_EMPTY),
        ("9x", " ", 400, TEXT_IS_EMPTY),
        ("ok", "", 400, TEXT_IS_EMPTY),
        ("9x", "1 +", 400, KEY_IS_ODD),
        ("a b", "true", 400, KEY_IS_ODD),
        ("-a", "true", 400, KEY_IS_ODD),
        (".", "true", 400, KEY_IS_ODD),
        ("é", "true", 400, KEY_IS_ODD),
        ("a\n", "true", 400, KEY_IS_ODD),
        ("def_taken", "1 +", 400, "Expression syntax error: "),
        ("def_taken", "true", 409, "{Kind} with key 'def_taken' already exists"),
        ("_2", "1 == 2", 200, ""),
    ],
)
def test_creating_is_checked_in_the_originals_order(
    stack: RunningStack, kind: str, key: str, text: str, status: int, message: str
) -> None:
    """The order is: key, expression, the key's letters, syntax, and last whether the key is taken."""
    called(stack, "POST", kind, key="def_taken", it="1 == 2")
    actual, answer = called(stack, "POST", kind, key=key, it=text)
    expected = message.format(Kind=kind.capitalize(), field=KINDS[kind][0], characters=CHARACTERS[kind])
    called(stack, "DELETE", kind, "_2")

    assert actual == status, answer
    assert answer.get("message", "").startswith(expected)
    assert message.endswith(" ") or answer.get("message", "") == expected
    if status != 200:
        assert answer["code"] == {400: "invalid_argument", 409: "already_exists"}[status]


@EVERY_KIND
@pytest.mark.parametrize(
    ("key", "text", "status", "message"),
    [
        ("def_absent", " ", 400, TEXT_IS_EMPTY),
        ("def_absent", "1 +", 400, "Expression syntax error: "),
        ("def_absent", "true", 404, "{Kind} not found"),
    ],
)
def test_changing_is_checked_in_the_originals_order(
    stack: RunningStack, kind: str, key: str, text: str, status: int, message: str
) -> None:
    """The order is: the expression, its syntax, and last whether there is such a definition."""
    actual, answer = called(stack, "PUT", kind, key, it=text)
    expected = message.format(Kind=kind.capitalize(), field=KINDS[kind][0], characters=CHARACTERS[kind])

    assert actual == status
    assert answer["message"].startswith(expected)


@EVERY_KIND
def test_two_who_create_the_same_at_once_are_one_and_a_conflict(stack: RunningStack, kind: str) -> None:
    """Of four who create a key at once one saves it, and the others are told that it exists.

    The original answered them 500.
    """
    with ThreadPoolExecutor(4) as pool:
        race = [pool.submit(called, stack, "POST", kind, key=f"def_race_{kind}", it="1 == 2") for _ in range(4)]
        statuses = sorted(future.result()[0] for future in race)

    assert statuses == [200, 409, 409, 409]


def test_the_originals_seeds_are_saved_as_they_are(stack: RunningStack) -> None:
    """All that the original's seed scripts define is saved in their order, and answers for a user who shops."""
    for trait, expression in {
        "power_user": "events.app_open.unique_days_14d >= 5",
        "recent_buyer": "events.purchase.count_30d >= 1 && last_seen_minutes_ago < 1440",
        "frequent_visitor": "events.page_view.count_7d >= 10",
        "mobile_user": 'profile.device_type == "mobile"',
        "high_value_customer": "events.purchase.amount.sum_30d >= 100",
    }.items():
        stack.define("trait", trait, expression)
    for segment, rule in {
        "power_users": "power_user == true",
        "recent_buyers": "recent_buyer == true",
        "engaged_users": "power_user == true || frequent_visitor == true",
        "vip_customers": "high_value_customer == true && recent_buyer == true",
        "mobile_engaged": "mobile_user == true && power_user == true",
    }.items():
        stack.define("segment", segment, rule)
    for flag, rule in {
        "premium_features": 'segment("power_users")',
        "discount_offer": 'segment("recent_buyers") == false',
        "vip_support": 'segment("vip_customers")',
        "mobile_push_notifications": 'segment("mobile_engaged")',
        "beta_features": 'trait("power_user") == true && trait("high_value_customer") == true',
    }.items():
        stack.define("flag", flag, rule)
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle", 60)

    stack.call("POST", "/v1/identify", "write", json={"userId": "seed-1", "traits": {"device_type": "mobile"}})
    for n in range(2):
        stack.track("seed-1", "purchase", messageId=f"seed-{n}", props={"amount": 60})
    for n in range(10):
        stack.track("seed-1", "page_view", messageId=f"seed-view-{n}")

    assert (
        stack.traits("seed-1")["segments"]
        | {
            "power_users": False,
            "recent_buyers": True,
            "engaged_users": True,
            "vip_customers": True,
            "mobile_engaged": False,
        }
        == stack.traits("seed-1")["segments"]
    )
    assert {flag: stack.decide("seed-1", flag)["allow"] for flag in ("discount_offer", "vip_support")} == {
        "discount_offer": False,
        "vip_support": True,
    }


def test_a_sum_of_nothing_is_refused_with_the_remedy(stack: RunningStack) -> None:
    """The original's seed sums `events.purchase.sum_30d`, which was never true: here it is told to name a property."""
    status, answer = called(stack, "POST", "trait", key="def_sum", it="events.purchase.sum_30d >= 100")

    assert status == 400
    assert "events.purchase.PROPERTY.sum_30d" in answer["message"] or "property" in answer["details"]["remedy"]


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize(
    ("kind", "example"),
    [
        ("trait", 'profile.plan in ["premium", "enterprise"]'),
        ("trait", "first_seen_days_ago > 7"),
        ("trait", "events.purchase.count_30d >= 1 && events.app_open.count_7d >= 3"),
        ("trait", 'events.app_open.unique_days_14d >= 5 && (events.purchase.count_30d >= 1 || profile.plan == "pro")'),
        ("flag", 'trait("def_spent") >= 500'),
        ("flag", 'segment("def_recent") && segment("def_high")'),
    ],
)
def test_the_examples_of_the_originals_documents_are_valid(stack: RunningStack, kind: str, example: str) -> None:
    """Every expression that its documents show is valid, where the names in it exist."""
    for named, key in (("trait", "def_spent"), ("segment", "def_recent"), ("segment", "def_high")):
        called(stack, "POST", named, key=key, it="events.defined.count" if named == "trait" else "1 == 2")
    answer = stack.call("POST", "/v1/admin/validate", json={"type": kind, "expression": example}).json()

    assert answer["valid"] is True, answer
