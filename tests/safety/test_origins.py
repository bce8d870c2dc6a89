"""Whose pages may call: `TINYCDP_CORS_ORIGINS`, in the preflights of browsers and in the answers that they show."""

from __future__ import annotations

import httpx
import pytest

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")

PATHS = [
    ("POST", "/v1/track"),
    ("POST", "/v1/batch/"),
    ("POST", "/v1/t"),
    ("POST", "/v1/import"),
    ("POST", "/v1/m"),
    ("GET", "/v1/decide"),
    ("POST", "/v1/decide"),
    ("GET", "/v1/users/ada/traits"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/ofrep/v1/evaluate/flags/some"),
    ("GET", "/v1/projects/key/settings"),
    ("POST", "/v1/admin/traits"),
    ("DELETE", "/v1/admin/traits/some"),
    ("GET", "/health"),
]


def answer_to(url: str, origin: str, method: str, path: str) -> httpx.Response:
    """The answer to a preflight, which a browser sends before the request itself."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
    }
    return httpx.options(url + path, headers=headers)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_path_answers_a_browsers_question(stack: RunningStack, narrow: str, method: str, path: str) -> None:
    """Every path allows anybody's pages by default, and only named origins where the setting names some."""
    open_to_all = answer_to(stack.stack.api_url, "https://any.example", method, path)
    assert open_to_all.status_code == 200
    assert open_to_all.headers["access-control-allow-origin"] == "https://any.example"
    assert method in open_to_all.headers["access-control-allow-methods"]
    assert "x-retry-count" in open_to_all.headers["access-control-allow-headers"]

    assert answer_to(narrow, "https://www.shop.example", method, path).status_code == 200
    assert answer_to(narrow, "https://other.example", method, path).status_code == 400


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://shop.example.evil.example",
        "https://evil.example/https://shop.example",
        "https://shopxexample",
        "http://shop.example",
        "https://shop.example:8443",
        "https://SHOP.example",
        "https://shop.example\x0b",
        "",
    ],
)
def test_an_origin_that_only_looks_like_one_of_them_is_not(stack: RunningStack, narrow: str, origin: str) -> None:
    """Origins are compared as a whole, dots as dots: an origin that only looks like a named one is not allowed."""
    key = {"Authorization": f"Bearer {stack.keys['read']}"}
    try:
        answer = httpx.get(f"{narrow}/v1/decide?userId=a&flag=b", headers={**key, "Origin": origin})
    except httpx.LocalProtocolError:
        return  # no client can say so
    assert "access-control-allow-origin" not in answer.headers


def test_answers_to_pages_differ_by_origin_and_carry_no_cookies(stack: RunningStack) -> None:
    """An answer to a page varies by origin, for caches, and no answer allows the credentials of browsers."""
    key = {"Authorization": f"Bearer {stack.keys['read']}"}
    for path in ("/v1/decide?userId=a&flag=b", "/v1/decide", "/health", "/nothing"):
        answer = httpx.get(stack.stack.api_url + path, headers={**key, "Origin": "https://any.example"})
        assert answer.headers["access-control-allow-origin"] == "https://any.example", path
        assert "Origin" in answer.headers["vary"], path
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers
