"""Events in over HTTP: one at a time, or a batch whose good events are taken; our paths and Segment's alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import structlog
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.access.keys import Caller, key_in_query, no_key
from serving.api.dependencies import CONFLICT, NOT_FOUND, Responses, reached_at
from serving.api.permissions import permission
from serving.api.segment import (
    BATCH_PATHS,
    KINDS_OF_PATHS,
    Batch,
    batch_of,
    body_keys,
    header_keys,
    lenient_batch_of,
    settings_of,
    written_keys,
)
from serving.api.wire.events import BatchOut, Forgotten, IdentifiedOut, ProjectSettings, TrackedOut
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine, RefusedByNewer
from serving.http.answers import json_answer
from serving.http.bodies import body_of, json_of, read_beside
from serving.ids import ids_in
from serving.ingest.accept import Envelope, Limits, accept, checked_object
from serving.ingest.event_json import event_of
from serving.ingest.event_time import read_ms
from serving.ingest.inexact import inexact_warnings
from serving.ingest.message_ids import made_id
from serving.people.links import RefusedClaim, Why
from serving.refusals import Conflict, Invalid, NotFound, Refusal, invalid
from serving.store.deadlines import within
from serving.store.logged_event import Accepted, RefusedEvent
from serving.store.operations.newest_events import REFUSED_MAX

log = structlog.get_logger()

router = APIRouter(tags=["events"])

#: What to do about an alias that was refused.
REMEDIES: dict[Why, str] = {
    "full": "unlink an id first",
    "crowded": "unlink an id first",
    "cycle": "send the ids the other way round",
    "deep": "alias the id to the person's own id",
}
#: How long a request with events waits for Redis, once its body is here; then it is 503, within three seconds.
INGEST_S = 2.5
#: Bytes that the request of a single event may have beside the event: a key, the time it was sent.
ENVELOPE_BYTES = 1024
#: Bytes of what a batch says about all of its events.
CONTEXT_BYTES_MAX = 4 * 1024
#: Bytes that are kept of the text of a refused event, and where too many wait for the drain.
REJECTED_BYTES_MAX, CUT_BYTES_MAX = 32 * 1024, 4 * 1024
#: Bytes that are kept of the time at which a refused event was sent, as it came.
SENT_AT_BYTES_MAX = 100


async def _admit(engine: Engine, request: Request, body: Any = None) -> Caller:
    """The caller, whose key must be one that may write: the first known key of the header, the body and the query.

    Raises as `Engine.admit` does.
    """
    path = request.scope["path"].removesuffix("/")
    return await engine.admit(_sent_keys(request, body_keys(body)), permission("POST", path))


def _sent_keys(request: Request, in_body: Iterable[str]) -> Iterator[str]:
    """The keys of a request in the order in which they count. Lazily: in the events they are found only by reading."""
    query = key_in_query(request.scope["query_string"])
    return chain(header_keys(request.headers.get("authorization")), in_body, [query] if query else [])


async def _take(request: Request, kind: str) -> tuple[Accepted, bool, list[str]]:
    """The event of a request, taken; whether it is a repeat, and warnings about its links and numbers.

    A refused event is kept for `rejected`. Raises `Invalid`; and `Conflict` for an alias that closes a ring, or that
    would give a user or a person too many ids.
    """
    settings = request.app.state.engine.settings
    return await _take_body(request, kind, await _keyed_body(request, settings.event_bytes_max + ENVELOPE_BYTES))


@within(INGEST_S)
async def _take_body(request: Request, kind: str, body: bytes) -> tuple[Accepted, bool, list[str]]:
    engine: Engine = request.app.state.engine
    raw = await _decoded(engine, request, body, event_of)
    caller = await _admit(engine, request, raw)
    catalogue = await engine.known_catalogue()
    sent_by = SentBy(request.scope["path"], kind)
    try:
        event = accept(raw, Limits(catalogue.summed), kind, Envelope(engine.clock_ms(), key_label=caller.label))
    except Invalid as refusal:
        await keep_rejected(engine, caller, sent_by, [(0, raw, refusal)])
        raise
    try:
        receipts, refused_claims = await engine.ingest([event], catalogue)
    except RefusedByNewer as newer:
        await keep_rejected(engine, caller, sent_by, [(0, raw, newer.refusals[0])])
        raise newer.refusals[0] from None
    if event.kind == "alias":
        for refused in refused_claims:
            if refused.why != "taken":
                remedy = REMEDIES[refused.why]
                details = {"field": "previousId", "value": event.anonymous_id, "remedy": remedy}
                raise Conflict(refused.message, details)
    warnings = [*link_warnings(refused_claims, [event]), *inexact_warnings([event])]
    return event, receipts.outcomes[0].duplicate, warnings


def link_warnings(refused_claims: Sequence[RefusedClaim], events: Sequence[Accepted]) -> list[str]:
    """The warnings for refused claims. A device that is another's gets one only where an alias claimed it."""
    aliases = {event.event_id for event in events if event.kind == "alias"}
    return [
        refused.message for refused in refused_claims if refused.why != "taken" or refused.claim.event_id in aliases
    ]


def _with_warnings(body: dict[str, Any], warnings: list[str]) -> Response:
    return json_answer(body | {"warnings": warnings} if warnings else body)


async def _keyed_body(request: Request, bytes_max: int) -> bytes:
    """The bytes of a body, unpacked, once a known key stands in header, query or text. Nothing is decoded before.

    To search a long text for a name takes a small part of the time that it takes to decode it. Raises
    `Unauthenticated`, and as `body_of` does.
    """
    engine: Engine = request.app.state.engine
    query = key_in_query(request.scope["query_string"])
    sent = [*header_keys(request.headers.get("authorization")), *([query] if query else [])]
    if any(engine.keys.caller(key) is not None for key in sent):
        return await body_of(request, bytes_max)
    body, written = await read_beside(request, bytes_max, lambda text: [key for key in written_keys(text) if key])
    await _require_any_key(engine, [*sent, *written])
    return body


@within(INGEST_S)
async def _require_any_key(engine: Engine, keys: Sequence[str]) -> None:
    if await engine.caller(keys) is None:
        raise no_key()


async def _decoded(engine: Engine, request: Request, body: bytes, decode: Callable[[bytes], Any]) -> Any:
    """The body, decoded. Raises `Invalid`; but where the header has an unknown key, the refusal is about the key."""
    try:
        return decode(body)
    except Invalid:
        if request.headers.get("authorization") is not None:
            await _admit(engine, request)
        raise


async def track(request: Request) -> Response:
    """Takes one event. A repeat of its `messageId` within 24 h is acknowledged and not counted again."""
    return await _taken(request, "track")


async def identify(request: Request) -> Response:
    """Takes profile attributes: whole values of top-level keys, the newest time wins, null removes."""
    event, is_duplicate, warnings = await _take(request, "identify")
    user = event.user_id or event.anonymous_id or event.email_hash
    return _with_warnings({"success": True, "userId": user, "duplicate": is_duplicate}, warnings)


async def page(request: Request) -> Response:
    """Takes the view of a page: it counts as the event "Page Viewed", with `name` and `category` as properties."""
    return await _taken(request, "page")


async def screen(request: Request) -> Response:
    """Takes the view of a screen: it counts as the event "Screen Viewed", with `name` and `category` as properties."""
    return await _taken(request, "screen")


async def group(request: Request) -> Response:
    """Takes the fact that a user belongs to a group. It is kept in the lake and counts as no event."""
    return await _taken(request, "group")


async def alias(request: Request) -> Response:
    """Takes the fact that `previousId` and `userId` are one person."""
    return await _taken(request, "alias")


async def _taken(request: Request, kind: str) -> Response:
    event, is_duplicate, warnings = await _take(request, kind)
    return _with_warnings({"success": True, "eventId": event.event_id, "duplicate": is_duplicate}, warnings)


async def batch(request: Request) -> Response:
    """Takes many events. The good ones are taken; each refused one is named by its index. A repeat is safe."""
    return await _take_batch(request, await _keyed_body(request, request.app.state.engine.settings.body_bytes_max))


@within(INGEST_S)
async def _take_batch(request: Request, text: bytes) -> Response:
    engine: Engine = request.app.state.engine
    settings = engine.settings
    body, left_out = await _batch(engine, request, text)
    # Before the key is looked for, which may be in any event: to find it means to read them.
    if len(body.batch) > settings.batch_events_max:
        raise invalid("batch", f"{len(body.batch)} events", f"send at most {settings.batch_events_max} at once")
    caller = await _admit(engine, request, body)
    engine.keys.rates.owe(caller.id, len(body.batch) - 1)
    context, about_all = _about_all(body, left_out)
    catalogue = await engine.known_catalogue()
    limits = Limits(catalogue.summed)
    envelope = Envelope(engine.clock_ms(), body.sentAt, context, caller.label)
    events: list[Accepted] = []
    sent: list[tuple[int, Any]] = []  # the index and the JSON of each of these events
    refusals: list[tuple[int, Any, Invalid]] = []
    for index, raw in enumerate(await _decoded_events(body.batch, settings.event_bytes_max)):
        try:
            if isinstance(raw, Invalid):
                raise raw
            events.append(accept(raw, limits, envelope=envelope))
            sent.append((index, raw))
        except Invalid as refusal:
            refusals.append((index, None if isinstance(raw, Invalid) else raw, refusal))
    taken = await take_all(engine, events, catalogue)
    duplicates, warnings = taken.duplicates, [*about_all, *taken.warnings]
    late = [(*sent[at], refusal) for at, refusal in taken.refusals.items()]
    events = [event for at, event in enumerate(events) if at not in taken.refusals]
    warnings += inexact_warnings(events)
    refusals = sorted([*refusals, *late], key=itemgetter(0))
    if refusals:
        sent_by = SentBy(request.scope["path"], None, body.sentAt, context)
        try:
            await keep_rejected(engine, caller, sent_by, refusals)
        except Refusal as refusal:
            # Others were taken. If the call were refused they would be sent again, and those without an id counted.
            if not events:
                raise
            log.warning("refused_not_kept", events=len(refusals), error=refusal.message)
    return _with_warnings(
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


class Taken(NamedTuple):
    """What became of some events: repeats among those that were taken, refusals by place, warnings about links."""

    duplicates: int
    refusals: dict[int, Invalid]
    warnings: list[str]


async def take_all(engine: Engine, events: Sequence[Accepted], catalogue: Catalogue) -> Taken:
    """Takes checked events together. Those that newer definitions than these refuse are told by their place.

    Raises as `Engine.ingest` does; a repeat of the call is safe.
    """
    places = list(range(len(events)))
    refusals: dict[int, Invalid] = {}
    while places:
        left = [events[place] for place in places]
        try:
            receipts, refused_claims = await engine.ingest(left, catalogue)
        except RefusedByNewer as newer:
            catalogue = newer.catalogue
            refusals |= {places[at]: refusal for at, refusal in newer.refusals.items()}
            places = [place for at, place in enumerate(places) if at not in newer.refusals]
            continue
        duplicates = sum(outcome.duplicate for outcome in receipts.outcomes)
        return Taken(duplicates, refusals, link_warnings(refused_claims, left))
    return Taken(0, refusals, [])


async def _batch(engine: Engine, request: Request, text: bytes) -> tuple[Batch, list[Invalid]]:
    """The parts of a batch, and why it lacks fields about all events that cannot be read.

    Raises `Invalid`, or what is wrong with the key where the header has an unknown one. A batch of which a part is no
    JSON is taken apart by hand, which takes time: for known keys alone, in a thread.
    """
    try:
        return await _decoded(engine, request, text, batch_of), []
    except Invalid:
        known = await engine.caller(_sent_keys(request, written_keys(text)))
        if known is not None and (lenient := await to_thread.run_sync(lenient_batch_of, text)) is not None:
            return lenient
        raise


async def _decoded_events(texts: Sequence[msgspec.Raw], bytes_max: int) -> list[Any]:
    """Each event of a batch, decoded; in its place the `Invalid` that it is refused with."""

    def decode_all(decode: Callable[[msgspec.Raw], Any], some: Sequence[msgspec.Raw]) -> list[Any]:
        decoded: list[Any] = []
        for text in some:
            try:
                if len(memoryview(text)) > bytes_max:
                    raise invalid("event", f"over {bytes_max} bytes", "send less in one event")
                decoded.append(decode(text))
            except Invalid as refusal:
                decoded.append(refusal)
        return decoded

    events = decode_all(json_of, texts)
    bad = [index for index, event in enumerate(events) if isinstance(event, Invalid)]
    if bad:  # to say why takes longer than to decode
        reasons = await to_thread.run_sync(decode_all, event_of, [texts[index] for index in bad])
        for index, reason in zip(bad, reasons, strict=True):
            events[index] = reason
    return events


def _about_all(body: Batch, left_out: Sequence[Invalid]) -> tuple[dict[str, Any], list[str]]:
    """The context of all events of a batch, and warnings about fields of the batch that are left out.

    What is wrong with such a field costs no event: clients give up a batch that is refused.
    """
    warnings = [f"{refusal.message}: left out" for refusal in left_out]
    if body.sentAt is not None and read_ms(body.sentAt) is None:
        refusal = invalid("sentAt", body.sentAt, "send the time of the request as ISO 8601, as 2023-01-01T12:00:00Z")
        warnings.append(f"{refusal.message}: the times of events were not corrected by it")
    try:
        return _shared_context(body.context), warnings
    except Invalid as refusal:
        return {}, [*warnings, f"{refusal.message}: left out"]


def _shared_context(value: Any) -> dict[str, Any]:
    """The context of a batch, bounded, since each event keeps it: one request could fill Redis. Raises `Invalid`."""
    context = checked_object({"context": value}, "context")
    size = len(msgspec.json.encode(context))
    if size > CONTEXT_BYTES_MAX:
        remedy = f"send at most {CONTEXT_BYTES_MAX} for all events, and the rest with the events that it is about"
        raise invalid("context", f"{size} bytes", remedy)
    return context


class SentBy(NamedTuple):
    """What a request says of the events in it: the path, the kind that the path names, the batch's time and context."""

    path: str
    kind: str | None
    sent_at: Any = None
    context: Mapping[str, Any] = {}


async def keep_rejected(
    engine: Engine, caller: Caller, sent_by: SentBy, refusals: list[tuple[int, Any, Invalid]]
) -> None:
    """Keeps refused events with what it takes to send them again. The drain puts them into the lake's `rejected`.

    The newest are also shown to who watches events come in (`serving.api.newest_events`).
    """
    now_ms = engine.clock_ms()
    sent_at, context = (_json(value) for value in (sent_by.sent_at, sent_by.context))
    whole, cut, shown = [], [], []
    for index, raw, refusal in refusals:
        text, ids, details = _json(_without_key(raw)), _ids_of(raw), refusal.details or {}
        beginning = text[:CUT_BYTES_MAX].decode("utf-8", "replace")
        shown.append(RefusedEvent(now_ms, refusal.code, refusal.message, beginning, caller.label, ids))
        item = {
            "id": made_id(),
            "received_at": now_ms,
            "source": "api",
            "path": sent_by.path,
            "key": caller.label,
            "kind": sent_by.kind,
            "line": index,
            "code": refusal.code,
            "reason": refusal.message,
            "field": details.get("field"),
            "remedy": details.get("remedy"),
            "ids": _json(ids).decode(),
        }
        kept = text[:REJECTED_BYTES_MAX].decode("utf-8", "replace")
        is_whole = raw is not None and 0 < len(text) <= REJECTED_BYTES_MAX and len(sent_at) <= SENT_AT_BYTES_MAX
        more = {"event": kept, "is_cut": not is_whole, "context": context.decode()}
        if len(sent_at) <= SENT_AT_BYTES_MAX:
            more["sent_at"] = sent_at.decode()
        whole.append(msgspec.json.encode(item | more))
        cut.append(msgspec.json.encode(item | {"event": beginning, "is_cut": True}))
    await asyncio.gather(
        engine.keep_rejected(whole, cut),
        engine.show_refused([msgspec.json.encode(event) for event in shown[-REFUSED_MAX:]]),
    )


def _ids_of(raw: Any) -> list[str]:
    """The namespaced ids that a refused event names, as far as they are ids."""
    try:
        return ids_in(raw).strongest_first if isinstance(raw, dict) else []
    except Invalid:
        return []


def _json(value: Any) -> bytes:
    """A value that was read from JSON, as JSON; empty where it is just flat enough to have been read."""
    try:
        return msgspec.json.encode(value)
    except RecursionError:
        return b""


def _without_key(raw: Any) -> Any:
    return {name: value for name, value in raw.items() if name != "writeKey"} if isinstance(raw, dict) else raw


async def measures(request: Request) -> Response:
    """Takes what analytics.js measures of itself, and forgets it."""
    return json_answer({"success": True})


@router.get("/v1/projects/{write_key}/settings", responses={200: {"model": ProjectSettings}, **NOT_FOUND})
@router.get("/v1/projects/{write_key}/settings/", include_in_schema=False)
async def project_settings(write_key: str, request: Request) -> Response:
    """The settings that Segment's clients load at their start, where this server is named as their CDN."""
    engine: Engine = request.app.state.engine
    caller = await engine.caller((write_key,))
    if caller is None or caller.kind != "write":
        raise NotFound("no such write key", {"field": "write key", "remedy": "use a key of kind write"})
    address = reached_at(request)
    return json_answer(settings_of(write_key, f"{address.netloc}{address.path}", address.scheme))


async def options(request: Request) -> Response:
    """The methods of this path. Preflight requests of browsers are answered before they come here."""
    return Response(status_code=204, headers={"Allow": "POST, OPTIONS"})


_OF_KINDS: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "track": track,
    "identify": identify,
    "page": page,
    "screen": screen,
    "group": group,
    "alias": alias,
}
#: The answers of each function that answers anything but `TrackedOut`.
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


#: Every path that takes events, with the function that answers it. Each may end with a slash, as some clients send it.
PATHS = {f"/v1/{name}{end}": endpoint for name, endpoint in _paths() for end in ("", "/")}

for _path, _endpoint in PATHS.items():
    _answer = _ANSWERS.get(_endpoint, {200: {"model": TrackedOut}})
    _is_documented = not _path.endswith("/")
    router.add_api_route(_path, _endpoint, methods=["POST"], include_in_schema=_is_documented, responses=_answer)
    router.add_api_route(_path, options, methods=["OPTIONS"], include_in_schema=False)
