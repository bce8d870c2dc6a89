"""Who may make which call: the table of all routes against the routes, and against a real stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from serving.access.keys import ADMINISTER, KEY_KINDS, OPEN, VIEW, KeyKind
from serving.api.permissions import PERMISSIONS
from serving.app import create_app
from serving.settings import Settings
from tests.running import RunningStack

#: What stands in a path for each of its parameters: nothing that exists.
NAMED = {"kinds": "traits", "name": "segment_nothing_2026-01-01.csv"}


def calls() -> Iterator[str]:
    """Every method and path that the application has a route for, but for preflight requests and HEAD."""
    app = create_app(Settings(redis_url="redis://127.0.0.1:1"))
    for route in iter_route_contexts(app.routes):
        path = getattr(route, "path_format", None) or route.path
        path = "/" + path.strip("/")  # twins with a slash more answer alike
        yield from (f"{method} {path}" for method in (route.methods or set()) - {"OPTIONS", "HEAD"})


def test_each_route_says_who_may_call_it() -> None:
    """Every route of the application stands in `serving.api.permissions`, and nothing else does."""
    routes = set(calls())

    assert len(routes) > 60
    assert routes - PERMISSIONS.keys() == set(), "name these in PERMISSIONS of serving/api/permissions.py"
    assert PERMISSIONS.keys() - routes == set()


def test_a_viewer_only_reads() -> None:
    """A viewer sees what admins see, but for exports and the data of a person; nothing that it may call is a write.

    An analysis that a viewer starts or cancels changes nothing of the stack.
    """
    seen = {call for call, permission in PERMISSIONS.items() if permission is VIEW}
    kept = {call for call, permission in PERMISSIONS.items() if permission is ADMINISTER}

    assert {call for call in seen if not call.startswith("GET ")} == {
        "POST /v1/admin/validate",
        "POST /v1/admin/preview",
        "POST /v1/admin/analyses",
        "DELETE /v1/admin/analyses/{analysis_id}",
    }
    assert {call for call in kept if call.startswith("GET ") and not call.startswith("GET /v1/export/")} == {
        "GET /v1/admin/users/{user}/data"
    }
    assert all("viewer" not in permission.kinds for call, permission in PERMISSIONS.items() if "export/" in call)


@pytest.fixture(scope="module")
def keys(stack: RunningStack) -> dict[KeyKind, str]:
    """A key of each kind, made by an admin."""
    made = {kind: stack.call("POST", "/v1/admin/keys", json={"kind": kind, "label": "tabled"}) for kind in KEY_KINDS}
    return {kind: answer.json()["key"] for kind, answer in made.items()}


@pytest.mark.xdist_group("stack")
@pytest.mark.parametrize("call", sorted(call for call, permission in PERMISSIONS.items() if permission is not OPEN))
def test_a_call_takes_a_key_of_its_kinds(stack: RunningStack, keys: dict[KeyKind, str], call: str) -> None:
    """Without a key it is 401. With one it is 403 just where the table says so, and the refusal names the kinds."""
    method, path = call.split()
    for name in ("key", "key_id", "user", "export_id", "analysis_id", "kinds", "name"):
        path = path.replace(f"{{{name}}}", NAMED.get(name, "nothing_here"))
    body: dict[str, Any] = {} if method in ("GET", "DELETE") else {"json": {"batch": []}}
    permission = PERMISSIONS[call]

    assert stack.http.request(method, path, **body).status_code == 401
    for kind, key in keys.items():
        answer = stack.http.request(method, path, headers={"Authorization": f"Bearer {key}"}, **body)
        assert answer.status_code != 401, (kind, answer.text)
        assert (answer.status_code == 403) == (kind not in permission.kinds), (kind, answer.text)
        if answer.status_code == 403:
            remedy = f"use a key of kind {' or '.join(permission.kinds)}"
            assert remedy in answer.text


@pytest.mark.xdist_group("stack")
def test_a_viewer_works_with_the_console_and_leaves_no_trace(stack: RunningStack, keys: dict[KeyKind, str]) -> None:
    """It reads definitions, checks and tries expressions, and decides; it cannot make itself an admin's key."""
    stack.define("flag", "viewed", "true")

    def ask(method: str, path: str, **more: Any) -> Any:
        return stack.http.request(method, path, headers={"Authorization": f"Bearer {keys['viewer']}"}, **more)

    assert ask("GET", "/v1/admin/flags/viewed").json()["flag"]["rule"] == "true"
    expression = {"type": "segment", "expression": "true"}
    assert ask("POST", "/v1/admin/validate", json=expression).json()["valid"] is True
    assert ask("POST", "/v1/admin/preview", json=expression).status_code == 200
    assert ask("GET", "/v1/decide", params={"userId": "a", "flag": "viewed"}).json()["allow"] is True
    audited = stack.call("GET", "/v1/admin/audit").json()["total"]
    assert ask("POST", "/v1/admin/keys", json={"kind": "admin"}).status_code == 403
    assert ask("PUT", "/v1/admin/flags/viewed", json={"rule": "false"}).status_code == 403
    assert stack.call("GET", "/v1/admin/audit").json()["total"] == audited
