"""One person over HTTP: whose ids are whose and since when, unlinking, deletion, and all that is known, to hand out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Query

from serving.access import audit
from serving.api.dependencies import MISSING, Admin, EngineOf, require_admin
from serving.api.user_paths import UserRoute
from serving.api.users import all_values, read_person
from serving.api.wire.people import Alias, DataOut, DeletedOut, IdentityOut, LinkedId, UnlinkedOut
from serving.engine import Engine
from serving.ids import identifier, raw_id, record_of, shard_of
from serving.ingest.message_ids import made_id
from serving.lookups import questions
from serving.lookups.questions import asked
from serving.people.deletion import delete_person
from serving.people.links import unlink_id
from serving.refusals import NotFound
from serving.store.records import Record
from serving.times import rfc3339

router = APIRouter(
    prefix="/v1/admin/users", dependencies=[Depends(require_admin)], tags=["people"], route_class=UserRoute
)

#: How long an answer waits for the lake to have what Redis has, before it says that it has not yet.
SETTLED_S, LOOK_S = 5.0, 0.05


@router.get("/{user:id}/identity", responses=MISSING)
async def identity(user: str, engine: EngineOf) -> IdentityOut:
    """The ids of the person that an id belongs to: each one's owner, since when, and by which event.

    The person's own id comes first; it has no owner.
    """
    who = await read_person(engine, _named(user))
    records = who.reading.records
    if not any(record.has_events or record.base is not None for record in records):
        raise NotFound("User not found", {"field": "userId", "value": user})
    return IdentityOut(id=records[0].id, ids=_linked(records))


@router.post("/{user:id}/unlink", responses=MISSING)
async def unlink(user: str, engine: EngineOf, author: Admin) -> UnlinkedOut:
    """Takes an id from the person it belongs to: it is a person of its own from the next read on, with its own events.

    Name the id that is to go: `anon:…`, `email:…`, or an aliased user. A later call that names both links them again.
    """
    named = _named(user)
    (record,) = (await engine.read([named])).records
    if record.owner is None:
        raise NotFound(
            f"{named} belongs to nobody else", {"field": "userId", "value": user, "remedy": "name a linked id: anon:…"}
        )
    # First, so that nothing is done that nobody can be asked about: while the lake is away the call is refused.
    await _note(engine, author.label, "unlink", named)
    owner = await engine.follow(unlink_id(engine.store.operations, named, made_id())) or record.owner
    return UnlinkedOut(success=True, id=named, owner=owner.id)


@router.delete("/{user:whole}")
async def delete(user: str, engine: EngineOf, author: Admin) -> DeletedOut:
    """Deletes the person that an id belongs to, every id of them: gone from every answer, for good.

    New events count anew, and alone. What the lake's files hold goes with the next `tinycdp purge`. `settled` is false
    while the lake does not know yet (the drain is behind): live answers do not wait for it.
    """
    named = _named(user)
    noted = [record.id for record in (await engine.read_person(named)).records]
    for one in noted:  # before it is done, as above
        await _note(engine, author.label, "delete", one)
    seqs = await engine.follow(delete_person(engine.store.operations, named, made_id()))
    for one in seqs.keys() - set(noted):  # linked meanwhile
        await _note(engine, author.label, "delete", one)
    settled = await _is_drained(engine, seqs)
    deleted = [Alias(**one) for one in questions.aliases(list(seqs))]
    return DeletedOut(success=True, deleted=deleted, settled=settled)


@router.get("/{user:id}/data", responses=MISSING)
async def data(
    user: str,
    engine: EngineOf,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
) -> DataOut:
    """Everything that is known of a person: ids, attributes, traits, segments, and events as they came, oldest first.

    Events come in pages; all else is in each.
    """
    who = await read_person(engine, _named(user))
    records = who.reading.records
    await _is_drained(engine, {record.id: record.last_seq for record in records})
    ids = [record.id for record in records]
    found = await asked(questions.data, engine.settings.lake_root, ids, limit, offset)
    if found["total"] == 0 and not any(record.has_events for record in records):
        raise NotFound("User not found", {"field": "userId", "value": user})
    values, _ = all_values(who)
    shown = {"id": ids[0], "ids": _linked(records), "asof": rfc3339(who.now_ms)}
    return DataOut.model_validate(found | shown | {name: values[name] for name in ("traits", "segments")})


def _named(user: str) -> str:
    identifier({"userId": user}, "userId")
    return record_of(user)


def _linked(records: Sequence[Record]) -> list[LinkedId]:
    """The ids of a person, their own first, then in the order in which they were linked."""
    own, *others = records
    others.sort(key=lambda record: (record.owner.received_ms if record.owner else 0, record.id))
    found = []
    for record in (own, *others):
        kind, value = raw_id(record.id)
        owner = record.owner
        found.append(
            LinkedId(
                id=record.id,
                kind=questions.ALIAS_KINDS[kind],
                value=value,
                owner=owner.id if owner else None,
                since=rfc3339(owner.received_ms) if owner else None,
                event=owner.event_id if owner else None,
            )
        )
    return found


async def _is_drained(engine: Engine, seqs: Mapping[str, int]) -> bool:
    """Whether the lake has the logs of these ids up to these seqs; waits for it, for a while."""
    wanted: dict[int, int] = {}
    for one, seq in seqs.items():
        shard = shard_of(one, engine.settings.shards)
        wanted[shard] = max(seq, wanted.get(shard, 0))
    for _ in range(int(SETTLED_S / LOOK_S)):
        states = await engine.shard_states()
        if all(states[shard].drained >= seq for shard, seq in wanted.items()):
            return True
        await asyncio.sleep(LOOK_S)
    return False


async def _note(engine: Engine, author: str, action: str, namespaced_id: str) -> None:
    """Says in the audit log who did it; the id by its hash, since the log is kept when the person is gone."""
    digest = blake2b(namespaced_id.encode(), digest_size=16).hexdigest()
    await to_thread.run_sync(audit.note, engine.history, engine.clock_ms(), author, action, "user", digest)
