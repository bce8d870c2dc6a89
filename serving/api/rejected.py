"""Refused events over HTTP: which there are and why, and sent again once the cause is repaired.

An event that is sent again goes the way of any: it is checked, and it counts at its own time, under its own `messageId`
or else under the id of its refusal. Redis knows a repeat by that id for 24 hours, and the lake, which is asked before,
for good. So a call that was cut off may be made again, and no event is taken twice. What takes the place of an event
may have another id or be of another person, which neither knows. So each call

    1. says in Redis what it sends (`serving.store.scripts.sending`); it sends none where another event is said
    2. looks whether the lake notes that it was sent
    3. sends
    4. notes that in the lake
    5. takes back what it said

and of two different events in the place of one, one is sent, wherever a call is killed or waits.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends, Query

from serving.access import audit
from serving.access.keys import Caller
from serving.api.dependencies import Admin, EngineOf, require_admin
from serving.api.events import take_all
from serving.api.periods import From, To, period_of
from serving.api.wire.rejected import REDRIVEN_MAX, RedriveBody, RedrivenOut, RefusedAgain, RejectedPage
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.http.bodies import json_of
from serving.ingest.accept import Envelope, Limits, accept
from serving.lookups import rejected as questions
from serving.lookups.rejected import Asked, Place
from serving.lookups.worker import in_worker
from serving.refusals import Conflict, NotFound, Refusal, Unavailable, invalid
from serving.store.errors import StoreError
from serving.store.logged_event import Accepted
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin/rejected", dependencies=[Depends(require_admin)], tags=["events"])

#: Events on a page, if not said otherwise and at most; the period of an answer, if not said otherwise.
PAGE, PAGE_MAX, WEEK_MS = 50, 500, 7 * 86_400_000
REASON_CHARACTERS_MAX, LABEL_CHARACTERS_MAX, CURSOR_CHARACTERS_MAX = 1_000, 200, 100
#: How old an event of the log may be that the lake lacks: an hour less than Redis knows repeats.
BEHIND_MAX_MS = 23 * 3_600_000
FOREVER_MS = 2**62

Reason = Annotated[str | None, Query(max_length=REASON_CHARACTERS_MAX, description="as `reasons` names it")]
Label = Annotated[str | None, Query(max_length=LABEL_CHARACTERS_MAX, description="the label of a key")]


@router.get("")
async def list_rejected(
    engine: EngineOf,
    since: From = None,
    until: To = None,
    reason: Reason = None,
    key: Label = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    cursor: Annotated[str | None, Query(max_length=CURSOR_CHARACTERS_MAX, description="of the page before")] = None,
) -> RejectedPage:
    """Refused events, the newest first, with their numbers by reason and by where they came from; of the last seven
    days, if not said otherwise. Events of people who are deleted are not among them.
    """
    since_ms, until_ms = period_of(since, until, WEEK_MS, engine.clock_ms() + 1)
    asked = Asked(since_ms, until_ms, reason, key)
    page = await in_worker(questions.page, await engine.source(), asked, _place(cursor), limit)
    waiting = (await engine.with_refusals(engine.store.waiting())).rejected
    rows = await _undeleted(engine, page["rejected"])
    return RejectedPage.model_validate(
        {
            "rejected": [_wire(row) for row in rows],
            "reasons": [
                {"reason": of["group"], "count": of["count"], "last_at": rfc3339(of["last"])} for of in page["reasons"]
            ],
            "sources": page["sources"],
            "total": page["total"],
            "waiting": waiting,
            "cursor": None if page["cursor"] is None else _cursor(page["cursor"]),
        }
    )


def _wire(row: Mapping[str, Any]) -> dict[str, Any]:
    redriven_ms = row["redriven_at"]
    return {
        **row,
        "received_at": rfc3339(row["received_at"]),
        "cut": row["is_cut"],
        "redriven_at": None if redriven_ms is None else rfc3339(redriven_ms),
    }


def _cursor(place: Place) -> str:
    return f"{place.received_ms}_{place.line}_{place.skip}_{place.id or ''}"


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    *numbers, id = cursor.split("_", 3)
    if len(numbers) != 3 or not all(text.isascii() and text.isdecimal() and len(text) <= 15 for text in numbers):
        raise invalid("cursor", cursor, "send the cursor of an answer, or leave it out")
    at, line, skip = map(int, numbers)
    return Place(at, id or None, line, skip)


async def _undeleted(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows without those that name somebody who was deleted since."""
    ids = {id for row in rows for id in _ids(row)}
    deleted = await engine.with_refusals(engine.store.deleted_at(list(ids)))
    return [row for row in rows if all(row["received_at"] > deleted[id][1] for id in _ids(row) if id in deleted)]


def _ids(row: Mapping[str, Any]) -> list[str]:
    return msgspec.json.decode(row["ids"], type=list[str]) if row["ids"] else []


# ── sending again ────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/redrive")
async def redrive(body: RedriveBody, engine: EngineOf, caller: Admin) -> RedrivenOut:
    """Sends refused events again, up to 1,000, once what refused them is repaired; each is taken once at the most.

    Those that are refused again stay as they are, and the answer says why.
    """
    if (body.ids is None) == (body.reason is None):
        raise invalid("ids", body.ids, "send either ids or a reason")
    if body.event is not None and (body.ids is None or len(set(body.ids)) != 1):
        raise invalid("event", body.event, "name the one id whose event it replaces")
    now_ms = engine.clock_ms()
    ids = None if body.ids is None else list(dict.fromkeys(body.ids))
    asked = Asked(-FOREVER_MS, FOREVER_MS, body.reason)
    found = await in_worker(questions.to_send_again, await engine.source(), ids, asked, REDRIVEN_MAX)
    rows, redriven = found["events"], found["redriven"]
    named = {row["id"] for row in await _undeleted(engine, rows)}
    catalogue = await engine.current()
    limits = Limits(catalogue.summed)
    refused: dict[str, Refusal] = {id: NotFound("no such refused event") for id in ids or []}
    events: dict[str, Accepted] = {}
    for row in rows:
        refused.pop(row["id"], None)
        try:
            _require_sendable(row, redriven.get(row["id"]), row["id"] in named, body.event is not None)
            events[row["id"]] = _event(row, body.event, limits)
        except Refusal as refusal:
            refused[row["id"]] = refusal
    sent = await _send(engine, caller, events, rows, catalogue, now_ms) if events else Sent()
    refused |= sent.refused
    return RedrivenOut(
        redriven=len(events) - len(sent.refused) - sent.duplicates,
        duplicates=sent.duplicates,
        refused=[RefusedAgain(id=id, code=refusal.code, message=refusal.message) for id, refusal in refused.items()],
        left=found["left"],
    )


class Sent(NamedTuple):
    """What became of events that were sent: repeats among those that were taken, refusals by the refused event's id."""

    duplicates: int = 0
    refused: Mapping[str, Refusal] = {}


async def _send(
    engine: Engine,
    caller: Caller,
    events: Mapping[str, Accepted],
    rows: Sequence[Mapping[str, Any]],
    catalogue: Catalogue,
    now_ms: int,
) -> Sent:
    """Sends events, by the ids of the refused ones that they stand for, and notes it. `rows` are those of the lake."""
    await _require_drained(engine, now_ms)
    token = secrets.token_hex(8)
    said = {id: (event.id, event.event_id) for id, event in events.items()}
    is_ours = await engine.with_refusals(engine.store.begin_sending(said, token))
    refused: dict[str, Refusal] = {
        id: Conflict("another call sends another event in its place, or was cut off when it did: send that one")
        for id, ours in zip(events, is_ours, strict=True)
        if not ours
    }
    ours = {id: event for id, event in events.items() if id not in refused}
    source = await engine.source()
    noted = await in_worker(questions.redriven, source, list(ours))
    refused |= {id: _sent_before(ms) for id, ms in noted.items()}
    left = {id: event for id, event in ours.items() if id not in noted}
    before = set(await in_worker(questions.taken_before, source, [said[id] for id in left]))
    new = {id: event for id, event in left.items() if said[id] not in before}
    taken = await take_all(engine, list(new.values()), catalogue)
    refused |= {id: taken.refusals[at] for at, id in enumerate(new) if at in taken.refusals}
    done = [row for row in rows if row["id"] in left and row["id"] not in refused]
    await to_thread.run_sync(_note, engine, caller.label, done, now_ms)
    with suppress(StoreError):  # it runs out by itself
        await engine.store.end_sending({id: said[id] for id in ours}, token)
    return Sent(len(left) - len(new) + taken.duplicates, refused)


def _require_sendable(row: Mapping[str, Any], redriven_ms: int | None, is_named: bool, is_replaced: bool) -> None:
    """Raises what stands in the way of sending a refused event again."""
    if redriven_ms is not None:
        raise _sent_before(redriven_ms)
    if not is_named:
        raise Conflict("somebody whom it names was deleted since")
    if row["is_cut"] and not is_replaced:
        raise Conflict("not all of its text was kept: send the event itself")


def _sent_before(redriven_ms: int) -> Conflict:
    return Conflict(f"it was sent again at {rfc3339(redriven_ms)}")


async def _require_drained(engine: Engine, now_ms: int) -> None:
    """Raises `Unavailable` while the log has events that the lake lacks and that Redis no longer knows repeats of."""
    states = await engine.with_refusals(engine.store.shard_states())
    undrained_ms = await engine.with_refusals(engine.store.undrained_ms(states))
    if undrained_ms is not None and now_ms - undrained_ms > BEHIND_MAX_MS:
        raise Unavailable("the drain is behind", {"remedy": "see /health, then try again"}, retry_after_s=60)


def _event(row: Mapping[str, Any], replaced_by: dict[str, Any] | None, limits: Limits) -> Accepted:
    """The event of a row, checked anew; its time is reckoned as when it was received. Raises `Invalid`."""
    raw = json_of(row["event"].encode()) if replaced_by is None else replaced_by
    if isinstance(raw, dict) and raw.get("messageId") in (None, ""):
        raw = raw | {"messageId": row["id"]}
    sent_at = msgspec.json.decode(row["sent_at"]) if row["sent_at"] else None
    context = msgspec.json.decode(row["context"]) if row["context"] else {}
    return accept(raw, limits, row["kind"], Envelope(row["received_at"], sent_at, context, row["key"]))


def _note(engine: Engine, author: str, rows: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Notes in the lake that refused events were sent again, and by whom in the audit log."""
    if rows:
        marks = [{"id": row["id"], "received_at": row["received_at"], "redriven_at": now_ms} for row in rows]
        engine.history.append_rejected_marks(marks)
        audit.note_all(engine.history, now_ms, author, "redrive", "rejected", [row["id"] for row in rows])
