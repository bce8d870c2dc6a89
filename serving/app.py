"""The API as an application: its routes, the answers of what goes wrong, and the life of its process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from serving import garbage
from serving.access.keys import configured_keys, key_in_query, keys_of, no_key, sent_key
from serving.access.made_keys import FOLLOWED_S
from serving.access.signing import Signer
from serving.activity import Recorder
from serving.api import (
    activity,
    analyses,
    audit,
    decide,
    definitions,
    events,
    exports,
    flag_people,
    health,
    keys,
    newest_events,
    ofrep,
    people,
    prometheus,
    rejected,
    runs,
    segment_members,
    streams,
    totals,
    unsaved_expressions,
    vocabulary,
    workspace,
)
from serving.api.beside import take_turns
from serving.api.document_pages import pages, serve_document
from serving.api.openapi import documents
from serving.engine import Engine, refusal_of
from serving.history import History
from serving.http.answers import json_answer, refusal_answer
from serving.http.hot_paths import Endpoints, HotPaths, Under
from serving.http.json_only import AlwaysJson
from serving.http.observed import Observed
from serving.http.tally import Tally
from serving.logs import request_id
from serving.lookups.analysis_runs import AnalysisRuns
from serving.lookups.export_runs import ExportRuns
from serving.lookups.warnings import warm
from serving.presence import Presence
from serving.refusals import Invalid, Refusal, cut, value_for_message
from serving.settings import Settings, settings_of_environment
from serving.siblings import Siblings
from serving.store.errors import StoreError, StoreUnreachable
from serving.store.scripts.ingest import TailLimits
from serving.store.store import AsyncStore, Store

log = structlog.get_logger()

#: A process waits so long for the keys in Redis before it takes requests.
FIRST_KEYS_S = 2.0
#: How long a browser remembers that it may send; Chromium remembers it for two hours at the most.
CORS_MAX_AGE_S = 7_200

#: Beginnings of the paths whose calls all take a key, which is looked for before the framework looks at the call: it
#: reads bodies and takes queries apart first.
KEYED_FIRST = ("/v1/admin/", "/v1/export/", "/v1/users/")

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")

HOT = Endpoints(
    {
        ("GET", "/v1/decide"): decide.decide,
        ("POST", "/v1/decide"): decide.decide_many,
        ("POST", "/ofrep/v1/evaluate/flags"): ofrep.evaluate_flags,
        ("GET", "/metrics"): prometheus.metrics,  # the framework would take its query apart before it looks for its key
    }
    | {("POST", path): endpoint for path, endpoint in events.PATHS.items()}
    | {("GET", path): endpoint for path, endpoint in health.PATHS.items()},
    {"POST": (Under("/ofrep/v1/evaluate/flags/", "key", ofrep.evaluate_flag),)},
)


def create_app(
    settings: Settings | None = None, *, is_warmed: bool = False, siblings: Siblings | None = None
) -> FastAPI:
    """The application, with settings from the environment where none are given.

    It starts while Redis or the lake are away, and says so in `/health`. Its process does not start where the system
    was made with another number of shards (`OtherSetting`). `is_warmed`: the process for questions about the lake is
    started before the first of them, which would wait for it. `siblings`: the processes of its address, if there are
    several.
    """
    settings = settings or settings_of_environment()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        engine = engine_of(settings, app.state.tally, app.state.siblings.rates)
        app.state.engine = engine
        app.state.exports = ExportRuns(engine)
        app.state.analyses = AnalysisRuns(engine)
        app.state.signer = Signer(settings.home)
        app.state.streams = streams.streams_of(engine)
        with suppress(StoreUnreachable):  # a Redis that does not answer takes no events by the wrong number either
            await asyncio.to_thread(engine.admin_store.require_shards)
        pages(app)
        garbage.settle()
        take_turns()
        with suppress(Refusal, TimeoutError):  # a process that does not know a key yet says so: 503
            async with asyncio.timeout(FIRST_KEYS_S):
                await engine.learn_clock()
                await engine.learn_lake()
                await engine.learn_keys()
        following = asyncio.create_task(_follow_keys(engine))
        recorder = Recorder(engine, activity.work_of)
        noting = asyncio.create_task(recorder.run())
        noting_counters = asyncio.create_task(app.state.siblings.run(lambda: prometheus.counted(app)))
        presence = Presence(engine, app.state.siblings.number)
        saying = asyncio.create_task(presence.run())
        telling = asyncio.create_task(app.state.streams.run())
        warming = asyncio.create_task(warm(engine)) if is_warmed else None
        try:
            yield
        finally:
            if warming is not None:
                warming.cancel()
            following.cancel()
            noting.cancel()
            noting_counters.cancel()
            app.state.siblings.note(prometheus.counted(app))
            saying.cancel()
            telling.cancel()
            await recorder.note()
            await presence.leave()
            await app.state.exports.close()
            await app.state.analyses.close()
            await engine.store.close()
            engine.admin_store.close()

    app = FastAPI(
        title="TinyCDP",
        version="1",
        lifespan=life,
        redirect_slashes=False,
        strict_content_type=False,
        # We serve the document (`serving.api.document_pages`): the framework's pages load files of another host.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.tally = Tally()
    app.state.siblings = siblings or Siblings()
    app.state.logs_all = settings.log_level == "debug"
    app.add_middleware(AlwaysJson, bytes_max=settings.body_bytes_max, paths=KEYED_FIRST, require_key=_require_key)
    app.add_middleware(HotPaths, endpoints=HOT)
    app.add_middleware(
        CORSMiddleware,
        allow_origin_regex=settings.cors_regex,
        allow_methods=METHODS,
        allow_headers=["*"],
        expose_headers=["ETag", "Retry-After", "X-RateLimit-Reset", "X-Request-Id"],
        max_age=CORS_MAX_AGE_S,
    )
    app.add_middleware(Observed, tally=app.state.tally, hot=HOT)
    app.include_router(events.router)
    app.include_router(decide.router)
    app.include_router(streams.router)
    app.include_router(people.live)
    app.include_router(ofrep.router)
    app.include_router(ofrep.lenient)
    app.include_router(definitions.router)
    app.include_router(flag_people.router)
    app.include_router(segment_members.router)
    app.include_router(unsaved_expressions.router)
    app.include_router(analyses.router)
    app.include_router(vocabulary.router)
    app.include_router(keys.router)
    app.include_router(rejected.router)
    app.include_router(runs.router)
    app.include_router(audit.router)
    app.include_router(people.router)
    app.include_router(totals.router)
    app.include_router(activity.router)
    app.include_router(newest_events.router)
    app.include_router(workspace.router)
    app.include_router(exports.router)
    app.include_router(exports.files)
    app.include_router(health.router)
    app.include_router(prometheus.router)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(StoreError, _on_store_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    app.openapi = documents(app, settings)  # type: ignore[method-assign]
    serve_document(app)
    return app


async def _require_key(request: Request) -> None:
    """Raises `Unauthenticated` for a call without a known key; which kind it takes, its route looks at.

    Keys stand in the header or the query, so nothing of a body need be read for it.
    """
    engine: Engine = request.app.state.engine
    sent = sent_key(request.headers.get("authorization"), key_in_query(request.scope["query_string"]))
    if await engine.caller(sent) is None:
        raise no_key()


async def _follow_keys(engine: Engine) -> None:
    while True:
        try:
            await engine.learn_clock()
            await engine.learn_lake()
            await engine.follow_keys()
        except Refusal:
            pass  # Redis is away: the keys known so far stand, and the clock goes on
        except Exception as error:  # a task that ends would leave revoked keys in use
            log.error("keys_not_followed", exc_info=error)
        await asyncio.sleep(FOLLOWED_S)


def engine_of(settings: Settings, tally: Tally | None = None, rates: int | None = None) -> Engine:
    """The engine of a process, which shares the file of `rates` with the others of its address, if there are any.

    Raises `RuntimeError` where the settings name no Redis: the stack names its own.
    """
    if settings.redis_url is None:
        raise RuntimeError("TINYCDP_REDIS_URL is not set: start the stack with `tinycdp up`, or name a Redis")
    limits = TailLimits.of(settings)
    return Engine(
        settings=settings,
        store=AsyncStore(settings.redis_url, settings.shards, limits),
        admin_store=Store(settings.redis_url, settings.shards, limits),
        history=History(settings.lake_root),
        tally=tally or Tally(),
        keys=keys_of(configured_keys(settings), settings.rate_limit, rates),
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refusal_answer(error)


async def _on_store_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)
    return refusal_answer(refusal_of(error))


async def _on_validation(request: Request, error: Exception) -> Response:
    """The refusal of a body or a query that does not fit its model, in our words: field, value, remedy."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = cut(".".join(str(part) for part in first["loc"][1:]) or "body")
    place = "query string" if first["loc"][0] == "query" else "request body"
    # The input of a missing field is everything that was sent beside it.
    value = None if first["type"] == "missing" else first.get("input")
    return refusal_answer(
        Invalid(
            f"unable to decode {place}: {field}: {first['msg']}",
            {"field": field, "value": value_for_message(value), "remedy": first["msg"]},
        )
    )


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    codes = {404: ("not_found", "endpoint not found"), 405: ("method_not_allowed", "method not allowed")}
    code, message = codes.get(error.status_code, ("invalid_argument", str(error.detail)))
    body = {"success": False, "code": code, "message": message, "details": None}
    return json_answer(body, error.status_code, headers)


def _allowed(request: Request) -> list[str]:
    """The methods of a path: those that the document names for it, else those of all routes that are written alike.

    The framework would name those of the first route alone. Texts are compared and no route is matched again: a path
    may be long, and whoever asks may have no key.
    """
    paths, route = request.app.openapi()["paths"], request.scope.get("route")
    written = request.url.path if route is None else route.path_format
    documented = paths.get(request.url.path) or paths.get(written)
    if documented is not None:
        return [method for method in METHODS if method.lower() in documented]

    taken: set[str] = set()
    for other in routes_of(request.app):
        if getattr(other, "path_format", None) == written:
            taken |= getattr(other, "methods", None) or set()
    return [method for method in METHODS if method in taken]


def routes_of(app: FastAPI) -> Iterator[BaseRoute]:
    """Every route of the application. The framework keeps those of a router behind one that stands for all of them."""
    for route in app.routes:
        router = getattr(route, "original_router", None)
        yield from [route] if router is None else router.routes


async def _on_bug(request: Request, error: Exception) -> Response:
    """The answer to what nobody foresaw. The log has where it happened, under the id that the caller gets."""
    id = request_id(request.scope)
    log.error("unforeseen", request_id=id, exc_info=error)
    body = {"success": False, "code": "internal", "message": "An internal error occurred.", "details": None}
    if request.url.path.startswith("/ofrep/"):
        body["errorDetails"] = body["message"]  # providers read it without looking whether it is there
    return json_answer(body, 500, {"X-Request-Id": id})
