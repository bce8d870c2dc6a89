"""Bodies that are no JSON, too long, or nested until the stack ends; and what refusals repeat of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from serving.api.events import CONTEXT_BYTES_MAX
from serving.http.answers import refusal_body
from serving.http.bodies import ARRIVING_BYTES_MAX, NESTING_MAX, arriving
from serving.refusals import SHOWN_CHARACTERS_MAX, invalid, value_for_message
from tests.running import RunningStack
from tests.safety.raw_requests import answer_to

pytestmark = pytest.mark.xdist_group("stack")


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


EVENT_FIELDS = ["userId", "event", "messageId", "timestamp", "properties", "context", "traits", "writeKey", "other"]


@pytest.mark.parametrize("nested", [lists, objects])
@pytest.mark.parametrize("field", EVENT_FIELDS)
def test_no_depth_is_too_much_to_be_refused(stack: RunningStack, field: str, nested: Callable[[int], bytes]) -> None:
    """A body of any depth, from a few levels to ten thousand, gets a refusal and never an error of ours."""
    for depth in (20, 300, *range(930, 1_010, 4), 10_000):
        body = b'{"userId":"deep","event":"deep","%s":%s}' % (field.encode(), nested(depth))
        answer = stack.call("POST", "/v1/track", "write", content=body)
        assert answer.status_code in (200, 400), (depth, answer.text)


@pytest.mark.parametrize(
    ("method", "path", "key", "frame"),
    [
        ("POST", "/v1/batch", "write", b'{"batch":[%s]}'),
        ("POST", "/v1/batch", "write", b'{"batch":%s}'),
        ("POST", "/v1/decide", "read", b'{"userId":"a","flags":[%s]}'),
        ("POST", "/v1/decide", "read", b'{"userId":%s}'),
        ("POST", "/ofrep/v1/evaluate/flags", "read", b'{"context":{"targetingKey":%s}}'),
        ("POST", "/ofrep/v1/evaluate/flags/f", "read", b'{"context":%s}'),
        ("POST", "/v1/admin/traits", "admin", b'{"key":%s}'),
        ("POST", "/v1/admin/validate", "admin", b'{"type":"trait","expression":%s}'),
        ("POST", "/v1/admin/flags", "admin", b'{"key":"deep","rule":"x","variants":[{"name":"a","value":%s}]}'),
    ],
)
def test_depth_is_refused_on_other_paths_too(
    stack: RunningStack, method: str, path: str, key: Any, frame: bytes
) -> None:
    """A body that is nested too deeply is refused, whether the framework reads it or we do."""
    for depth in (300, *range(930, 1_010, 8), 10_000):
        answer = stack.call(method, path, key, content=frame % lists(depth))
        assert answer.status_code in (200, 400), (depth, answer.text)


def test_a_variants_value_is_nested_no_deeper_than_others_can_read(stack: RunningStack) -> None:
    """A variant's value is refused beyond 32 levels, which the drain, the worker and clients can read."""

    def saved(depth: int) -> int:
        rule = b'{"key":"nested","rule":"true","variants":[{"name":"a","value":%s}]}' % lists(depth)
        return stack.call("POST", "/v1/admin/flags", content=rule).status_code

    assert saved(NESTING_MAX) == 400
    assert saved(NESTING_MAX - 4) == 200
    stack.call("DELETE", "/v1/admin/flags/nested")


@pytest.mark.parametrize(
    "value",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9" * 400,
        b"9" * 5_000,
        rb'"\ud800"',
        rb'"\udc00\ud800"',
        b'"\xff"',
    ],
)
def test_what_is_no_json_is_refused(stack: RunningStack, value: bytes) -> None:
    """Numbers beyond 64-bit floats, NaN, halves of characters and bytes that are no UTF-8 get 400, from admins too."""
    calls: list[tuple[str, Any, bytes]] = [
        ("/v1/track", "write", b'{"userId":"a","event":"e","properties":{"a":%s}}'),
        ("/v1/identify", "write", b'{"userId":"a","traits":{"a":%s}}'),
        ("/v1/admin/flags", "admin", b'{"key":"no_json","rule":"true","variants":[{"name":"a","value":%s}]}'),
    ]
    for path, key, frame in calls:
        answer = stack.call("POST", path, key, content=frame % value)
        if path != "/v1/admin/flags" or value != b"9" * 400:
            assert answer.status_code == 400, (path, answer.text)
        assert answer.status_code < 500


def test_of_two_fields_of_one_name_the_last_counts(stack: RunningStack) -> None:
    """Where JSON has a field twice the last one counts, for every check and for every reader."""
    body = b'{"userId":"first","userId":"last","event":"twice","messageId":"twice-1"}'

    assert stack.call("POST", "/v1/track", "write", content=body).json()["duplicate"] is False
    assert stack.track("last", "twice", messageId="twice-1")["duplicate"] is True


def test_null_bytes_are_characters_like_others(stack: RunningStack) -> None:
    """A null byte in an id, a name or a value is a character, and ends no text."""
    stack.track("nul", "nul", messageId="nul-1")
    answer = stack.track("nul\0more", "nul\0more", messageId="nul-1", properties={"a\0b": "c\0d"})

    assert answer["duplicate"] is False, "another id"


def test_a_batchs_context_is_small(stack: RunningStack) -> None:
    """The context of a batch has at most 4 KB: each event keeps it, and 500 KB for 2,500 events would be a gigabyte.

    A larger one is left out, with a warning, and costs no event.
    """
    event = {"type": "track", "userId": "context", "event": "context"}

    def warnings(size: int) -> list[str]:
        body = {"batch": [event], "context": {"text": "x" * (size - len('{"text":""}'))}}
        answer = stack.call("POST", "/v1/batch", "write", json=body)
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
        found: list[str] = answer.json().get("warnings", [])
        return found

    assert warnings(CONTEXT_BYTES_MAX) == []
    (warning,) = warnings(CONTEXT_BYTES_MAX + 1)
    assert f"context: '{CONTEXT_BYTES_MAX + 1} bytes'" in warning and "left out" in warning


def test_too_many_events_are_refused_before_they_are_read(stack: RunningStack) -> None:
    """A batch of too many events is refused before any is read, and without a key before they are counted."""
    many = b'{"batch":[' + b"1," * 200_000 + b"1]}"
    assert stack.call("POST", "/v1/batch", None, content=many).status_code == 401
    answer = stack.call("POST", "/v1/batch", "write", content=many)

    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/v1/admin/traits", "/v1/admin/validate", "/v1/batch", "/v1/decide"])
def test_every_path_bounds_what_it_unpacks(stack: RunningStack, path: str) -> None:
    """Every path bounds the bytes that a body unpacks to, whatever length it states, and the members that it has."""
    bomb = gzip.compress(b" " * 50_000_000)
    for body in (bomb, gzip.compress(b" " * 400_000) * 3, gzip.compress(b"") * 20_000):
        answer = stack.call("POST", path, "admin", content=body, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 400
        assert "over" in answer.json()["message"]


def test_admins_may_pack_their_bodies_too(stack: RunningStack) -> None:
    """The body of an admin call may be gzipped, as that of an event may."""
    body = gzip.compress(b'{"type":"trait","expression":"1 + 1"}')
    answer = stack.call("POST", "/v1/admin/validate", content=body, headers={"Content-Encoding": "gzip"})

    assert answer.json()["valid"] is True


def test_a_gzip_that_is_shorter_than_it_says_is_refused(stack: RunningStack) -> None:
    """A gzip that Content-Length cuts off gets 400, and the bytes behind it take no answer away."""
    packed = gzip.compress(b'{"userId":"a","event":"e"}')
    head = (
        b"POST /v1/track HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: %d\r\n\r\n"
    ) % (stack.keys["write"].encode(), len(packed) - 9)

    assert answer_to(stack.stack.api_url, [head + packed]).status == 400


def test_nothing_stays_counted_as_on_its_way() -> None:
    """Once every body has ended or was given up, no byte is counted as on its way."""
    assert arriving.bytes == 0 < ARRIVING_BYTES_MAX


# ── what refusals repeat ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_repeats_a_hundred_characters_and_no_key(stack: RunningStack) -> None:
    """A refusal repeats at most a hundred characters of a value, wherever it stands, and never the key."""
    long = "L" * 3_000
    key = stack.keys["admin"]
    headers = {"Authorization": f"Bearer {key}"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/track", {"json": {"userId": long, "event": "e"}}),
        ("POST", "/v1/track", {"json": {"userId": "a", "event": long}}),
        ("POST", "/v1/track", {"json": {"userId": "a", "event": "e", "messageId": long}}),
        ("POST", "/v1/track", {"json": {"userId": "a", "event": "e", "timestamp": long}}),
        ("POST", "/v1/track", {"json": {"userId": "a", "event": "e", "properties": {long: 1}}}),
        ("POST", "/v1/track", {"content": f'{{"writeKey":"{key}'}),
        ("POST", "/v1/batch", {"json": {"batch": {"writeKey": long}}}),
        ("GET", "/v1/decide", {"params": {"userId": long, "flag": "a"}}),
        ("GET", "/v1/decide", {"params": {"userId": "a", "flag": long}}),
        ("GET", "/v1/decide", {"params": {"userId": "a", "flag": "L" * 256}}),
        ("GET", "/v1/decide", {"params": {"userId": " ", "apiKey": key}}),
        ("POST", "/v1/decide", {"json": {"userId": "a", "flags": [long]}}),
        ("POST", "/v1/admin/traits", {"json": {"key": long, "expression": "1"}}),
        ("POST", "/v1/admin/traits", {"json": {"expression": "1", "apiKey": key}}),
        ("POST", "/v1/admin/flags", {"json": {"key": "a", "users": {long: [1]}}}),
        ("POST", "/v1/admin/flags", {"json": {"key": "a", "description": long}}),
        ("GET", f"/v1/admin/traits/{long}", {}),
        ("GET", f"/v1/admin/users/{long}", {}),
        ("GET", f"/v1/users/{long}/traits", {}),
        ("DELETE", f"/v1/admin/keys/{long}", {}),
        ("GET", "/v1/admin/users/search", {"params": {"limit": long, "apiKey": key}}),
        ("GET", f"/{long}", {"params": {"apiKey": key}}),
    ]
    for method, path, more in calls:
        answer = stack.http.request(method, path, headers=headers, **more)
        assert 400 <= answer.status_code < 500, (path[:40], answer.text[:300])
        assert "L" * (SHOWN_CHARACTERS_MAX + 1) not in answer.text, (path[:40], list(more))
        assert key not in answer.text, (path[:40], list(more))


def test_a_value_is_shown_in_part_however_it_is_nested() -> None:
    """A value of a thousand brackets is written in part, since `repr` of all of it would end Python's stack."""
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]

    assert len(value_for_message(nested)) <= SHOWN_CHARACTERS_MAX
    assert value_for_message({"a": 1}) == "{'a': 1}"
    assert refusal_body(invalid("f", "x" * 500, "r"))["details"]["value"] == "'" + "x" * 96 + "..."
    while nested:
        nested = nested.pop()


def test_no_log_has_a_key(stack: RunningStack) -> None:
    """No log has a key, after good and bad calls with the key in every place where one may be sent."""
    for kind in ("write", "read", "admin"):
        key = stack.keys[kind]  # type: ignore[index]
        for path in ("/v1/decide?userId=a&flag=b&", "/v1/users/a/traits?", "/v1/admin/traits?", "/no/such/path?"):
            stack.http.get(f"{path}apiKey={key}")
        stack.http.post("/v1/track", json={"userId": "a", "event": " ", "writeKey": key})
        stack.http.post("/v1/batch", json={"batch": [{"writeKey": key}], "writeKey": key})
        stack.http.post("/v1/track", content=f'{{"writeKey":"{key}"', headers={"Authorization": f"Bearer {key}"})
        stack.http.get(f"/v1/projects/{key}/settings")
        answer_to(stack.stack.api_url, [f"GET /{key}?apiKey={key} HTTP/9\r\nX: {key}\r\n\r\n".encode()])
    logs = list((stack.settings.home / "logs").glob("*.log*"))
    assert logs
    for log in logs:
        text = log.read_text(errors="replace")
        for kind, key in stack.keys.items():
            assert key not in text, (log.name, kind)
