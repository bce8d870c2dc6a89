"""Whether the stack is ready, in whole and in parts: 200, or 503 for a part that does not do its work now.

Every check asks the part itself, only reads, and is cheap enough to be asked each second. Anybody may ask, without a
key, so an answer tells no more than whether, since when and how much. Logs and `tinycdp doctor` give the reasons in
full.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.api.redis_state import PARTS, REDIS_S, RedisState, redis_state
from serving.api.wire.health import HealthOut
from serving.definitions import saving
from serving.engine import NOT_UNDERSTOOD, Engine
from serving.http.answers import json_answer
from serving.refusals import Refusal
from serving.store.errors import NotAdmitted, StoreError
from serving.store.layout import LEAD_MS_MAX
from serving.store.requirements import require_durable
from serving.store.reserve import REMEDY
from serving.times import rfc3339

router = APIRouter(
    tags=["health"],
    responses={
        200: {"model": HealthOut},
        503: {"model": HealthOut, "description": "the part does not do its work now"},
    },
)

#: The checks that each part of the API needs for its work. Events and decisions go on while the lake is away.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("database", "shards", "definitions", "backlog", "memory"),
    "identity": ("database", "shards", "definitions", "memory"),
    "traits": ("database", "definitions", "worker", "lake"),
    "segments": ("database", "definitions", "worker", "lake"),
    "decide": ("database", "definitions"),
    "admin": ("database", "definitions", "lake"),
    "exports": ("database", "lake", "storage"),
}

#: A version of a definition that waits longer for the lake shows that the lake cannot be written.
UNWRITTEN_S_MAX = 10

Check = dict[str, Any]


# ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/health")
async def health(request: Request) -> Response:
    """200 when all is ready, else 503. The body says what is not ready, and how far the drain is behind."""
    engine: Engine = request.app.state.engine
    try:
        state = await _state(engine)
    except StoreError as error:
        return _answer("tinycdp", {"redis": _away(error)}, durability=engine.settings.durability)
    checks = {
        "redis": _redis(engine, state),
        "memory": _memory(state),
        "shards": _shards(state),
        "definitions": _definitions(engine, state),
    }
    checks |= {part: _heartbeat(part, state.heartbeats[part]) for part in PARTS}
    checks["drain"]["lag_events"] = _lag(state)
    checks["clock"] = _clock(state)
    checks["lake"] = _seen(*await engine.lake_seen.seen())
    checks["history"] = _history(state)
    return _answer("tinycdp", checks, durability=engine.settings.durability)


async def _state(engine: Engine) -> RedisState:
    """The state of the system, once this process has looked at its definitions. Raises `StoreError`.

    A process that was not asked anything since they changed would tell of the ones before.
    """
    state = await redis_state(engine)
    if state.catalogue_version is not None:
        with suppress(Refusal, TimeoutError):  # the check of definitions tells
            async with asyncio.timeout(REDIS_S):
                await engine.at_least(state.catalogue_version)
    return state


# ── its parts ────────────────────────────────────────────────────────────────────────────────────────────────────


async def part_health(engine: Engine, part: str) -> Response:
    """The answer about one part of the API: the checks that it needs."""
    checks: dict[str, Check] = {}
    needed = NEEDS[part]
    try:
        state = await _state(engine)
    except StoreError as error:
        checks["database"] = _away(error)
    else:
        checks["database"] = _redis(engine, state)
        of_redis: dict[str, Callable[[], Check]] = {
            "shards": lambda: _shards(state),
            "definitions": lambda: _definitions(engine, state),
            "backlog": lambda: _backlog(engine, state),
            "memory": lambda: _memory(state),
            "worker": lambda: _heartbeat("worker", state.heartbeats["worker"]),
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


#: Who answers each path of health. The framework would look through all other routes first, for whoever asks.
PATHS: dict[str, Callable[[Request], Awaitable[Response]]] = {"/health": health}

for _part, _needed in NEEDS.items():
    PATHS[f"/{_part}/health"] = _route(_part)
    router.add_api_route(
        f"/{_part}/health",
        PATHS[f"/{_part}/health"],
        methods=["GET"],
        name=f"{_part}_health",
        description=f"200 while {', '.join(_needed)} do their work, else 503.",
    )


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _away(error: StoreError) -> Check:
    is_refused = isinstance(error, NotAdmitted)
    text = "Redis refuses the password of TINYCDP_REDIS_URL" if is_refused else "Redis is away"
    return {"status": "error", "latency": None, "error": text}


def _redis(engine: Engine, state: RedisState) -> Check:
    check: Check = {"status": "ok", "version": state.server.version, "latency": state.latency_ms}
    try:
        require_durable(state.server, {}, engine.settings.durability)
    except StoreError as error:
        check |= {"status": "error", "error": str(error)}
    return check


def _memory(state: RedisState) -> Check:
    """How full Redis is. At its bound events get 429, while all else goes on."""
    memory = state.server.memory
    check: Check = {"status": "ok", "used_bytes": memory.used, "bound_bytes": memory.bound}
    if memory.is_full:
        check |= {"status": "error", "error": f"memory full: events get 429. {REMEDY}"}
    return check


def _shards(state: RedisState) -> Check:
    recovering = [shard.shard for shard in state.shards if shard.ready_run_id != state.server.run_id]
    return {"status": "error" if recovering else "ok", "recovering": recovering}


def _definitions(engine: Engine, state: RedisState) -> Check:
    if engine.is_outdated:
        return {"status": "error", "version": state.catalogue_version, "error": NOT_UNDERSTOOD}
    return {"status": "error" if state.catalogue_version is None else "ok", "version": state.catalogue_version}


def _history(state: RedisState) -> Check:
    """Whether the lake takes what admins saved: a version waits a moment, and longer only if it cannot be written."""
    waiting, first = state.unwritten
    check: Check = {"status": "ok", "waiting": waiting}
    if first is not None:
        since_ms = first.since_ms
        if since_ms is None:
            since_ms = saving.change_of(first).definition.updated_ms
        waited_s = max(0, state.server.clock_ms - since_ms) // 1000
        check["waiting_s"] = waited_s
        if waited_s > UNWRITTEN_S_MAX:
            check |= {"status": "error", "error": "the lake cannot be written: definitions wait for their history"}
    return check


def _backlog(engine: Engine, state: RedisState) -> Check:
    """How full the log is. Beyond its bound events get 429; until then a drain that is away is no error."""
    entries_max = max(1, engine.settings.backlog_entries_max // engine.settings.shards)
    is_full = any(shard.seq - shard.drained >= entries_max for shard in state.shards)
    return {
        "status": "error" if is_full else "ok",
        "lag_events": _lag(state),
        "lag_events_max": entries_max * len(state.shards),
    }


def _clock(state: RedisState) -> Check:
    """How far receipts are ahead of Redis' clock, which went back; an error where that was too far to be waited for.

    The error stays until that time has come, or until the rows are put right.
    """
    clock_ms = state.server.clock_ms
    ahead_ms = [max(shard.last_received_ms, shard.ahead_ms) - clock_ms for shard in state.shards]
    wrong_ms = max(ahead_ms, default=0)
    check: Check = {"status": "ok", "ahead_ms": max([0, *(ms for ms in ahead_ms if ms <= LEAD_MS_MAX)])}
    if wrong_ms > LEAD_MS_MAX:
        text = "events were received while Redis' clock was ahead: `tinycdp restamp` puts their times right"
        check |= {"status": "error", "received_until": rfc3339(clock_ms + wrong_ms), "error": text}
    return check


def _lag(state: RedisState) -> int:
    return sum(max(shard.seq - shard.drained, 0) for shard in state.shards)


def _heartbeat(part: str, beat: bytes | None) -> Check:
    """The fields of a part's heartbeat, and its status. The text of an error is not repeated: anybody may read this."""
    if beat is None:
        return {"status": "error", "error": f"{part} is silent"}
    fields = msgspec.json.decode(beat)
    if "error" in fields:
        fields |= {"status": "error", "error": f"{part} failed: see its log, or `tinycdp doctor`"}
    return {"status": "ok"} | fields


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
    if is_well:
        return json_answer(body)
    troubles = [
        f"{name} {check.get('error', check['status'])}" for name, check in checks.items() if check["status"] != "ok"
    ]
    return json_answer(body, 503, reason="; ".join(troubles))
