"""Whether the stack is ready, in whole and in parts: 200, or 503 for what does not do its work now.

Every check asks the thing itself, reads only, and is cheap enough to be asked each second by anybody: no key is needed,
so nothing here tells more than that, since when and how much. The reasons in full are in the logs and in
`tinycdp doctor`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.api.wire.health import HealthOut
from serving.engine import Engine
from serving.http.answers import json_answer
from serving.store.errors import StoreError
from serving.store.operations.server import Server
from serving.store.operations.shards import ShardState
from serving.store.store import require_durable
from serving.times import rfc3339

router = APIRouter(
    tags=["health"],
    responses={
        200: {"model": HealthOut},
        503: {"model": HealthOut, "description": "the part does not do its work now"},
    },
)

#: Parts that must have spoken lately for the stack to be ready.
PARTS = ("drain", "worker")
#: Redis is silent for a check when it does not answer within this.
REDIS_S = 2.0

#: What each part of the API needs for its work. The lake may be away while events and decisions go on.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("database", "shards", "definitions", "backlog"),
    "identity": ("database", "shards", "definitions"),
    "traits": ("database", "definitions", "worker", "lake"),
    "segments": ("database", "definitions", "worker", "lake"),
    "decide": ("database", "definitions"),
    "admin": ("database", "definitions", "lake"),
    "exports": ("database", "lake", "storage"),
}

Check = dict[str, Any]


class Standing(NamedTuple):
    """What Redis says of itself, of every shard, of the definitions and of each part; and in how many ms."""

    server: Server
    shards: list[ShardState]
    catalogue_version: int | None
    said: Mapping[str, bytes | None]
    latency_ms: float


async def standing(engine: Engine) -> Standing:
    """All that Redis knows of the system's state, in one round trip. Raises `StoreError`, after at most two seconds."""
    started = time.perf_counter()
    store = engine.store
    try:
        async with asyncio.timeout(REDIS_S):
            server, shards, reading, *said = await asyncio.gather(
                store.server(), store.shard_states(), store.records([]), *(store.heartbeat(part) for part in PARTS)
            )
    except TimeoutError as error:
        raise StoreError(f"no answer within {REDIS_S:g} s") from error
    latency_ms = round((time.perf_counter() - started) * 1000, 3)
    return Standing(server, shards, reading.catalogue_version, dict(zip(PARTS, said, strict=True)), latency_ms)


# ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/health")
async def health(request: Request) -> Response:
    """200 when all is ready, else 503; the body says what is not, and how far the drain is behind."""
    engine: Engine = request.app.state.engine
    try:
        found = await standing(engine)
    except StoreError:
        return _answer("tinycdp", {"redis": _AWAY}, durability=engine.settings.durability)
    checks = {"redis": _redis(engine, found), "shards": _shards(found), "definitions": _definitions(found)}
    checks |= {part: _spoken(part, found.said[part]) for part in PARTS}
    checks["drain"]["lag_events"] = _lag(found)
    checks["lake"] = _seen(*await engine.lake_seen.seen())
    return _answer("tinycdp", checks, durability=engine.settings.durability)


# ── its parts ────────────────────────────────────────────────────────────────────────────────────────────────────


async def part_health(engine: Engine, part: str) -> Response:
    """The checks of what one part of the API needs."""
    checks: dict[str, Check] = {}
    needed = NEEDS[part]
    try:
        found = await standing(engine)
    except StoreError:
        checks["database"] = _AWAY
    else:
        checks["database"] = _redis(engine, found)
        of_redis: dict[str, Callable[[], Check]] = {
            "shards": lambda: _shards(found),
            "definitions": lambda: _definitions(found),
            "backlog": lambda: _backlog(engine, found),
            "worker": lambda: _spoken("worker", found.said["worker"]),
        }
        checks |= {name: of_redis[name]() for name in needed if name in of_redis}
    if "lake" in needed:
        checks["lake"] = _seen(*await engine.lake_seen.seen())
    more = {"database": _connected(checks["database"])}
    if "storage" in needed:
        checks["storage"] = _seen(*await engine.storage_seen.seen())
        more["storage"] = _connected(checks["storage"])
    return _answer(part, checks, **more)


def _route(part: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await part_health(request.app.state.engine, part)

    return answer


for _part, _needed in NEEDS.items():
    router.add_api_route(
        f"/{_part}/health",
        _route(_part),
        methods=["GET"],
        name=f"{_part}_health",
        description=f"200 while {', '.join(_needed)} do their work, else 503.",
    )


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

_AWAY: Check = {"status": "error", "latency": None, "error": "Redis is away"}


def _redis(engine: Engine, found: Standing) -> Check:
    check: Check = {"status": "ok", "version": found.server.version, "latency": found.latency_ms}
    try:
        require_durable(found.server, {}, engine.settings.durability)
    except StoreError as error:
        check |= {"status": "error", "error": str(error)}
    return check


def _shards(found: Standing) -> Check:
    waiting = [state.shard for state in found.shards if state.ready_run_id != found.server.run_id]
    return {"status": "error" if waiting else "ok", "recovering": waiting}


def _definitions(found: Standing) -> Check:
    return {"status": "error" if found.catalogue_version is None else "ok", "version": found.catalogue_version}


def _backlog(engine: Engine, found: Standing) -> Check:
    """How full the log is: beyond its bound events get 429. A drain that is away is no error before that."""
    most = max(1, engine.settings.backlog_entries_max // engine.settings.shards)
    is_full = any(state.seq - state.drained >= most for state in found.shards)
    return {
        "status": "error" if is_full else "ok",
        "lag_events": _lag(found),
        "lag_events_max": most * len(found.shards),
    }


def _lag(found: Standing) -> int:
    return sum(max(state.seq - state.drained, 0) for state in found.shards)


def _spoken(part: str, beat: bytes | None) -> Check:
    """What a part said: its own status, and whatever it finds worth saying beside the text of an error."""
    if beat is None:
        return {"status": "error", "error": f"{part} is silent"}
    said = msgspec.json.decode(beat)
    if "error" in said:
        said |= {"status": "error", "error": f"{part} failed: see its log, or `tinycdp doctor`"}
    return {"status": "ok"} | said


def _seen(latency_ms: float, error: str | None) -> Check:
    return (
        {"status": "ok", "latency": latency_ms}
        if error is None
        else {
            "status": "error",
            "latency": latency_ms,
            "error": error,
        }
    )


def _connected(check: Check) -> str:
    return "connected" if check["status"] == "ok" else "disconnected"


def _answer(service: str, checks: Mapping[str, Check], **more: str) -> Response:
    is_well = all(check["status"] == "ok" for check in checks.values())
    body = {
        "status": "ok" if is_well else "error",
        "service": service,
        "timestamp": rfc3339(time.time_ns() // 1_000_000),
        **more,
        "checks": checks,
    }
    return json_answer(body, 200 if is_well else 503)
