"""Segment's tracking API over raw requests: where clients send, how they pack it, where they put the key."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from serving.settings import Settings
from tests.running import RunningStack
from tests.serving.local_api import answers, get
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

KINDS = ("track", "identify", "page", "screen", "group", "alias")


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack that counts what the tests here send."""
    stack.define("trait", "path_orders", "events.path_order.count")
    stack.define("trait", "path_pages", 'events["Page Viewed"].name.last')
    stack.define("trait", "path_plan", "profile.path_plan")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def basic(name: str) -> dict[str, str]:
    """The header of a client that sends its key as Basic's user name."""
    return {"Authorization": "Basic " + base64.b64encode(name.encode()).decode()}


def event_of(kind: str, **more: Any) -> dict[str, Any]:
    """A good event of each kind."""
    of_kinds: dict[str, dict[str, Any]] = {
        "track": {"event": "path_order"},
        "group": {"groupId": "acme", "traits": {"seats": 5}},
        "alias": {"previousId": "somebody-before"},
    }
    return {"type": kind, "userId": "path", **of_kinds.get(kind, {}), **more}


@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize("path", [*KINDS, *(kind[0] for kind in KINDS)])
def test_every_kind_has_two_paths(defined: RunningStack, path: str, end: str) -> None:
    """Each kind is taken under its name and its first letter, with and without a slash at the end."""
    kind = next(kind for kind in KINDS if path in (kind, kind[0]))
    answer = defined.call("POST", f"/v1/{path}{end}", "write", json=event_of(kind, userId=f"path-{path}-{len(end)}"))

    assert (answer.status_code, answer.json()["success"]) == (200, True)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/v1/batch/", "/v1/b/", "/v1/import/"])
def test_every_path_of_batches_takes_every_kind(defined: RunningStack, path: str) -> None:
    """All six kinds pass in one batch, under each of its paths."""
    user = f"batch-of-{path.replace('/', '-')}"
    answer = defined.call("POST", path, "write", json={"batch": [event_of(kind, userId=user) for kind in KINDS]})

    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (200, 6, [])
    assert defined.traits(user)["traits"]["path_orders"] == 1


def test_a_page_counts_under_its_event_name_with_its_name_as_a_property(defined: RunningStack) -> None:
    """`page` is the event "Page Viewed"; the page's name, sent beside the properties, is one of them."""
    defined.call("POST", "/v1/page", "write", json={"userId": "reader", "name": "Pricing", "properties": {"url": "/p"}})

    assert defined.traits("reader")["traits"]["path_pages"] == "Pricing"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
@pytest.mark.parametrize("packed", [False, True])
def test_a_body_is_json_whatever_its_type_says(defined: RunningStack, content_type: str | None, packed: bool) -> None:
    """The Content-Type is not looked at, and Content-Encoding: gzip is honoured under any."""
    user = f"typed-{packed}-{content_type}".replace("/", "-")
    text = json.dumps({"batch": [event_of("track", userId=user)]}).encode()
    headers = {} if content_type is None else {"Content-Type": content_type}
    if packed:
        headers["Content-Encoding"], text = "gzip", gzip.compress(text)
    answer = defined.call("POST", "/v1/batch", "write", content=text, headers=headers)

    assert answer.status_code == 200, answer.text
    assert defined.traits(user)["traits"]["path_orders"] == 1


@pytest.mark.parametrize("path", ["/v1/t", "/v1/batch"])
def test_the_key_is_found_wherever_clients_put_it(defined: RunningStack, path: str) -> None:
    """Basic's user name with and without the colon, the body's writeKey, an event's, and Bearer beside a body's key."""
    key, user = defined.keys["write"], f"keyed-{path[4:]}"

    def send(headers: dict[str, str], where: str | None = None, key: str = key) -> int:
        event = event_of("track", userId=user)
        body = event if path == "/v1/t" else {"batch": [event]}
        if where is not None:
            (event if where == "event" else body)["writeKey"] = key
        return defined.http.post(path, json=body, headers=headers).status_code

    sent = [
        send(basic(f"{key}:")),
        send(basic(key)),
        send(basic(f"{key}:secret")),
        send({}, "body"),
        send({}, "event"),
        send({"Authorization": "Bearer an-oauth-token"}, "body"),
        send({"Authorization": f"Bearer {key}"}),
        send(basic(":"), "body"),
    ]
    refused = [
        send({}),
        send(basic("unknown:")),
        send({}, "body", "unknown"),
        send({"Authorization": "Basic not base64"}),
        send({"Authorization": "Basic"}),
    ]

    assert sent == [200] * len(sent)
    assert refused == [401] * len(refused)
    assert defined.traits(user)["traits"]["path_orders"] == len(sent)


PLACES = ("Bearer", "body", "event", "query")


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", ""])
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(PLACES, 2)))
def test_the_first_key_that_is_known_decides(defined: RunningStack, scheme: str, first: str, second: str) -> None:
    """The order is header, body, event, query; of two known keys the later is not looked at, whatever it may do."""

    def sent(**keys: str) -> int:
        event = event_of("track", userId="decided") | ({"writeKey": keys["event"]} if "event" in keys else {})
        body = {"batch": [event]} | ({"writeKey": keys["body"]} if "body" in keys else {})
        header = keys.get("Bearer")
        told = basic(f"{header}:")["Authorization"] if scheme == "Basic" else f"{scheme} {header}".strip()
        headers = {} if header is None else {"Authorization": told}
        params = {"apiKey": keys["query"]} if "query" in keys else {}
        return defined.http.post("/v1/batch", json=body, headers=headers, params=params).status_code

    write, read = defined.keys["write"], defined.keys["read"]
    assert sent(**{first: write, second: read}) == 200
    assert sent(**{first: read, second: write}) == 403
    assert sent(**{first: write, second: "unknown"}) == 200
    assert sent(**{first: "unknown", second: write}) == 200
    assert sent(**{first: "unknown", second: read}) == 403
    assert sent(**{first: "unknown", second: "unknown"}) == 401


def test_of_the_events_of_a_batch_the_first_that_has_a_key_speaks_for_all(defined: RunningStack) -> None:
    """An unknown key of an event is not passed over for the next event's: a batch comes from one client."""
    keys = {"known": defined.keys["write"], "unknown": "unknown"}

    def sent(*named: str | None) -> int:
        batch = [event_of("track") | ({} if name is None else {"writeKey": keys[name]}) for name in named]
        return defined.http.post("/v1/batch", json={"batch": batch}).status_code

    assert sent(None, "known", "unknown") == 200
    assert sent("unknown", "known") == 401


def test_a_body_that_is_no_json_is_told_to_whoever_may_know(defined: RunningStack) -> None:
    """The refusal is 400 with a known key, and 401 with no key anywhere or an unknown one in the header."""
    refused = [
        defined.http.post("/v1/batch", content=b"{", headers=headers).status_code
        for headers in (basic(defined.keys["write"]), {}, {"Authorization": "Bearer unknown"}, basic("unknown"))
    ]

    assert refused == [400, 401, 401, 401]


def test_a_key_that_may_only_read_writes_nothing(defined: RunningStack) -> None:
    """A known key of another kind is 403, wherever it is."""
    body = {"batch": [event_of("track")], "writeKey": defined.keys["read"]}

    assert defined.http.post("/v1/batch", json=body).status_code == 403
    assert defined.http.post("/v1/batch", json=body, headers=basic(defined.keys["read"] + ":")).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"batch": 5}', 400), (b'{"batch": null}', 400), (b"{}", 400), (b"\xff\xfe", 400)],
)
def test_every_refusal_has_a_code_and_a_message(defined: RunningStack, body: bytes, status: int) -> None:
    """Older Python clients read both from every error, and retry for ever where one is missing."""
    answer = defined.call("POST", "/v1/batch", "write", content=body)

    assert answer.status_code == status
    assert answer.json()["success"] is False
    assert isinstance(answer.json()["code"], str)
    assert isinstance(answer.json()["message"], str)


def test_a_body_without_json_needs_the_right_key_first(defined: RunningStack) -> None:
    """With an unknown key the refusal says nothing about the body."""
    assert defined.http.post("/v1/batch", content=b"{", headers=basic("unknown:")).status_code == 401


def test_a_browser_may_send_from_any_page(defined: RunningStack) -> None:
    """A preflight allows the headers that analytics.js sets, for hours; the answer itself names the origin.

    D-37: browsers were blocked.
    """
    origin = {"Origin": "https://shop.example"}
    preflight = defined.http.options(
        "/v1/t",
        headers={
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
        },
    )
    sent = defined.http.post("/v1/t", json=event_of("track"), headers={**basic(defined.keys["write"] + ":"), **origin})
    refused = defined.http.post("/v1/t", json=event_of("track"), headers=origin)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
    assert {"authorization", "content-type", "x-retry-count"} <= set(
        preflight.headers["access-control-allow-headers"].split(",")
    )
    assert {"POST", "GET", "OPTIONS"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
    assert int(preflight.headers["access-control-max-age"]) > 0
    assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (200, origin["Origin"])
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin["Origin"])


@pytest.mark.parametrize("path", ["/v1/t", "/v1/track/", "/v1/b", "/v1/batch", "/v1/m"])
def test_options_says_what_may_be_sent(defined: RunningStack, path: str) -> None:
    """OPTIONS that is no preflight is answered too, and other methods say which are allowed."""
    options, wrong = defined.http.options(path), defined.http.get(path)

    assert (options.status_code, options.headers["allow"]) == (204, "POST, OPTIONS")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"]


def test_what_analytics_js_measures_of_itself_is_forgotten(defined: RunningStack) -> None:
    """/v1/m answers 200 without a key, since the client sends none."""
    answer = defined.http.post("/v1/m", content=b'{"series":[]}', headers={"Content-Type": "text/plain"})

    assert (answer.status_code, answer.json()) == (200, {"success": True})


def test_the_settings_that_clients_load_name_this_server(defined: RunningStack) -> None:
    """The one integration is this server; a key that is not known, or may not write, is 404."""
    key, at = defined.keys["write"], httpx.URL(defined.stack.api_url)
    answer = defined.http.get(f"/v1/projects/{key}/settings")

    assert answer.status_code == 200
    assert answer.json()["integrations"] == {
        "Segment.io": {"apiKey": key, "apiHost": f"{at.host}:{at.port}/v1", "protocol": "http"}
    }
    assert defined.http.get("/v1/projects/unknown/settings").status_code == 404
    assert defined.http.get(f"/v1/projects/{defined.keys['read']}/settings").status_code == 404


def test_behind_a_proxy_the_settings_name_what_clients_reach(redis_url: str, tmp_path: Path) -> None:
    """`TINYCDP_PUBLIC_URL`, with its scheme and path: a page on https may not send to http."""
    settings = Settings(
        home=tmp_path, redis_url=redis_url, write_key=SecretStr("w" * 32), public_url="https://cdp.example.com/track/"
    )
    (answer,) = answers(settings, [get(f"/v1/projects/{'w' * 32}/settings")])

    assert answer.json()["integrations"]["Segment.io"] == {
        "apiKey": "w" * 32,
        "apiHost": "cdp.example.com/track/v1",
        "protocol": "https",
    }
