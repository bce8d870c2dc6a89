"""`GET /v1/admin/events`: events over everybody as they come in, accepted and refused, for who watches them.

They are read from the shards' logs, where each is from its acknowledgement on, also while the drain is behind. A log
keeps the last hundred entries that the lake has already. Refused events have a stream of their own, of the last 200. A
cursor has the last number of each. What went by between two questions beyond that is counted, not shown.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from expressions.rules.deletes import ACT_KINDS
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire.newest_events import NewestEventsOut
from serving.http.answers import json_answer
from serving.http.bodies import require_flat
from serving.refusals import Invalid, invalid
from serving.store.logged_event import LogEntry, RefusedEvent
from serving.store.store import Store
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["people"])

#: Events of one answer, if not said otherwise and at most; and entries of each log that are looked at for it.
EVENTS, EVENTS_MAX, LOOKED_AT_MAX = 50, 200, 100
NAME_CHARACTERS_MAX = 200
#: A number of a log has at most so many digits.
DIGITS_MAX = 15

_decode_refused = msgspec.json.Decoder(RefusedEvent).decode


@router.get("/events", responses={200: {"model": NewestEventsOut}})
async def newest_events(
    engine: EngineOf,
    after: Annotated[str | None, Query(description="the cursor of an answer")] = None,
    limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = EVENTS,
    name: Annotated[str | None, Query(max_length=NAME_CHARACTERS_MAX, description="of events of this name")] = None,
    state: Annotated[Literal["accepted", "refused"] | None, Query(description="of events that were so")] = None,
) -> Response:
    """The newest events of everybody, the newest first; those that came since an answer, where its cursor is sent.

    Events of people who are deleted are not among them.
    """
    numbers = _numbers(after, engine.settings.shards + 1)
    read = to_thread.run_sync(lambda: _newest(engine.admin_store, numbers, limit, name, state))
    return json_answer(await engine.with_refusals(read))


def _newest(store: Store, after: list[int] | None, limit: int, name: str | None, state: str | None) -> dict[str, Any]:
    newest = store.newest_events(after or [0] * (store.shards + 1), LOOKED_AT_MAX)
    read = [*map(len, newest.logs), len(newest.refused)]
    skipped = 0
    if after is not None:
        skipped = sum(max(0, last - seq - seen) for last, seq, seen in zip(newest.last, after, read, strict=True))
    events: list[tuple[int, LogEntry | RefusedEvent]] = []
    if state != "refused":
        entries = [entry for of_shard in newest.logs for entry in of_shard if entry.event.kind not in ACT_KINDS]
        events += [(entry.received_ms, entry) for entry in entries if name in (None, entry.event.name)]
    if state != "accepted":
        refused = [_decode_refused(data) for _, data in newest.refused]
        events += [(event.received_ms, event) for event in refused if name in (None, _name_of(event))]
    events.sort(key=lambda pair: pair[0], reverse=True)
    if after is not None:
        skipped += max(0, len(events) - limit)
    shown = _undeleted(store, [event for _, event in events[:limit]])
    return {
        "events": [_accepted(event) if isinstance(event, LogEntry) else _refused(event) for event in shown],
        "cursor": "_".join(map(str, newest.last)),
        "skipped": skipped,
    }


def _undeleted(store: Store, events: list[LogEntry | RefusedEvent]) -> list[LogEntry | RefusedEvent]:
    """The events without those of people who were deleted since. A refused event has no seq: its receipt counts."""
    ids = {id for event in events for id in (event.ids if isinstance(event, RefusedEvent) else (event.event.id,))}
    deleted = store.deleted_at(list(ids))

    def stays(event: LogEntry | RefusedEvent) -> bool:
        if isinstance(event, LogEntry):
            return event.seq > deleted.get(event.event.id, (0, 0))[0]
        return all(event.received_ms > deleted[id][1] for id in event.ids if id in deleted)

    return list(filter(stays, events))


def _accepted(entry: LogEntry) -> dict[str, Any]:
    event = entry.event
    return {
        "state": "accepted",
        "received_at": rfc3339(entry.received_ms),
        "key": event.key_label,
        "id": event.id,
        "eventId": event.event_id,
        "kind": event.kind,
        "name": event.name,
        "userId": event.user_id,
        "anonymousId": event.anonymous_id,
        "ts": rfc3339(entry.ts_ms),
        "properties": event.properties,
        "traits": event.traits,
        "context": event.context,
        "code": None,
        "reason": None,
        "text": None,
    }


def _refused(event: RefusedEvent) -> dict[str, Any]:
    raw = _read(event)
    return {
        "state": "refused",
        "received_at": rfc3339(event.received_ms),
        "key": event.key_label,
        "id": event.ids[0] if event.ids else None,
        "eventId": _text(raw, "messageId"),
        "kind": _text(raw, "type"),
        "name": _text(raw, "event"),
        "userId": _text(raw, "userId", "externalId"),
        "anonymousId": _text(raw, "anonymousId", "deviceId"),
        "ts": _text(raw, "timestamp", "ts"),
        "properties": raw.get("properties", raw.get("props")),
        "traits": raw.get("traits"),
        "context": raw.get("context"),
        "code": event.code,
        "reason": event.reason,
        "text": event.text,
    }


def _name_of(event: RefusedEvent) -> str | None:
    return _text(_read(event), "event")


def _read(event: RefusedEvent) -> dict[str, Any]:
    """The JSON of a refused event; empty where it was cut, is no object, or nests deeper than an answer may."""
    try:
        raw = msgspec.json.decode(event.text)
        require_flat(raw)
    except (msgspec.DecodeError, RecursionError, Invalid):
        return {}
    return raw if isinstance(raw, dict) else {}


def _text(raw: dict[str, Any], *names: str) -> str | None:
    """The first of these fields that is there, as text."""
    value = next((raw[name] for name in names if raw.get(name) is not None), None)
    return None if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _numbers(cursor: str | None, count: int) -> list[int] | None:
    """The numbers of a cursor: of each shard's log, then of refused events. Raises `Invalid`."""
    if cursor is None:
        return None
    numbers = cursor.split("_")
    if len(numbers) != count or not all(
        number.isascii() and number.isdecimal() and len(number) <= DIGITS_MAX for number in numbers
    ):
        raise invalid("after", cursor, "send the cursor of an answer of this system, or leave it out")
    return list(map(int, numbers))
