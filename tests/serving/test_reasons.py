"""Every 503 says in the log why: over all routes, whichever part is away."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import SecretStr
from starlette.routing import Route
from structlog.testing import capture_logs

import serving
from serving.app import HOT, create_app, routes_of
from serving.http.hot_paths import Shortcut
from serving.settings import Settings
from tests.pipelines.world import World
from tests.serving.local_api import NOWHERE

#: A key of each kind that routes take.
KEYS = ("admin", "write", "read")
#: A body that most routes understand.
BODY = {
    "userId": "ada",
    "previousId": "eve",
    "anonymousId": "a1",
    "type": "track",
    "event": "purchase",
    "batch": [{"type": "track", "userId": "ada", "event": "purchase"}],
    "key": "k1",
    "flag": "k1",
    "rule": "true",
    "expression": "events.purchase.count",
    "kind": "read",
    "label": "shop",
    "ids": ["r1"],
    "context": {"targetingKey": "ada"},
}
#: What may stand in the braces of a path.
NAMES = {"kind": "traits", "user": "ada", "name": "export_k1_2026-01-01.csv"}


def without_redis(redis_url: str, folder: Path) -> Settings:
    """Nobody listens at the address of Redis."""
    return settings_of(NOWHERE, folder)


def unrecovered(redis_url: str, folder: Path) -> Settings:
    """An empty Redis, which no drain has recovered: definitions are being restored, shards are not ready."""
    return settings_of(redis_url, folder)


def without_lake(redis_url: str, folder: Path) -> Settings:
    """A system whose lake is a file, so that nothing can be read or written there."""
    World(redis_url, folder / "world", shards=16).recover()
    (folder / "lake").write_text("no folder")
    return settings_of(redis_url, folder)


def with_another_lake(redis_url: str, folder: Path) -> Settings:
    """A system on the Redis of another one, whose lake it is not told."""
    World(redis_url, folder / "world", shards=16).recover()
    return settings_of(redis_url, folder)


def settings_of(redis_url: str, folder: Path) -> Settings:
    keys: dict[str, Any] = {f"{kind}_key": SecretStr(f"the-{kind}-key") for kind in KEYS}
    return Settings(home=folder, redis_url=redis_url, **keys)


@asynccontextmanager
async def calling(settings: Settings) -> AsyncIterator[Callable[[str, str, str], Any]]:
    """Calls an API of these settings, as it lives: (method, path, kind of key) to an answer."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=Shortcut(app, HOT), client=("127.0.0.1", 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60) as http:

            async def call(method: str, path: str, kind: str) -> httpx.Response:
                return await http.request(
                    method,
                    path,
                    headers={"Authorization": f"Bearer the-{kind}-key"},
                    params={"userId": "ada", "flag": "k1", "event": "purchase", "property": "amount", "q": "ada"},
                    json=BODY if method in ("POST", "PUT") else None,
                )

            yield call


def paths() -> list[tuple[str, str]]:
    """Every route with each of its methods."""
    app = create_app(Settings(redis_url=NOWHERE))
    found = set()
    for route in routes_of(app):
        if isinstance(route, Route):
            path = route.path_format
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", NAMES.get(name, "k1"))
            found |= {(method, path) for method in route.methods or ()}
    return sorted(found)


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(
    ("state", "at_least"),
    [(without_redis, 80), (unrecovered, 60), (without_lake, 15), (with_another_lake, 15)],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_every_503_has_its_reason_in_the_log(
    redis_url: str, tmp_path: Path, state: Callable[[str, Path], Settings], at_least: int
) -> None:
    """Each route with each kind of key: an answer that says 503 has one line, a warning, with the reason."""
    settings = state(redis_url, tmp_path)
    answered: dict[tuple[str, str, str], httpx.Response] = {}

    async def ask() -> None:
        async with calling(settings) as call:
            for method, path in paths():
                for kind in KEYS:
                    answered[method, path, kind] = await call(method, path, kind)

    with capture_logs() as captured:
        anyio.run(ask)

    lines = {line["request_id"]: line for line in captured if line["event"] == "answered"}
    away = {call: answer for call, answer in answered.items() if answer.status_code == 503}
    silent = {
        call: lines.get(answer.headers["x-request-id"])
        for call, answer in away.items()
        if not (lines.get(answer.headers["x-request-id"]) or {}).get("reason")
    }
    assert silent == {}
    assert {lines[answer.headers["x-request-id"]]["log_level"] for answer in away.values()} == {"warning"}
    assert len({(method, path) for method, path, _ in away}) >= at_least
    assert {call: answer.text for call, answer in answered.items() if answer.status_code == 500} == {}


def test_nobody_answers_503_but_by_a_refusal_that_the_log_tells() -> None:
    """The number stands where refusals become answers, which take the reason along; where health gives its own; where
    too many connections are told in a line of their own; and where answers are documented.

    A new place must leave a reason (`serving.http.answers.REASON`), and be named here.
    """
    root = Path(serving.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == 503
    }
    assert found == {"http/answers.py", "api/health.py", "http/connection.py", "api/ofrep.py"}
