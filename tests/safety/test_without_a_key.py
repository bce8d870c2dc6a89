"""What is answered to somebody without a key: a refusal about the key, before anything that costs time."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest

from serving.api.openapi import KEYS
from tests.running import RunningStack
from tests.safety.raw_requests import answer_to

pytestmark = pytest.mark.xdist_group("stack")

#: Bodies that cost time or are refused for themselves.
BODIES = {
    "an empty object": b"{}",
    "no JSON": b"{",
    "a deep one": b"[" * 10_000 + b"]" * 10_000,
    "members of gzip": gzip.compress(b"") * 2_000,
}


def calls(stack: RunningStack) -> list[tuple[str, str]]:
    """Every documented call that takes a key."""
    document: dict[str, Any] = stack.http.get("/openapi.json").json()
    return [
        (method.upper(), re.sub(r"[{}]", "", path))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "security" in operation
    ]


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("key", ["", "nobodys"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_route_refuses_for_the_key_first(stack: RunningStack, body: bytes, key: str) -> None:
    """Whatever the body is, a call without a known key is 401."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body.startswith(b"\x1f"):
        headers["Content-Encoding"] = "gzip"
    asked = [call for call in calls(stack) if call[0] != "GET"]
    statuses = {call: stack.http.request(*call, content=body, headers=headers).status_code for call in asked}

    assert len(asked) > 30 and KEYS
    by_header = {call: status for call, status in statuses.items() if call[1].startswith(BEFORE)}
    assert by_header == dict.fromkeys(by_header, 401) and len(by_header) > 15
    if not headers.get("Content-Encoding"):  # a body that cannot be unpacked may hold any key
        assert statuses == dict.fromkeys(asked, 401)


#: Calls whose key stands in the header or the query alone.
BEFORE = ("/v1/admin/", "/v1/export/", "/v1/decide", "/ofrep/")


def test_a_body_is_not_waited_for_without_a_key(stack: RunningStack) -> None:
    """The refusal comes before the body: of the megabyte that is announced here, no byte is sent."""
    head = b"POST /v1/admin/traits HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000\r\n\r\n"

    assert answer_to(stack.stack.api_url, [head]).status == 401


def test_the_document_is_served_as_bytes_with_a_tag(stack: RunningStack) -> None:
    """`/openapi.json` and `/docs` have an ETag, and answer 304 to who has it."""
    for path in ("/openapi.json", "/docs"):
        first = stack.http.get(path)
        again = stack.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
        assert stack.http.head(path).status_code == 200


def test_the_page_of_calls_asks_no_other_host(stack: RunningStack) -> None:
    """`/docs` names every call, runs no script, and loads nothing."""
    page = stack.http.get("/docs")

    assert all(path in page.text for path in stack.http.get("/openapi.json").json()["paths"])
    assert "<script" not in page.text and not re.search(r'(src|href)="(?!openapi\.json")', page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "body", [b'{"writeKey":"nobodys","batch":[', b'{"userId":"a","writeKey":"nobodys"', b"[" * 10_000]
)
def test_a_body_without_a_known_key_is_not_decoded(stack: RunningStack, body: bytes) -> None:
    """Text that is no JSON is refused for its key, which is looked for before."""
    for path in ("/v1/batch", "/v1/track", "/v1/import"):
        assert stack.http.post(path, content=body).status_code == 401
        assert stack.call("POST", path, "write", content=body).status_code == 400
