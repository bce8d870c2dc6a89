"""How much work anybody can make the event loop do without a key: counted over all routes, in function calls.

Time would tell of the machine. A call of Python or of C is some tenths of a microsecond, unless it is given much to
do: so bodies are not unpacked or decoded in the loop at all, and what else is long is bounded in `serving.http`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import anyio
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from serving.access.signing import Signer
from serving.api.health import NEEDS
from serving.app import HOT, create_app, engine_of, routes_of
from serving.http import bodies
from serving.http.connection import ENCODED_MAX, HEAD_BYTES_MAX, HEADERS_MAX, PARAMETERS_MAX
from serving.http.hot_paths import Shortcut
from serving.lookups.analysis_runs import AnalysisRuns
from serving.lookups.export_runs import ExportRuns
from serving.settings import Settings
from tests.pipelines.world import World
from tests.serving.local_api import NOWHERE

#: Calls of functions that a request without a key costs at the most. Some ten thousand are a millisecond.
CALLS_MAX = 9_000
#: And each of so many that come at once and need a look at Redis.
CALLS_OF_CROWD_MAX, CROWD = 3_500, 32
#: What is not done in the event loop for somebody without a key.
DEAR = {bodies.gunzipped.__code__, bodies.json_of.__code__, bodies.require_flat.__code__}

#: The longest id that a path can name, encoded; and the one with the most slashes.
ID = "%F0%9F%90%8C" * 255 + "%2F"
SLASHES = "%2F" * 128 + "/" * 128
#: A stream's ticket that nobody gave out, and that looks like one: keys of its tag are looked for.
TICKET = "0" * 52
LONG = b"x" * (HEAD_BYTES_MAX - 2_000)
JSON = b'{"batch":[' + b'{"userId":"a","event":"e"},' * 18_000 + b'{"userId":"a"}]}'


class Sent(NamedTuple):
    """What is sent beside method and path."""

    body: bytes = b""
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


def parameters(encoded: int) -> bytes:
    """As many parameters as a query may have, with so many encoded bytes."""
    return b"&".join([b"a" + b"%41" * (encoded // PARAMETERS_MAX) + b"=1"] * (PARAMETERS_MAX - 1))


GZIP = (b"content-encoding", b"gzip")
KINDS = {
    "nothing": Sent(),
    "JSON": Sent(JSON),
    "deep JSON": Sent(b"[" * 200_000 + b"]" * 200_000),
    "names of keys": Sent(b'{"writeKey":"nobodys' + b'","writeKey":"' * 30_000 + b'"}'),
    "packed": Sent(gzip.compress(JSON), headers=(GZIP,)),
    "packed members": Sent(gzip.compress(b"") * 20_000, headers=(GZIP,)),
    "a bomb": Sent(gzip.compress(b" " * 50_000_000), headers=(GZIP,)),
    "a long query": Sent(query=parameters(ENCODED_MAX)),
    "path and query": Sent(query=parameters(ENCODED_MAX - ID.count("%"))),
    "a key in the query": Sent(query=parameters(ENCODED_MAX - 1_000) + b"&apiKey=" + b"%F0%9F%90%8C" * 250),
    "many headers": Sent(headers=((b"x-a", b"x" * 600),) * HEADERS_MAX),
    "a long key": Sent(headers=((b"authorization", b"Bearer " + LONG),)),
    "a long login": Sent(headers=((b"authorization", b"Basic " + base64.b64encode(LONG)[: len(LONG)]),)),
    "cookies": Sent(headers=((b"cookie", b"a=b; " * (len(LONG) // 5)),)),
    "tags": Sent(headers=((b"if-none-match", b"," * len(LONG)),)),
    "an origin": Sent(headers=((b"origin", b"https://" + LONG),)),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of that API."""
    return Settings(home=tmp_path_factory.mktemp("home"), redis_url=NOWHERE)


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    """An API in this process, whose Redis is away: nobody is asked about keys."""
    made = create_app(settings)
    made.openapi()
    return made


def calls(app: FastAPI) -> list[tuple[str, str]]:
    """Every route with each of its methods, and paths and methods that have none; ids are as long as they may be."""
    found = {
        (method, route.path_format.replace("{user}", ID).replace("{", "").replace("}", ""))
        for route in routes_of(app)
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert len(found) > 120
    named = (f"/v1/stream/{ID}", f"/v1/stream/{TICKET}", f"/no/{ID}")
    people = [path for id in (ID, SLASHES) for path in (f"/v1/admin/users/{id}", f"/v1/users/{id}/traits")]
    return sorted(found | {(method, path) for method in ("PATCH", "POST", "GET") for path in (*named, *people)})


async def work_of(app: FastAPI, method: str, path: str, sent: Sent, times: int = 1) -> tuple[set[int], int, set[str]]:
    """The statuses of requests that are sent at once, the calls that each costs in this thread, and the dear functions
    among them."""
    count, dear = 0, set()

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")
        if event == "call" and frame.f_code in DEAR:
            dear.add(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        if times == 1:
            statuses = [await status_of(app, method, path, sent)]
        else:
            statuses = await asyncio.gather(*(status_of(app, method, path, sent) for _ in range(times)))
    finally:
        sys.setprofile(None)
    return set(statuses), count // times, dear


async def status_of(app: FastAPI, method: str, path: str, sent: Sent) -> int:
    """The status of a request."""
    statuses: list[int] = []
    messages = [{"type": "http.request", "body": sent.body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    length = (b"content-length", b"%d" % len(sent.body))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "root_path": "",
        "raw_path": path.encode(),
        "query_string": sent.query,
        "headers": [(b"host", b"api"), *((length,) if sent.body else ()), *sent.headers],
        "client": ("127.0.0.1", 1),
        "server": ("api", 80),
    }
    scope["path"] = unquote(path)
    await Shortcut(app, HOT)(scope, receive, send)
    return statuses[0]


@pytest.mark.deep(kept=4)
@pytest.mark.parametrize("kind", KINDS)
def test_whoever_has_no_key_costs_little(app: FastAPI, settings: Settings, kind: str) -> None:
    """On every route a request without a key costs a bounded number of calls, whatever comes with it; its body is not
    unpacked, decoded or walked through in the event loop."""
    costly: dict[str, Any] = {}

    async def ask() -> None:
        engine = app.state.engine = engine_of(settings, app.state.tally)
        app.state.exports, app.state.analyses = ExportRuns(engine), AnalysisRuns(engine)
        app.state.signer = Signer(settings.home)
        try:
            for method, path in calls(app):
                if path.endswith("/health"):
                    continue  # it asks Redis: the next test
                if path.count("%") + KINDS[kind].query.count(b"%") > ENCODED_MAX:
                    continue  # refused before the application is asked
                await work_of(app, method, path, Sent())  # what is loaded and kept once
                statuses, count, dear = await work_of(app, method, path, KINDS[kind])
                if dear or count > CALLS_MAX or 500 in statuses:
                    costly[f"{method} {path[:60]}"] = (statuses, count, dear)
        finally:
            await engine.store.close()
            engine.admin_store.close()

    anyio.run(ask)

    assert costly == {}


UNKNOWN = Sent(headers=((b"authorization", b"Bearer " + b"x" * 48),))
#: What asks Redis for somebody without a known key: health, and a key that may have been made a moment ago.
ASKING = {
    **{f"GET {path}": ("GET", path, Sent()) for path in ("/health", *(f"/{part}/health" for part in NEEDS))},
    **{
        f"{method} {path}": (method, path, UNKNOWN)
        for method, path in (
            ("GET", "/v1/decide"),
            ("POST", "/v1/track"),
            ("POST", "/ofrep/v1/evaluate/flags"),
            ("GET", "/v1/admin/audit"),
            ("GET", "/metrics"),
            ("GET", f"/v1/stream/{TICKET}"),
        )
    },
}


def test_what_asks_redis_for_strangers_costs_little_too(redis_url: str, tmp_path: Path) -> None:
    """Alone it is bounded as all else is, with the look at Redis. Those who ask at once share the look, so a crowd
    costs a fraction of that each."""
    world = World(redis_url, tmp_path, shards=16)
    world.recover()
    app = create_app(world.settings)
    costs: dict[str, tuple[int, int]] = {}

    async def ask() -> None:
        async with app.router.lifespan_context(app):
            for name, asked in ASKING.items():
                await work_of(app, *asked)  # what is loaded and kept once
                _, alone, _ = await work_of(app, *asked)
                statuses, of_crowd, dear = await work_of(app, *asked, times=CROWD)
                assert statuses <= {200, 401, 404, 503} and not dear
                costs[name] = alone, of_crowd

    anyio.run(ask)

    assert {name: cost for name, cost in costs.items() if cost[0] > CALLS_MAX or cost[1] > CALLS_OF_CROWD_MAX} == {}
