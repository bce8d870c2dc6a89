"""OFREP over raw requests: shapes, error codes, keys, and an ETag that knows the user's state."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest

from tests.protocols.ofrep_schema import BULK, FAILURE, SUCCESS
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

FLAGS = "/ofrep/v1/evaluate/flags"
#: Beyond the bound of any body.
TOO_LONG = b'{"context": {"targetingKey": "x", "more": "' + b"m" * 600_000 + b'"}}'


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack with a flag that asks for a user, one that does not, and one that is off."""
    stack.define("trait", "of_orders", "events.of_order.count_30d")
    stack.define("flag", "of_loyal", "of_orders >= 2")
    stack.define("flag", "of_static", "true")
    stack.define("flag", "of_off", "of_orders >= 2", enabled=False)
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def ask(stack: RunningStack, flag: str | None, context: Any = None, **headers: str) -> httpx.Response:
    """One flag, or all of them, for a context."""
    path = FLAGS if flag is None else f"{FLAGS}/{flag}"
    return stack.call("POST", path, "read", json={"context": {} if context is None else context}, headers=headers)


def test_a_flag_answers_with_value_variant_reason_and_metadata(defined: RunningStack) -> None:
    """No field is ever left out, since published providers fail without them; the answer follows each event at once."""
    of_loyal = []
    for n in range(3):
        of_loyal.append(ask(defined, "of_loyal", {"targetingKey": "single", "plan": "x"}).json())
        defined.track("single", "of_order", messageId=f"single-{n}")

    assert [answer["value"] for answer in of_loyal] == [False, False, True]
    assert of_loyal[2] == {
        "key": "of_loyal",
        "value": True,
        "reason": "TARGETING_MATCH",
        "variant": "on",
        "metadata": {"reason": "TARGETING_MATCH"},
    }
    assert (of_loyal[0]["reason"], of_loyal[0]["metadata"]["reason"]) == ("UNKNOWN", "DEFAULT")
    for answer in of_loyal:
        jsonschema.validate(answer, SUCCESS)


@pytest.mark.parametrize(
    ("flag", "content", "status", "code"),
    [
        ("of_loyal", b'{"context": {}}', 400, "TARGETING_KEY_MISSING"),
        ("of_loyal", b'{"context": {"targetingKey": " "}}', 400, "TARGETING_KEY_MISSING"),
        ("of_loyal", b"{}", 400, "TARGETING_KEY_MISSING"),
        ("of_loyal", b"", 400, "PARSE_ERROR"),
        ("of_loyal", b'{"context": 5}', 400, "INVALID_CONTEXT"),
        ("of_loyal", b'{"context": {"targetingKey": ["x"]}}', 400, "INVALID_CONTEXT"),
        ("of_loyal", b'{"context":', 400, "PARSE_ERROR"),
        ("of_loyal", b"[]", 400, "PARSE_ERROR"),
        ("of_loyal", b"\xff", 400, "PARSE_ERROR"),
        ("unknown", b'{"context": {"targetingKey": "x"}}', 404, "FLAG_NOT_FOUND"),
        ("unknown", b'{"context": {}}', 404, "FLAG_NOT_FOUND"),
        (None, b'{"context": 5}', 400, "INVALID_CONTEXT"),
        (None, b"[", 400, "PARSE_ERROR"),
        pytest.param("of_loyal", TOO_LONG, 400, "PARSE_ERROR", id="too long"),
        pytest.param(None, TOO_LONG, 400, "PARSE_ERROR", id="too long, of all flags"),
    ],
)
def test_every_error_has_a_code_and_details(
    defined: RunningStack, flag: str | None, content: bytes, status: int, code: str
) -> None:
    """Providers read both without looking; a single flag's error names the flag."""
    answer = defined.call("POST", FLAGS if flag is None else f"{FLAGS}/{flag}", "read", content=content)

    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    assert answer.json().get("key") == flag
    jsonschema.validate(answer.json(), FAILURE)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a%2Fb", "a/b"),
        ("of_static/", "of_static/"),
        ("a/b/c", "a/b/c"),
        ("", ""),
        ("a%0Ab", "a\nb"),
        ("a%E2%80%A8", "a\u2028"),
    ],
)
def test_a_key_that_no_flag_can_have_is_an_unknown_flag(defined: RunningStack, path: str, key: str) -> None:
    """A provider that escapes a key, or does not, is told FLAG_NOT_FOUND, and not that there is no such endpoint.

    A page is told the same as a server, whose call does not pass through the framework.
    """
    answer = ask(defined, path, {"targetingKey": "x"})
    of_a_page = ask(defined, path, {"targetingKey": "x"}, Origin="https://shop.example")

    assert (answer.status_code, answer.json()["errorCode"], answer.json()["key"]) == (404, "FLAG_NOT_FOUND", key)
    assert (of_a_page.status_code, of_a_page.json()) == (404, answer.json())
    jsonschema.validate(answer.json(), FAILURE)
    assert ask(defined, path, {"targetingKey": "x"}, Authorization="").status_code == 401


def test_a_base_url_may_end_with_a_slash(defined: RunningStack) -> None:
    """Some providers put their path behind it as it is, so that two slashes come."""
    asked = {"json": {"context": {"targetingKey": "x"}}, "headers": {"X-API-Key": defined.keys["read"]}}
    for path in (FLAGS, f"{FLAGS}/of_static", f"{FLAGS}/unknown"):
        plain, doubled = (httpx.post(f"{defined.stack.api_url}{start}{path}", **asked) for start in ("", "/"))
        assert (plain.status_code, plain.content) == (doubled.status_code, doubled.content)


def test_flags_that_ask_nothing_of_a_user_answer_without_one(defined: RunningStack) -> None:
    """A static flag and one that is off need no targetingKey; in bulk each other flag says that it needs one."""
    assert ask(defined, "of_static").json()["reason"] == "STATIC"
    assert ask(defined, "of_off").json()["reason"] == "DISABLED"

    bulk = ask(defined, None).json()
    jsonschema.validate(bulk, BULK)
    flags = {flag["key"]: flag for flag in bulk["flags"]}
    assert flags["of_static"]["value"] is True
    assert flags["of_off"]["value"] is False
    assert flags["of_loyal"]["errorCode"] == "TARGETING_KEY_MISSING"


def test_bulk_answers_every_flag_as_single_does(defined: RunningStack) -> None:
    """Bulk has, for each flag, the body that a single question gets."""
    context = {"targetingKey": "bulk"}
    bulk = ask(defined, None, context).json()

    jsonschema.validate(bulk, BULK)
    assert {"of_loyal", "of_static", "of_off"} <= {flag["key"] for flag in bulk["flags"]}
    for flag in bulk["flags"]:
        assert flag == ask(defined, flag["key"], context).json()


def test_an_etag_holds_until_an_answer_changes(defined: RunningStack) -> None:
    """Until then there is 304 without a body; an event that changes an answer, or a definition, changes the tag."""
    context = {"targetingKey": "tagged"}
    first = ask(defined, None, context)
    tag = first.headers["etag"]
    again = ask(defined, None, context, **{"If-None-Match": tag})
    weak = ask(defined, None, context, **{"If-None-Match": f'"other", W/{tag}'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert weak.status_code == 304

    for n in range(2):
        defined.track("tagged", "of_order", messageId=f"tagged-{n}")
    after = ask(defined, None, context, **{"If-None-Match": tag})
    assert after.status_code == 200
    assert after.headers["etag"] != tag

    defined.call("PUT", "/v1/admin/flags/of_static", json={"rule": "1 < 2"})
    changed = ask(defined, None, context, **{"If-None-Match": after.headers["etag"]})
    assert changed.status_code == 200


def test_an_etag_outlives_a_rebuild(defined: RunningStack) -> None:
    """A rebuild, which comes every few minutes and changes no answer, leaves the tag as it is."""
    context = {"targetingKey": "rebuilt"}
    tag = ask(defined, None, context).headers["etag"]
    before = defined.traits("rebuilt")["asof"]["catalogue"]
    defined.tinycdp("rebuild")
    assert defined.traits("rebuilt")["asof"]["catalogue"] > before
    assert ask(defined, None, context, **{"If-None-Match": tag}).status_code == 304


def test_an_etag_is_one_users(defined: RunningStack) -> None:
    """Two users with the same answers have different tags."""
    tags = [ask(defined, None, {"targetingKey": user}).headers["etag"] for user in ("tag-a", "tag-b", "tag-a")]

    assert tags[0] == tags[2] != tags[1]


def test_a_flag_with_weights_needs_a_user_and_keeps_to_one_variant(defined: RunningStack) -> None:
    """The reason is SPLIT; a user keeps their variant; all variants are given out; without a user there is none."""
    variants = [{"name": name, "value": f"is {name}"} for name in ("red", "green", "blue")]
    defined.define("flag", "of_colour", "true", variants=variants)
    answers = [ask(defined, "of_colour", {"targetingKey": f"c{n}"}).json() for n in range(40)]

    assert {answer["reason"] for answer in answers} == {"SPLIT"}
    assert {answer["variant"] for answer in answers} == {"red", "green", "blue"}
    assert all(answer["value"] == f"is {answer['variant']}" for answer in answers)
    assert answers[:5] == [ask(defined, "of_colour", {"targetingKey": f"c{n}"}).json() for n in range(5)]
    assert ask(defined, "of_colour").json()["errorCode"] == "TARGETING_KEY_MISSING"


def test_a_percentage_may_go_by_the_device(defined: RunningStack) -> None:
    """The anonymous id beside the targetingKey is what a flag with bucket_by deviceId puts into a bucket."""
    defined.define("flag", "of_device", "true", rollout=50, bucket_by="deviceId")

    def is_on(user: str, device: str) -> bool:
        context = {"targetingKey": user, "anonymousId": device}
        value: bool = ask(defined, "of_device", context).json()["value"]
        return value

    devices = [f"device-{n}" for n in range(20)]
    assert len({is_on("one-user", device) for device in devices}) == 2
    assert all(len({is_on(user, device) for user in ("user-a", "user-b")}) == 1 for device in devices)


def test_an_anonymous_id_is_asked_for_by_its_prefix(defined: RunningStack) -> None:
    """A targetingKey with `anon:` before it asks for an anonymous id."""
    for n in range(2):
        event = {"anonymousId": "of-device", "event": "of_order", "messageId": f"of-device-{n}"}
        assert defined.call("POST", "/v1/track", "write", json=event).status_code == 200

    assert ask(defined, "of_loyal", {"targetingKey": "anon:of-device"}).json()["value"] is True
    assert ask(defined, "of_loyal", {"targetingKey": "of-device"}).json()["value"] is False


def test_a_key_is_taken_as_bearer_and_as_x_api_key(defined: RunningStack) -> None:
    """A read or an admin key works either way; no key is 401, a write key 403."""

    def status(**headers: str) -> int:
        body = {"context": {"targetingKey": "keyed"}}
        return defined.http.post(f"{FLAGS}/of_loyal", json=body, headers=headers).status_code

    read, write = defined.keys["read"], defined.keys["write"]
    assert status(Authorization=f"Bearer {read}") == 200
    assert status(**{"X-API-Key": read}) == 200
    assert status(**{"X-API-Key": defined.keys["admin"]}) == 200
    assert status() == 401
    assert status(**{"X-API-Key": "unknown"}) == 401
    assert status(Authorization=f"Bearer {write}") == 403


def test_a_refusal_says_why_in_both_languages(defined: RunningStack) -> None:
    """A 401 has our code and message, and OFREP's errorDetails."""
    body = defined.http.post(FLAGS, json={"context": {}}).json()

    assert (body["success"], body["code"]) == (False, "unauthenticated")
    assert body["errorDetails"] == body["message"]


def test_answers_say_that_they_are_json(defined: RunningStack) -> None:
    """The Content-Type is JSON: JavaScript providers read no other."""
    for flag in ("of_static", None):
        assert ask(defined, flag).headers["content-type"] == "application/json"


def test_a_page_may_ask_and_read_the_etag(defined: RunningStack) -> None:
    """A browser is allowed the headers that the web provider sends, and to read the tag."""
    origin = {"Origin": "https://shop.example"}
    preflight = defined.http.options(
        FLAGS,
        headers={
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,if-none-match,x-api-key",
        },
    )
    answered = ask(defined, None, {"targetingKey": "page"}, **origin)

    assert {"if-none-match", "x-api-key"} <= set(preflight.headers["access-control-allow-headers"].split(","))
    assert "ETag" in answered.headers["access-control-expose-headers"]
