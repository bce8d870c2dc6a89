"""Keys and refusals as clients of the original TypeScript TinyCDP meet them, against a running stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")

EVENT = {"userId": "auth", "event": "asked"}


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer {key}", 200),
        ("{key}", 200),
        ("Bearer  {key}", 200),
        ("bearer {key}", 401),
        ("Token {key}", 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        ("", 401),
        (None, 401),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/track", "write"),
        ("GET", "/v1/decide?userId=a&flag=auth_flag", "read"),
        ("GET", "/v1/admin/traits", "admin"),
    ],
)
def test_a_key_is_sent_as_ever(
    stack: RunningStack, method: str, path: str, kind: Any, header: str | None, status: int
) -> None:
    """A key comes after the scheme `Bearer`, in these letters, or bare. An empty header is no key."""
    stack.call("POST", "/v1/admin/flags", json={"key": "auth_flag", "rule": "true"})
    headers = {} if header is None else {"Authorization": header.format(key=stack.keys[kind])}
    answer = stack.http.request(method, path, json=EVENT if method == "POST" else None, headers=headers)

    assert answer.status_code == status
    if status == 401:
        assert (answer.json()["code"], answer.json()["message"]) == ("unauthenticated", "Valid API key required")


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/track", "write"),
        ("POST", "/v1/identify", "write"),
        ("GET", "/v1/decide", "read"),
        ("GET", "/v1/admin/flags", "admin"),
        ("GET", "/v1/admin/users/search", "admin"),
    ],
)
def test_a_key_in_the_address_stands_for_the_header(stack: RunningStack, method: str, path: str, kind: Any) -> None:
    """`apiKey` works for every call, as beacons send it. A header counts first, a wrong one too, but for events."""
    query = {"apiKey": stack.keys[kind], "userId": "a", "flag": "auth_flag"}
    stack.call("POST", "/v1/admin/flags", json={"key": "auth_flag", "rule": "true"})

    def status(headers: dict[str, str]) -> int:
        body = EVENT if method == "POST" else None
        return stack.http.request(method, path, params=query, json=body, headers=headers).status_code

    assert status({}) == 200
    if kind != "write":
        assert (status({"Authorization": ""}), status({"Authorization": "Bearer wrong"})) == (401, 401)


@pytest.mark.parametrize(
    ("method", "path", "needed", "refused"),
    [
        ("POST", "/v1/track", "write", ["read"]),
        ("POST", "/v1/identify", "write", ["read"]),
        ("GET", "/v1/decide?userId=a&flag=b", "read", ["write"]),
        ("GET", "/v1/admin/traits", "admin", ["read", "write"]),
        ("GET", "/v1/admin/segments", "admin", ["read", "write"]),
        ("GET", "/v1/admin/flags", "admin", ["read", "write"]),
        ("POST", "/v1/admin/validate", "admin", ["read", "write"]),
        ("POST", "/v1/admin/keys", "admin", ["read", "write"]),
        ("GET", "/v1/admin/users/search", "admin", ["read", "write"]),
        ("GET", "/v1/admin/users/auth", "admin", ["read", "write"]),
    ],
)
def test_a_key_of_another_kind_is_told_which_is_needed(
    stack: RunningStack, method: str, path: str, needed: str, refused: list[Any]
) -> None:
    """A key of another kind is 403 in the original's words (there 500).

    A read key only asks for decisions, a write key only sends.
    """
    for kind in refused:
        answer = stack.call(method, path, kind, json=EVENT if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert answer.json()["message"] == f"{needed} permission required"


def test_every_call_about_people_and_definitions_needs_an_admin_key(stack: RunningStack) -> None:
    """A documented call about people or definitions is 401 without a key, and 403 with a browser's key (D-23)."""
    document = stack.http.get("/openapi.json").json()
    calls = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in document["paths"].items()
        for method in operations
        if path.startswith(("/v1/admin/", "/v1/users/"))
    ]
    statuses = {(call, key): stack.call(*call, key).status_code for call in calls for key in (None, "read", "write")}

    assert len(calls) > 25
    assert {
        request: status for request, status in statuses.items() if status != (401 if request[1] is None else 403)
    } == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "begins"),
    [
        ("POST", "/v1/track", "{", 400, "unable to decode request body:"),
        ("POST", "/v1/identify", "", 400, "unable to decode request body:"),
        ("POST", "/v1/admin/traits", "{", 400, "unable to decode request body: Input data was truncated"),
        ("POST", "/v1/admin/traits", b'{"key": "\xff"}', 400, "unable to decode request body: 'utf-8' codec"),
        ("POST", "/v1/admin/traits", "{}", 400, "unable to decode request body: key"),
        ("POST", "/v1/admin/traits", '{"key": 5, "expression": "1"}', 400, "unable to decode request body: key"),
        ("POST", "/v1/admin/traits", '{"key": null, "expression": "1"}', 400, "unable to decode request body: key"),
        ("POST", "/v1/admin/preview", '{"type": "trait", "expression": "1", "sample": true}', 400, "unable to decode"),
        ("POST", "/v1/admin/flags", '{"key": "a", "enabled": "yes"}', 400, "unable to decode request body: enabled"),
        ("PUT", "/v1/admin/segments/a", "{}", 400, "unable to decode request body: rule"),
        ("POST", "/v1/admin/validate", '{"type": "trait"}', 400, "unable to decode request body: expression"),
        ("POST", "/v1/admin/keys", "{}", 400, "unable to decode request body: kind"),
        ("GET", "/v1/admin/users/search?limit=ten", None, 400, "unable to decode query string: limit"),
        ("GET", "/v1/nothing", None, 404, "endpoint not found"),
        ("GET", "/v2/decide", None, 404, "endpoint not found"),
        ("POST", "/identity/ensure-user", "{}", 404, "endpoint not found"),
        ("POST", "/traits/compute", "{}", 404, "endpoint not found"),
        ("GET", "/segments/user/a", None, 404, "endpoint not found"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_originals_words(
    stack: RunningStack, method: str, path: str, body: str | bytes | None, status: int, begins: str
) -> None:
    """A body that cannot be read is 400; unknown paths are 404, the original's internal calls among them."""
    answer = stack.call(method, path, content=body)

    assert answer.status_code == status
    assert answer.json()["code"] == {400: "invalid_argument", 404: "not_found"}[status]
    assert answer.json()["message"].startswith(begins)


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "status", "code"),
    [
        ("POST", "/v1/track", "write", "{}", 400, "invalid_argument"),
        ("POST", "/v1/track", None, "{}", 401, "unauthenticated"),
        ("POST", "/v1/track", "read", "{}", 403, "permission_denied"),
        ("GET", "/v1/decide?userId=a&flag=none", "read", None, 404, "not_found"),
        ("POST", "/v1/admin/flags", "admin", '{"key": "auth_flag", "rule": "true"}', 409, "already_exists"),
    ],
)
def test_a_refusal_has_the_originals_shape_and_codes(
    stack: RunningStack, method: str, path: str, key: Any, body: str | None, status: int, code: str
) -> None:
    """`code`, `message` and `details`, an object or null, with the status that goes with the code.

    D-25: it was 500 with inner text.
    """
    stack.call("POST", "/v1/admin/flags", json={"key": "auth_flag", "rule": "true"})
    answer = stack.call(method, path, key, content=body)
    refusal = answer.json()

    assert (answer.status_code, refusal["code"], refusal["success"]) == (status, code, False)
    assert {"code", "message", "details"} <= refusal.keys()
    assert refusal["details"] is None or isinstance(refusal["details"], dict)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_the_type_of_a_body_is_not_looked_at(stack: RunningStack, content_type: str) -> None:
    """A body of any Content-Type is read as JSON: beacons send it as text, and the original did not look either."""
    headers = {"Content-Type": content_type} if content_type else {}
    answers = [
        stack.call("POST", "/v1/track", "write", content='{"userId": "auth", "event": "asked"}', headers=headers),
        stack.call("POST", "/v1/admin/validate", content='{"type": "trait", "expression": "1"}', headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
