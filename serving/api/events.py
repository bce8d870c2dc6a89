"""Events in over HTTP: one at a time, or a batch whose good part stands; ours and Segment's paths alike."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.access.keys import Caller
from serving.api.dependencies import CONFLICT, NOT_FOUND, Responses, reached_at
from serving.api.segment import BATCH_PATHS, KINDS_OF_PATHS, batch_of, body_keys, header_keys, settings_of
from serving.api.wire.events import BatchOut, Forgotten, IdentifiedOut, ProjectSettings, TrackedOut
from serving.engine import Engine
from serving.http.answers import json_answer
from serving.http.bodies import body_of, json_of
from serving.ingest.accept import Envelope, Limits, accept, checked_object
from serving.people.links import RefusedClaim
from serving.refusals import Conflict, Invalid, NotFound, invalid
from serving.store.logged_event import Accepted

router = APIRouter(tags=["events"])

#: What a single event's request may add to the event: a key, when it was sent.
ENVELOPE_BYTES = 1024
#: What a batch may say about all of its events.
CONTEXT_BYTES_MAX = 4 * 1024


def _admit(engine: Engine, request: Request, body: Any = None) -> Caller:
    """Lets a request in whose key may write: the first that is known of the header's, the body's and the query's.

    Raises `Unauthenticated`, `Forbidden` or `TooMany`.
    """
    query = request.query_params.get("apiKey")
    given = chain(header_keys(request.headers.get("authorization")), body_keys(body), [query] if query else [])
    # One after the other: to look for a key in the events means to read them.
    known = next((key for key in given if engine.keys.caller(key) is not None), None)
    return engine.keys.require(None, known, "write")


async def _one(request: Request, kind: str) -> tuple[Accepted, bool, list[str]]:
    """Takes one event; the event, whether it was there already, and what is to be said of its links.

    A refused one is kept for `rejected`. Raises `Invalid`, and `Conflict` for an alias that what is there already
    leaves no room for: of a user to one of their own ids, or to a user who has too many.
    """
    engine: Engine = request.app.state.engine
    body = await body_of(request, engine.settings.event_bytes_max + ENVELOPE_BYTES)
    raw = _read(engine, request, body, json_of)
    _admit(engine, request, raw)
    catalogue = await engine.known_catalogue()
    try:
        event = accept(raw, Limits(catalogue.summed), kind, Envelope(received_ms=engine.clock_ms()))
    except Invalid as refusal:
        await keep_rejected(engine, [(0, raw, refusal)])
        raise
    receipts, unlinked = await engine.ingest([event], catalogue)
    if event.kind == "alias":
        for one in unlinked:
            if one.why != "taken":
                remedy = "unlink an id first" if one.why == "full" else "send the ids the other way round"
                details = {"field": "previousId", "value": event.anonymous_id, "remedy": remedy}
                raise Conflict(one.message, details)
    return event, receipts.outcomes[0].duplicate, warned(unlinked, [event])


def warned(unlinked: Sequence[RefusedClaim], events: Sequence[Accepted]) -> list[str]:
    """What to tell of links that were refused; not that a device is another's, unless an alias asked for just that."""
    aliases = {event.event_id for event in events if event.kind == "alias"}
    return [one.message for one in unlinked if one.why != "taken" or one.claim.event_id in aliases]


def _noted(body: dict[str, Any], warnings: list[str]) -> Response:
    return json_answer(body | {"warnings": warnings} if warnings else body)


def _read(engine: Engine, request: Request, body: bytes, read: Callable[[bytes], Any]) -> Any:
    """The body as `read` reads it. What is no JSON is refused to those whose header is known, or who have none."""
    try:
        return read(body)
    except Invalid:
        if request.headers.get("authorization") is not None:
            _admit(engine, request)
        raise


async def track(request: Request) -> Response:
    """Takes one event. A repeat of its `messageId` within 24 h is acknowledged and not counted again."""
    return await _told(request, "track")


async def identify(request: Request) -> Response:
    """Takes profile attributes: whole values of top-level keys, the newest time wins, null removes."""
    event, is_duplicate, warnings = await _one(request, "identify")
    user = event.user_id or event.anonymous_id or event.email_hash
    return _noted({"success": True, "userId": user, "duplicate": is_duplicate}, warnings)


async def page(request: Request) -> Response:
    """Takes the view of a page: it counts as the event "Page Viewed", with `name` and `category` as properties."""
    return await _told(request, "page")


async def screen(request: Request) -> Response:
    """Takes the view of a screen: it counts as the event "Screen Viewed", with `name` and `category` as properties."""
    return await _told(request, "screen")


async def group(request: Request) -> Response:
    """Takes that a user belongs to a group. It is kept in the lake and counts as no event."""
    return await _told(request, "group")


async def alias(request: Request) -> Response:
    """Takes that `previousId` is the same person as `userId`."""
    return await _told(request, "alias")


async def _told(request: Request, kind: str) -> Response:
    event, is_duplicate, warnings = await _one(request, kind)
    return _noted({"success": True, "eventId": event.event_id, "duplicate": is_duplicate}, warnings)


async def batch(request: Request) -> Response:
    """Takes many events. The good ones stand; each refused one is named by its index. Repeating the request is safe."""
    engine: Engine = request.app.state.engine
    settings = engine.settings
    told = _read(engine, request, await body_of(request, settings.body_bytes_max), batch_of)
    # Before the key, which may be in any event: to look for it means to read them.
    if len(told.batch) > settings.batch_events_max:
        raise invalid("batch", f"{len(told.batch)} events", f"send at most {settings.batch_events_max} at once")
    caller = _admit(engine, request, told)
    engine.keys.rates.owe(caller.id, len(told.batch) - 1)
    context = _context_of_all(told.context)
    catalogue = await engine.known_catalogue()
    limits = Limits(catalogue.summed)
    envelope = Envelope(engine.clock_ms(), told.sentAt, context)
    events: list[Accepted] = []
    refusals: list[tuple[int, Any, Invalid]] = []
    for index, text in enumerate(told.batch):
        raw: Any = None
        try:
            if len(memoryview(text)) > settings.event_bytes_max:
                raise invalid("event", f"over {settings.event_bytes_max} bytes", "send less in one event")
            raw = json_of(text)
            events.append(accept(raw, limits, envelope=envelope))
        except Invalid as refusal:
            refusals.append((index, raw, refusal))
    duplicates = 0
    warnings: list[str] = []
    if events:
        receipts, unlinked = await engine.ingest(events, catalogue)
        warnings = warned(unlinked, events)
        duplicates = sum(outcome.duplicate for outcome in receipts.outcomes)
    if refusals:
        await keep_rejected(engine, refusals)
    return _noted(
        {
            "success": True,
            "accepted": len(events) - duplicates,
            "duplicates": duplicates,
            "rejected": [
                {"index": index, "code": refusal.code, "message": refusal.message} for index, _, refusal in refusals
            ],
        },
        warnings,
    )


def _context_of_all(given: Any) -> dict[str, Any]:
    """The context of a batch, which each event keeps: one request could fill Redis with it. Raises `Invalid`."""
    context = checked_object({"context": given}, "context")
    size = len(msgspec.json.encode(context))
    if size > CONTEXT_BYTES_MAX:
        remedy = f"send at most {CONTEXT_BYTES_MAX} for all events, and the rest with the events that it is about"
        raise invalid("context", f"{size} bytes", remedy)
    return context


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
                "event": _as_text(raw),
            }
        )
        for index, raw, refusal in refusals
    ]
    await engine.keep_rejected(items)


def _as_text(raw: Any) -> str:
    """The begin of an event's text, without its key."""
    try:
        return msgspec.json.encode(_without_key(raw))[:4_096].decode("utf-8", "replace")
    except RecursionError:  # just flat enough to be read
        return ""


def _without_key(raw: Any) -> Any:
    return {name: value for name, value in raw.items() if name != "writeKey"} if isinstance(raw, dict) else raw


async def measures(request: Request) -> Response:
    """Takes what analytics.js measures of itself, and forgets it."""
    return json_answer({"success": True})


@router.get("/v1/projects/{write_key}/settings", responses={200: {"model": ProjectSettings}, **NOT_FOUND})
@router.get("/v1/projects/{write_key}/settings/", include_in_schema=False)
async def project_settings(write_key: str, request: Request) -> Response:
    """What clients of Segment load at their start, where they are told this server as their CDN."""
    engine: Engine = request.app.state.engine
    caller = engine.keys.caller(write_key)
    if caller is None or caller.kind != "write":
        raise NotFound("no such write key", {"field": "write key", "remedy": "use a key of kind write"})
    at = reached_at(request)
    return json_answer(settings_of(write_key, f"{at.netloc}{at.path}", at.scheme))


async def options(request: Request) -> Response:
    """What may be sent to this path. The questions of browsers are answered before they come here."""
    return Response(status_code=204, headers={"Allow": "POST, OPTIONS"})


_OF_KINDS: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "track": track,
    "identify": identify,
    "page": page,
    "screen": screen,
    "group": group,
    "alias": alias,
}
#: What each function answers, where it is not `TrackedOut`.
_ANSWERS: dict[Callable[[Request], Awaitable[Response]], Responses] = {
    batch: {200: {"model": BatchOut}},
    identify: {200: {"model": IdentifiedOut}},
    alias: {200: {"model": TrackedOut}, **CONFLICT},
    measures: {200: {"model": Forgotten}},
}


def _paths() -> Iterator[tuple[str, Callable[[Request], Awaitable[Response]]]]:
    for name, kind in KINDS_OF_PATHS.items():
        yield name, _OF_KINDS[kind]
    for name in BATCH_PATHS:
        yield name, batch
    yield "m", measures


#: Every path that takes events, with the function that answers it. Clients that end theirs with a slash are heard too.
PATHS = {f"/v1/{name}{end}": endpoint for name, endpoint in _paths() for end in ("", "/")}

for _path, _endpoint in PATHS.items():
    _answer = _ANSWERS.get(_endpoint, {200: {"model": TrackedOut}})
    _is_documented = not _path.endswith("/")
    router.add_api_route(_path, _endpoint, methods=["POST"], include_in_schema=_is_documented, responses=_answer)
    router.add_api_route(_path, options, methods=["OPTIONS"], include_in_schema=False)
