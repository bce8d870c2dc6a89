"""Whether the stack is ready: Redis, every shard, the definitions, and what drain and worker last said."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.answers import json_answer
from serving.engine import Engine
from serving.errors import StoreError
from serving.store import require_durable
from serving.wire import rfc3339

router = APIRouter(tags=["health"])

#: Parts that must have spoken lately for the stack to be ready.
PARTS = ("drain", "worker")


@router.get("/health")
async def health(request: Request) -> Response:
    """200 when all is ready, else 503; the body says what is not, and how far the drain is behind."""
    found = await checked(request.app.state.engine)
    return json_answer(found, 200 if found["status"] == "ok" else 503)


async def checked(engine: Engine) -> dict[str, Any]:
    """What each part's check says now. `status` is "ok" or "error" for each, and for all."""
    checks: dict[str, dict[str, Any]] = {}
    started = time.perf_counter()
    try:
        server = await engine.store.server()
        states = await engine.store.shard_states()
        beats = {part: await engine.store.heartbeat(part) for part in PARTS}
    except StoreError as error:
        checks["redis"] = {"status": "error", "error": str(error)}
        return _summed_up(checks, engine)
    latency_ms = round((time.perf_counter() - started) * 1000, 3)
    checks["redis"] = {"status": "ok", "version": server.version, "latency": latency_ms}
    try:
        require_durable(server, {}, engine.settings.durability)
    except StoreError as error:
        checks["redis"] |= {"status": "error", "error": str(error)}
    waiting = [state.shard for state in states if state.ready_run_id != server.run_id]
    checks["shards"] = {"status": "error" if waiting else "ok", "recovering": waiting}
    reading = await engine.store.records([])
    has_definitions = reading.catalogue_version is not None
    checks["definitions"] = {"status": "ok" if has_definitions else "error", "version": reading.catalogue_version}
    for part, said in beats.items():
        checks[part] = {"status": "error", "error": f"{part} is silent"} if said is None else _said(said)
    checks["drain"]["lag_events"] = sum(max(state.seq - state.drained, 0) for state in states)
    return _summed_up(checks, engine)


def _said(beat: bytes) -> dict[str, Any]:
    """What a part said: its own status where it gives one, and whatever else it finds worth saying."""
    said = msgspec.json.decode(beat)
    return {"status": "ok"} | said if isinstance(said, dict) else {"status": "ok"}


def _summed_up(checks: dict[str, dict[str, Any]], engine: Engine) -> dict[str, Any]:
    bad = any(check["status"] != "ok" for check in checks.values())
    return {
        "status": "error" if bad else "ok",
        "service": "tinycdp",
        "timestamp": rfc3339(time.time_ns() // 1_000_000),
        "durability": engine.settings.durability,
        "checks": checks,
    }
