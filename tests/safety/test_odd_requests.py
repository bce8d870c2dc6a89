"""Requests that nobody sends by mistake: each gets a right answer, none an error of ours, and none leaves a secret."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import Any

import pytest

from tests.running import RunningStack
from tests.safety.raw_requests import Answer, answer_to

pytestmark = pytest.mark.xdist_group("stack")

SECRET = "zq-odd-secret"
EVENT = b'{"userId":"odd","event":"odd","properties":{"v":1}}'
LENGTH = b"%x" % len(EVENT)
METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PATCH", "PUT", "POST", "DELETE", "PROPFIND", "QUERY")

#: Bodies of an event by their encoding, and the statuses that are right.
ENCODED: dict[str, tuple[str, bytes, int]] = {
    "gzip": ("gzip", gzip.compress(EVENT), 200),
    "its older name": ("X-GZIP", gzip.compress(EVENT), 200),
    "gzip of gzip": ("gzip", gzip.compress(gzip.compress(EVENT)), 400),
    "gzip, gzip": ("gzip, gzip", gzip.compress(gzip.compress(EVENT)), 400),
    "gzip of nothing": ("gzip", gzip.compress(b""), 400),
    "nothing for gzip": ("gzip", b"", 400),
    "gzip and more": ("gzip", gzip.compress(EVENT) + b"more", 400),
    "half of it": ("gzip", gzip.compress(EVENT)[:-9], 400),
    "deflate": ("deflate", zlib.compress(EVENT), 400),
    "brotli": ("br", EVENT, 400),
    "no name": ("\xff\xfe", EVENT, 400),
    "plain": ("identity", EVENT, 200),
    "a mark before it": ("", b"\xef\xbb\xbf" + EVENT, 400),
    "UTF-16": ("", EVENT.decode().encode("utf-16"), 400),
    "two of them": ("", EVENT + EVENT, 400),
    "nothing": ("", b"", 400),
}
TYPES = ("text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", ";;;", "x" * 8_000, "")

#: Values of a property in JSON. Those that are no value get 400, alone and in an identify.
VALUES: dict[bytes, int] = {
    **dict.fromkeys((b"-0", b"-0.0", b"1e-320", b"1e-400", b"9007199254740993", b"18446744073709551616"), 200),
    **dict.fromkeys((b"1e400", b"-1e400", b"NaN", b"-Infinity", b"1" * 400, b"01", b"+1", b"1.", b".5", b"0x1"), 400),
    **dict.fromkeys((rb'"\ud800"', rb'"\udfff\ud800"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"'), 400),
    **dict.fromkeys((rb'"\u0000"', b'"\xef\xbb\xbf"', b'{"__proto__":{"":1}}', b"[[[[]]]]", b'"e\xcc\x81"'), 200),
}

#: Whole heads, without a key, and the statuses that are right.
HEADS: dict[str, tuple[bytes, int]] = {
    "HTTP/0.9": (b"GET /health\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/9.9": (b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a tunnel": (b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n", 400),
    "another host's": (b"GET http://other/v1/admin/traits HTTP/1.1\r\nHost: a\r\n\r\n", 401),
    "all of it": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "bytes in a path": (b"GET /v1/users/\xff/traits HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a space in a path": (b"GET /v1/decide userId HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "up and down": (b"GET /v1/users/../admin/traits HTTP/1.1\r\nHost: a\r\n\r\n", 401),
    "slashes": (b"GET //v1//admin//traits HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "a small method": (b"get /health HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a web socket": (b"GET /v1/stream/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 404),
    "HTTP/2 offered": (b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 404),
    "a body to come": (b"POST /v1/admin/traits HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", 401),
    "a key in bytes": (b"GET /v1/decide HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xc3\xa9\xff\r\n\r\n", 401),
    "a login in bytes": (b"GET /v1/decide HTTP/1.1\r\nHost: a\r\nAuthorization: Basic AP86\r\n\r\n", 401),
    "an old client": (b"GET /nothing HTTP/1.0\r\n\r\n", 404),
}

#: Ids and keys in a path or a query.
NAMES = ("%C3%A9", "e%CC%81", "%EF%BC%A1", "%E2%80%A8", "%00", "%0D%0AX:%20y", "%2e%2e", "%ED%A0%80", "%FF", "%C0%AF")
NAMES += (
    "%20",
    "%E2%80%AE",
    "user:",
    "user:anon:a",
    ":",
    "%2525",
    "%252F",
    "%3F%23",
    "+",
    "%7B%22a%22%3A1e400%7D",
    SECRET,
)
PATHS = (
    ("GET", "/v1/users/{}/traits"),
    ("GET", "/v1/admin/users/{}"),
    ("GET", "/v1/admin/users/{}/events"),
    ("GET", "/v1/admin/users/{}/identity"),
    ("GET", "/v1/admin/users/a/events?cursor={}"),
    ("GET", "/v1/admin/users/a/events?from={}"),
    ("GET", "/v1/admin/users/search?query={}&limit={}"),
    ("GET", "/v1/decide?userId={}&flag={}&explain={}"),
    ("GET", "/v1/admin/flags/{}"),
    ("GET", "/v1/admin/segments/{}/members"),
    ("GET", "/v1/admin/events?after={}"),
    ("GET", "/v1/admin/rejected?cursor={}"),
    ("GET", "/v1/admin/analyses/{}"),
    ("GET", "/v1/export/{}"),
    ("GET", "/v1/stream/{}"),
    ("GET", "/v1/projects/{}/settings"),
    ("POST", "/ofrep/v1/evaluate/flags/{}"),
    ("POST", "/v1/admin/users/{}/unlink"),
    ("DELETE", "/v1/admin/keys/{}"),
    ("DELETE", "/v1/admin/flags/{}"),
)


def sent(stack: RunningStack, lines: bytes, body: bytes, length: bytes | None = None) -> Answer:
    """The answer to an event with a key and these lines of the head."""
    key = stack.keys["write"].encode()
    size = b"Content-Length: %d\r\n" % len(body) if length is None else length
    head = b"POST /v1/track HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer " + key + b"\r\n" + lines + size + b"\r\n"
    return answer_to(stack.stack.api_url, [head + body])


@pytest.mark.parametrize("case", ENCODED)
def test_a_body_is_what_its_encoding_says(stack: RunningStack, case: str) -> None:
    """Gzip once, or nothing; all else is 400, whatever it is called."""
    encoding, body, status = ENCODED[case]
    line = b"Content-Encoding: " + encoding.encode("latin-1") + b"\r\n" if encoding else b""

    assert sent(stack, line, body).status == status


def test_the_type_of_a_body_says_nothing(stack: RunningStack) -> None:
    """JSON is read as JSON, whatever its client calls it, once or twice; for admins, too."""
    admin = b'{"type":"trait","expression":"1 + 1"}'
    for kind in TYPES:
        line = f"Content-Type: {kind}\r\n".encode() * 2
        assert sent(stack, line, EVENT).status == 200, kind
        answer = stack.call("POST", "/v1/admin/validate", content=admin, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["valid"]) == (200, True), kind


def test_chunks_are_joined_or_refused(stack: RunningStack) -> None:
    """Extensions and single bytes are taken; a length that is none, or more than the body, is refused."""
    chunked = b"Transfer-Encoding: chunked\r\n"
    end = b"\r\n" + EVENT + b"\r\n0\r\n\r\n"
    good = (LENGTH + b";a=b;c" + end, LENGTH + b";a=" + b"b" * 100_000 + end)
    single = b"".join(b"1\r\n%c\r\n" % byte for byte in EVENT) + b"0\r\n\r\n"
    bad = (b"f" * 18 + end, b"-1" + end, b"0x" + LENGTH + end, LENGTH + b" \n" + EVENT + b"\n0\n\n")

    assert [sent(stack, chunked, body, b"").status for body in (*good, single)] == [200] * 3
    assert [sent(stack, chunked, body, b"").status for body in bad] == [400] * 4


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_one_everywhere_or_nowhere(stack: RunningStack, value: bytes) -> None:
    """In an event, an identify and a batch. In the place of a flag, an id or a time, it is no error of ours."""
    status = VALUES[value]
    event = b'{"type":"track","userId":"odd","event":"odd","properties":{"v":' + value + b"}}"
    calls: list[tuple[str, Any, bytes]] = [
        ("/v1/track", "write", event),
        ("/v1/identify", "write", b'{"userId":"odd","traits":{"v":' + value + b"}}"),
    ]
    for path, key, body in calls:
        answer = stack.call("POST", path, key, content=body)
        assert answer.status_code == status, (path, answer.text)
    batch = stack.call(
        "POST", "/v1/batch", "write", content=b'{"batch":[' + event + b"," + EVENT[:-1] + b',"type":"track"}]}'
    )
    assert (batch.status_code, batch.json()["accepted"]) == (200, 2 if status == 200 else 1), batch.text
    others: list[tuple[str, Any, bytes]] = [
        ("/v1/admin/flags", "admin", b'{"key":"odd flag","rule":"true","rollout":' + value + b"}"),
        ("/v1/admin/validate", "admin", b'{"type":"flag","expression":' + value + b"}"),
        ("/ofrep/v1/evaluate/flags", "read", b'{"context":{"targetingKey":"odd","v":' + value + b"}}"),
        ("/v1/decide", "read", b'{"userId":' + value + b"}"),
        ("/v1/track", "write", b'{"userId":"odd","event":"odd","timestamp":' + value + b"}"),
    ]
    for path, key, body in others:
        assert stack.call("POST", path, key, content=body).status_code in (200, 400), path


@pytest.mark.parametrize("case", HEADS)
def test_a_head_is_read_in_one_way(stack: RunningStack, case: str) -> None:
    """What is no request of HTTP/1 is 400; a path is what it says, and no way around a key."""
    head, status = HEADS[case]

    assert answer_to(stack.stack.api_url, [head]).status == status


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_on_every_path(stack: RunningStack, name: str) -> None:
    """Whatever its letters are: it is known, unknown, or refused. Nobody's key and no header comes out of it."""
    for method, path in PATHS:
        answer = stack.call(method, path.replace("{}", name), content=b"{}" if method == "POST" else None)
        assert answer.status_code in (200, 400, 404, 405, 409), (path, answer.status_code, answer.text)
        assert "x" not in answer.headers, path
        assert all(key not in answer.text for key in stack.keys.values()), path


def test_every_method_has_its_answer_on_every_path(stack: RunningStack) -> None:
    """With and without a key: none is our error, TRACE is never answered, and the head of an answer has no body."""
    document = stack.http.get("/openapi.json").json()
    for path in document["paths"]:
        for method in METHODS:
            for key in (None, "write"):
                headers = {"Origin": "null", "Cookie": f"a={SECRET}", "X-Request-Id": SECRET}
                url = re.sub(r"[{}]", "", path)
                answer = stack.call(method, url, key, headers=headers, content=b"" if method == "POST" else None)  # type: ignore[arg-type]
                case = (method, path, answer.status_code)
                assert answer.status_code < 500 or url.endswith("/health"), case
                assert "access-control-allow-credentials" not in answer.headers, case
                assert answer.headers.get("x-request-id") != SECRET, case
                if method in ("TRACE", "PROPFIND", "QUERY", "PATCH") and key is None:
                    assert answer.status_code in (401, 404, 405), case
                if method == "HEAD":
                    assert answer.content == b"", case


def test_nothing_of_it_is_in_a_log(stack: RunningStack) -> None:
    """Every line is JSON; none has an id that was asked for, a cookie or a request id that somebody made up."""
    stack.call("GET", f"/v1/admin/users/{SECRET}", headers={"X-Request-Id": SECRET, "Cookie": SECRET})
    stack.call("GET", f"/{SECRET}?a={SECRET}", None, headers={"User-Agent": f'{SECRET}"}}', "Referer": SECRET})
    answer_to(stack.stack.api_url, [f"GET /{SECRET} HTTP/0.9\r\n{SECRET}: a\r\n\r\n".encode()])

    text = (stack.settings.home / "logs" / "api.log").read_text()
    assert SECRET not in text and "Traceback" not in text
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines())
