"""People over HTTP: the search, one person in detail, their ids and data, unlinking and deletion."""

from __future__ import annotations

import asyncio
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from expressions.definitions import DefinitionKind
from expressions.live.changes import NoInstant
from serving.access import audit
from serving.access.keys import key_in_query
from serving.api.beside import are_many
from serving.api.dependencies import NOT_FOUND, Admin, EngineOf, require_admin
from serving.api.live_person import told_of
from serving.api.periods import From, To, open_period_of
from serving.api.permissions import permission
from serving.api.user_paths import UserRoute
from serving.api.wire.flags import DecisionsOut, wire_decision
from serving.api.wire.people import (
    Alias,
    DataOut,
    DeletedOut,
    IdentityOut,
    LinkedId,
    PersonEventsOut,
    UnlinkedOut,
    UserOut,
    UserPage,
)
from serving.api.wire.shared import wire_change
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.http.answers import json_answer, json_text
from serving.ids import checked_record, raw_id, shard_of
from serving.ingest.accept import NAME_CHARACTERS_MAX
from serving.ingest.message_ids import made_id
from serving.lookups import people as questions
from serving.lookups.timeline import Place, person_events
from serving.lookups.worker import in_worker
from serving.people.all_values import all_values, all_values_as_json, all_values_foreseen
from serving.people.decided import decided_bare
from serving.people.deletion import delete_person
from serving.people.links import unlink_id
from serving.refusals import NotFound, invalid
from serving.store.records import Record
from serving.times import rfc3339

router = APIRouter(
    prefix="/v1/admin/users", dependencies=[Depends(require_admin)], tags=["people"], route_class=UserRoute
)
#: The one call about a person that stands beside decisions, and so has no `admin` in its path.
live = APIRouter(tags=["users"], route_class=UserRoute)

#: Users on a page of the search, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 50, 100, 100_000_000
QUERY_CHARACTERS_MAX = 500
#: Events on a page of a person's data, if not said otherwise and at most, and how many may be passed over.
EVENTS_PAGE, EVENTS_PAGE_MAX, EVENTS_OFFSET_MAX = 10_000, 100_000, 1_000_000_000
_TRAITS = permission("GET", "/v1/users/{user}/traits")
#: Events on a page of a person's timeline, if not said otherwise and at most.
TIMELINE_PAGE, TIMELINE_PAGE_MAX = 100, 1_000
#: How long an answer waits for the lake to have what Redis has, and how often it looks.
SETTLED_S, LOOK_S = 5.0, 0.05


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────


# Before `detail`, whose path takes any id: the first route that fits a path answers it.
@router.get("/search")
async def search(
    engine: EngineOf,
    query: Annotated[str, Query(max_length=QUERY_CHARACTERS_MAX)] = "",
    limit: Annotated[int, Query(ge=0, description=f"0 is {PAGE}, more than {PAGE_MAX} is {PAGE_MAX}")] = PAGE,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> UserPage:
    """Users whose id contains the text, whatever its case, the newest first; without a text all users.

    A text with a kind before it, `user:ad`, is the beginning of an id of that kind, as `id` shows it.
    """
    limit = min(limit or PAGE, PAGE_MAX)
    return UserPage.model_validate(await in_worker(questions.search, await engine.source(), query, limit, offset))


@router.get("/{user:whole}", responses=NOT_FOUND)
async def detail(user: str, engine: EngineOf) -> UserOut:
    """One user: ids, attributes, live traits and segments, recent events and counts as far as they are drained."""
    told, _ = await told_of(engine, _namespaced(user), _always, all_values_foreseen)
    records, (values, changes, lacking) = told.records, told.said
    ids = [record.id for record in records]
    in_lake = await in_worker(questions.detail, await engine.source(), ids, _shards_of(engine, ids), engine.clock_ms())
    if in_lake is None and not any(record.has_events for record in records):
        raise _no_user(user)
    if lacking:
        await engine.want_rebuild_of(lacking)
    since: dict[str, int] = (in_lake or {}).pop("since", {})
    warming = set(values["warming"])

    def next_change(kind: DefinitionKind, key: str) -> str:
        return wire_change(changes.get((kind, key), NoInstant.UNKNOWN))

    now = rfc3339(values["asof"]["now"])
    in_redis: dict[str, Any] = {
        "id": ids[0],
        "aliases": questions.aliases(ids),
        "ids": _linked_ids(records),
        "traits": [
            {
                "key": key,
                "value": value,
                "updated_at": now,
                "warming": key in warming,
                "nextChange": next_change("trait", key),
            }
            for key, value in values["traits"].items()
        ],
        "segments": [
            {
                "key": key,
                "inSegment": value,
                "since": rfc3339(since[key]) if value and key in since else None,
                "updated_at": now,
                "warming": key in warming,
                "nextChange": next_change("segment", key),
            }
            for key, value in values["segments"].items()
        ],
    }
    return UserOut.model_validate({"user": questions.NOTHING | (in_lake or {"created_at": now}) | in_redis})


@router.get("/{user:id}/identity", responses=NOT_FOUND)
async def identity(user: str, engine: EngineOf) -> IdentityOut:
    """The ids of the person that an id belongs to; each with its owner, since when, and by which event.

    The person's own id comes first; it has no owner.
    """
    told, _ = await told_of(engine, _namespaced(user), _never, attrgetter("id"))
    _require_known(user, told.records)
    return IdentityOut(id=told.said, ids=_linked_ids(told.records))


@router.get("/{user:id}/data", responses={200: {"model": DataOut}, **NOT_FOUND})
async def data(
    user: str,
    engine: EngineOf,
    limit: Annotated[int, Query(ge=1, le=EVENTS_PAGE_MAX)] = EVENTS_PAGE,
    offset: Annotated[int, Query(ge=0, le=EVENTS_OFFSET_MAX)] = 0,
) -> Response:
    """Everything that is known of a person: ids, attributes, traits, segments, and events as they came, oldest first.

    Events come in pages; everything else is on each page.
    """
    told, _ = await told_of(engine, _namespaced(user), _always, all_values)
    records, (values, _) = told.records, told.said
    await _is_drained(engine, {record.id: record.last_seq for record in records})
    ids = [record.id for record in records]
    in_lake = await in_worker(questions.data, await engine.source(), ids, _shards_of(engine, ids), limit, offset)
    if in_lake["total"] == 0 and not any(record.has_events for record in records):
        raise _no_user(user)
    asof = rfc3339(values["asof"]["now"])
    in_redis = {"id": ids[0], "ids": [id.model_dump() for id in _linked_ids(records)], "asof": asof}
    live = {name: values[name] for name in ("traits", "segments")}
    # A page may have a hundred thousand events: no model looks at each of them in the event loop.
    return json_answer(in_lake | in_redis | live | {"events": msgspec.Raw(in_lake["events"])})


@router.get("/{user:id}/decisions", responses={200: {"model": DecisionsOut}, **NOT_FOUND})
async def decisions(user: str, engine: EngineOf) -> Response:
    """All flags for one user, each with its reasons. It is no activity: no flag looks used by it."""
    told, _ = await told_of(engine, _namespaced(user), lambda known: are_many(known.flags), decided_bare, None, None)
    _require_known(user, told.records)
    decided = told.said
    body = [wire_decision(key, user, decision) for key, decision in decided.decisions.items()]
    return json_answer({"userId": user, "decisions": body, "asof": decided.asof})


@router.get("/{user:id}/events", responses={200: {"model": PersonEventsOut}, **NOT_FOUND})
async def events(
    user: str,
    engine: EngineOf,
    since: From = None,
    until: To = None,
    name: Annotated[str | None, Query(max_length=NAME_CHARACTERS_MAX, description="of events of this name")] = None,
    limit: Annotated[int, Query(ge=1, le=TIMELINE_PAGE_MAX)] = TIMELINE_PAGE,
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> Response:
    """A person's events, the newest first: those of any period and name, from their acknowledgement on.

    Pages are exact: no event is on two of them, or on none, while new ones come.
    """
    period = open_period_of(since, until)
    before = _place(cursor)
    records = await engine.read_marks(_namespaced(user))
    ids, redis_url = [record.id for record in records], str(engine.settings.redis_url)
    page = await in_worker(
        person_events, redis_url, engine.settings.shards, await engine.source(), ids, period, name, before, limit
    )
    if not page["any"] and not any(record.has_events for record in records):
        raise _no_user(user)
    cursor = None if page["next"] is None else _cursor(page["next"])
    return json_answer({"events": page["events"], "cursor": cursor, "complete": page["complete"]})


def _shards_of(engine: Engine, ids: Collection[str]) -> list[int]:
    return sorted({shard_of(id, engine.settings.shards) for id in ids})


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _place(cursor: str | None) -> Place | None:
    """The place that a cursor stands for. Raises `Invalid`."""
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(b64decode(cursor, altchars=b"-_", validate=True), type=Place)
    except (ValueError, msgspec.DecodeError):
        raise invalid("cursor", cursor, "send the cursor of the page before, or leave it out") from None


@live.get("/v1/users/{user:id}/traits")
async def traits(user: str, request: Request) -> Response:
    """All traits and segments of a user, live; for a profile key. `warming` names those not complete yet."""
    engine: Engine = request.app.state.engine
    in_query = key_in_query(request.scope["query_string"])
    await engine.require(request.headers.get("authorization"), in_query, _TRAITS)
    told, _ = await told_of(engine, _namespaced(user), lambda known: are_many(known.definitions), all_values_as_json)
    text, lacking = told.said
    if lacking:
        await engine.want_rebuild_of(lacking)
    return json_text(text)


def _always(known: Catalogue) -> bool:
    return True


def _never(known: Catalogue) -> bool:
    return False


def _namespaced(user: str) -> str:
    """The namespaced id that a path names. Raises `Invalid` for what is no id."""
    return checked_record("userId", user)


def _require_known(user: str, records: Sequence[Record]) -> None:
    if not any(record.has_events or record.base is not None for record in records):
        raise _no_user(user)


def _no_user(user: str) -> NotFound:
    return NotFound("User not found", {"field": "userId", "value": user})


def _linked_ids(records: Sequence[Record]) -> list[LinkedId]:
    """The ids of a person: their own first, then the others in the order in which they were linked."""
    own, *others = records
    others.sort(key=lambda record: (record.owner.since_ms if record.owner else 0, record.id))
    linked = []
    for record in (own, *others):
        kind, value = raw_id(record.id)
        owner = record.owner
        linked.append(
            LinkedId(
                id=record.id,
                kind=questions.ALIAS_KINDS[kind],
                value=value,
                owner=owner.id if owner else None,
                since=rfc3339(owner.since_ms) if owner else None,
                event=owner.event_id if owner else None,
            )
        )
    return linked


async def _is_drained(engine: Engine, seqs: Mapping[str, int]) -> bool:
    """Whether the lake has the logs of these ids up to these seqs. Waits for it for `SETTLED_S`."""
    wanted: dict[int, int] = {}
    for id, seq in seqs.items():
        shard = shard_of(id, engine.settings.shards)
        wanted[shard] = max(seq, wanted.get(shard, 0))
    for _ in range(int(SETTLED_S / LOOK_S)):
        states = await engine.with_refusals(engine.store.shard_states())
        if all(states[shard].drained >= seq for shard, seq in wanted.items()):
            return True
        await asyncio.sleep(LOOK_S)
    return False


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/{user:id}/unlink", responses=NOT_FOUND)
async def unlink(user: str, engine: EngineOf, author: Admin) -> UnlinkedOut:
    """Takes an id from the person it belongs to. From the next read on it is a person of its own, with its own events.

    Name the id that leaves: `anon:…`, `email:…`, or an aliased user. A later call that names both links them again.
    """
    id = _namespaced(user)
    (record,) = (await engine.read([id])).records
    if record.owner is None:
        raise NotFound(
            f"{id} belongs to nobody else", {"field": "userId", "value": user, "remedy": "name a linked id: anon:…"}
        )
    # Noted before it is done: while the lake is away the call is refused, so every unlink has a note.
    await _note(engine, author.label, "unlink", [id])
    owner = await engine.follow(unlink_id(engine.store.operations, id, made_id())) or record.owner
    return UnlinkedOut(success=True, id=id, owner=owner.id)


@router.delete("/{user:whole}")
async def delete(user: str, engine: EngineOf, author: Admin) -> DeletedOut:
    """Deletes the person that an id belongs to, with all their ids: they are gone from every answer, for good.

    Later events of these ids count alone. The lake's files lose the person with the next `tinycdp purge`. `settled` is
    false while the drain is behind, so that the lake does not know yet; live answers do not wait for it.
    """
    id = _namespaced(user)
    noted = [record.id for record in await engine.read_marks(id)]
    await _note(engine, author.label, "delete", noted)  # before it is done, as above
    seqs = await engine.follow(delete_person(engine.store.operations, id, made_id()))
    await _note(engine, author.label, "delete", sorted(seqs.keys() - set(noted)))
    settled = await _is_drained(engine, seqs)
    deleted = [Alias(**alias) for alias in questions.aliases(list(seqs))]
    return DeletedOut(success=True, deleted=deleted, settled=settled)


async def _note(engine: Engine, author: str, action: str, ids: Collection[str]) -> None:
    """Notes in the audit log who did what to these ids. They are hashed, since the log outlives the person."""
    digests = [blake2b(id.encode(), digest_size=16).hexdigest() for id in ids]
    if digests:
        await to_thread.run_sync(audit.note_all, engine.history, engine.clock_ms(), author, action, "user", digests)
