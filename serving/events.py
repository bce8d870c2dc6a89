"""Events in over HTTP: one at a time, or a batch whose good part stands."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.accepted import Accepted
from serving.answers import json_answer, json_body
from serving.engine import Engine
from serving.refusals import Invalid, invalid
from serving.track import Limits, accept
from serving.wire import BatchOut, ErrorOut

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorOut} for status in (400, 401, 403, 429, 503)}
router = APIRouter(tags=["events"], responses=REFUSALS)


def _admitted(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    engine.keys.require(request.headers.get("authorization"), request.query_params.get("apiKey"), "write")
    return engine


def _limits(engine: Engine) -> Limits:
    return Limits(engine.catalogue.summed) if engine.catalogue is not None else Limits()


async def _one(request: Request, kind: str) -> tuple[Accepted, bool]:
    """Takes one event; the event and whether it was there already. A refused one is kept for `rejected`."""
    engine = _admitted(request)
    if engine.catalogue is None:
        await engine.reload(None)
    raw = await json_body(request, engine.settings.event_bytes_max)
    try:
        event = accept(raw, _limits(engine), kind)
    except Invalid as refusal:
        await keep_rejected(engine, [(0, raw, refusal)])
        raise
    receipts = await engine.ingest([event])
    return event, receipts.outcomes[0].duplicate


@router.post("/v1/track")
async def track(request: Request) -> Response:
    """Takes one event. A repeat of its `messageId` within 24 h is acknowledged and not counted again."""
    event, is_duplicate = await _one(request, "track")
    return json_answer({"success": True, "eventId": event.event_id, "duplicate": is_duplicate})


@router.post("/v1/identify")
async def identify(request: Request) -> Response:
    """Takes profile attributes: whole values of top-level keys, the newest time wins, null removes (S8)."""
    event, is_duplicate = await _one(request, "identify")
    return json_answer({"success": True, "userId": event.user_id or event.anonymous_id, "duplicate": is_duplicate})


@router.post("/v1/batch", responses={200: {"model": BatchOut}})
async def batch(request: Request) -> Response:
    """Takes many events. The good ones stand; each refused one is named by its index. Repeating the request is safe."""
    engine = _admitted(request)
    settings = engine.settings
    if engine.catalogue is None:
        await engine.reload(None)
    body = await json_body(request, settings.body_bytes_max)
    raw_events = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(raw_events, list):
        raise invalid("batch", raw_events, 'send {"batch": [event, …]}')
    if len(raw_events) > settings.batch_events_max:
        raise invalid("batch", f"{len(raw_events)} events", f"send at most {settings.batch_events_max} at once")
    limits = _limits(engine)
    events: list[Accepted] = []
    refusals: list[tuple[int, Any, Invalid]] = []
    for index, raw in enumerate(raw_events):
        try:
            events.append(accept(raw, limits))
        except Invalid as refusal:
            refusals.append((index, raw, refusal))
    duplicates = 0
    if events:
        receipts = await engine.ingest(events)
        duplicates = sum(outcome.duplicate for outcome in receipts.outcomes)
    if refusals:
        await keep_rejected(engine, refusals)
    return json_answer(
        {
            "success": True,
            "accepted": len(events) - duplicates,
            "duplicates": duplicates,
            "rejected": [
                {"index": index, "code": refusal.code, "message": refusal.message} for index, _, refusal in refusals
            ],
        }
    )


async def keep_rejected(engine: Engine, refusals: list[tuple[int, Any, Invalid]]) -> None:
    """Puts refused events where the drain finds them for the lake's `rejected`, each cut to 4 KB of its text."""
    now_ms = time.time_ns() // 1_000_000
    items = [
        msgspec.json.encode(
            {
                "received_at": now_ms,
                "source": "api",
                "line": index,
                "code": refusal.code,
                "reason": refusal.message,
                "event": msgspec.json.encode(raw)[:4_096].decode("utf-8", "replace"),
            }
        )
        for index, raw, refusal in refusals
    ]
    await engine.keep_rejected(items)
