"""OpenFeature's Python SDK with its published OFREP provider, as they are, against a running stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack with flags of each way to answer."""
    stack.define("trait", "ofpy_orders", "events.ofpy_order.count_30d")
    stack.define("flag", "ofpy_loyal", "ofpy_orders >= 2")
    stack.define("flag", "ofpy_static", "true")
    stack.define("flag", "ofpy_off", "true", enabled=False)
    for key, values in TYPED.items():
        variants = [{"name": name, "value": value, "weight": int(name == "on")} for name, value in values.items()]
        stack.define("flag", key, "ofpy_orders >= 2", variants=variants, default="off")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


#: A flag of each type: what it answers once its rule holds, and before.
TYPED: dict[str, dict[str, Any]] = {
    "ofpy_text": {"on": "hello", "off": ""},
    "ofpy_whole": {"on": 7, "off": 0},
    "ofpy_fraction": {"on": 1, "off": 0.5},
    "ofpy_object": {"on": {"a": [1, {"b": None}]}, "off": {}},
    "ofpy_list": {"on": [1, 2.5, "x"], "off": []},
}


def client_of(stack: RunningStack, headers: dict[str, str], end: str = "") -> OpenFeatureClient:
    """A client that asks this stack with these headers, at a base URL with this end."""
    api.set_provider(OFREPProvider(stack.stack.api_url + end, headers_factory=lambda: headers))
    return api.get_client()


@pytest.fixture
def client(defined: RunningStack) -> Iterator[OpenFeatureClient]:
    """A client with a read key."""
    yield client_of(defined, {"Authorization": f"Bearer {defined.keys['read']}"})
    api.shutdown()


def test_the_base_url_may_end_with_a_slash(defined: RunningStack) -> None:
    """It is the same address to whoever sets the client up."""
    client = client_of(defined, {"X-API-Key": defined.keys["read"]}, "/")

    assert client.get_boolean_value("ofpy_static", False)
    assert client.get_boolean_details("of/unknown", True).error_code == ErrorCode.FLAG_NOT_FOUND
    api.shutdown()


def test_a_flag_follows_what_the_user_does(defined: RunningStack, client: OpenFeatureClient) -> None:
    """Each evaluation sees every event that was acknowledged before it."""
    who = EvaluationContext("ofpy", {"plan": "pro"})
    seen = []
    for n in range(3):
        seen.append(client.get_boolean_details("ofpy_loyal", True, who))
        defined.track("ofpy", "ofpy_order", messageId=f"ofpy-{n}")

    assert [detail.value for detail in seen] == [False, False, True]
    assert [detail.error_code for detail in seen] == [None, None, None]
    assert (seen[2].reason, seen[2].variant) == (Reason.TARGETING_MATCH, "on")
    assert seen[0].flag_metadata["reason"] == "DEFAULT"


def test_flags_without_a_user_answer_without_one(client: OpenFeatureClient) -> None:
    """Static flags and flags that are off answer; one that asks for the user says what is missing."""
    static = client.get_boolean_details("ofpy_static", False)
    off = client.get_boolean_details("ofpy_off", True)
    loyal = client.get_boolean_details("ofpy_loyal", True)

    assert (static.value, static.reason, static.error_code) == (True, Reason.STATIC, None)
    assert (off.value, off.reason, off.error_code) == (False, Reason.DISABLED, None)
    assert (loyal.value, loyal.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)


def test_every_type_arrives_as_itself(defined: RunningStack, client: OpenFeatureClient) -> None:
    """Strings, integers, fractions (whole ones too), objects and lists keep their type, as a default too."""
    for n in range(2):
        defined.track("ofpy-typed", "ofpy_order", messageId=f"ofpy-typed-{n}")
    for user, variant in (("ofpy-typed", "on"), ("ofpy-other", "off")):
        who = EvaluationContext(user)
        details = {
            "ofpy_text": client.get_string_details("ofpy_text", "?", who),
            "ofpy_whole": client.get_integer_details("ofpy_whole", -1, who),
            "ofpy_fraction": client.get_float_details("ofpy_fraction", -1.0, who),
            "ofpy_object": client.get_object_details("ofpy_object", {"?": 1}, who),
            "ofpy_list": client.get_object_details("ofpy_list", ["?"], who),
        }
        assert {key: detail.error_code for key, detail in details.items()} == dict.fromkeys(TYPED)
        assert {key: detail.value for key, detail in details.items()} == {key: TYPED[key][variant] for key in TYPED}
        assert {detail.variant for detail in details.values()} == {variant}


def test_a_flag_that_is_not_known_gives_the_codes_default(client: OpenFeatureClient) -> None:
    """The code is FLAG_NOT_FOUND, with a message."""
    detail = client.get_boolean_details("ofpy_unknown", True, EvaluationContext("ofpy"))

    assert (detail.value, detail.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    assert detail.error_message == "Flag 'ofpy_unknown' not found"


def test_a_flag_of_another_type_gives_the_codes_default(client: OpenFeatureClient) -> None:
    """The code is TYPE_MISMATCH: the provider checks the type of the value."""
    detail = client.get_string_details("ofpy_static", "code")

    assert (detail.value, detail.error_code) == ("code", ErrorCode.TYPE_MISMATCH)


def test_an_api_key_header_works_and_a_wrong_key_gives_the_codes_default(defined: RunningStack) -> None:
    """X-API-Key stands for Bearer; without a key that may read the provider says unauthorized."""
    key = client_of(defined, {"X-API-Key": defined.keys["read"]}).get_boolean_details("ofpy_static", False)
    wrong = client_of(defined, {"X-API-Key": "wrong"}).get_boolean_details("ofpy_static", False)
    api.shutdown()

    assert (key.value, key.error_code) == (True, None)
    assert (wrong.value, wrong.error_code, wrong.error_message) == (False, ErrorCode.GENERAL, "unauthorized")
