"""Change streams over HTTP: a client is told that its answer has changed, and asks again.

The address comes with an answer about all flags (`serving.api.stream_address`), and the ticket in it is as good as a
key. What is told is small, and says nothing about anybody: the tag that the answer would have now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, TypeAlias

import msgspec
from fastapi import APIRouter, Header, Request

from serving.api import decide, ofrep
from serving.api.beside import are_many, beside
from serving.api.dependencies import ERROR_IN_JSON, NOT_FOUND, EngineOf, Responses
from serving.api.live_person import small_person, told_elsewhere
from serving.api.stream_address import state_id
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.http.event_stream import EventStream
from serving.ids import namespaced
from serving.people.decided import Decided
from serving.people.outlook import Outlook, outlook
from serving.people.person import Person
from serving.refusals import NotFound, cut
from serving.store.deadlines import within
from serving.streams.changes import ChangeStreams, State
from serving.streams.tickets import PATH, Subject, is_by, name_of, subject_in, tag_in

router = APIRouter(tags=["users"])

#: How long an opening waits for Redis.
OPENING_S = 1.0
#: Characters of a `Last-Event-ID` that are read.
EVENT_ID_CHARACTERS_MAX = 200
_RETRY_AFTER = {"Retry-After": {"description": "in whole seconds", "schema": {"type": "integer", "minimum": 1}}}
_ANSWERS: Responses = {
    200: {
        "description": "Server-sent events: `id`, and `data` as `{type: refetchEvaluation, etag}` for each change.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    404: {"description": NOT_FOUND[404]["description"], **ERROR_IN_JSON},
    429: {"description": "Too many streams of this ticket or key.", "headers": _RETRY_AFTER, **ERROR_IN_JSON},
}


@router.get(PATH + "{ticket}", status_code=200, response_class=EventStream, responses=_ANSWERS)
async def stream(
    request: Request,
    ticket: str,
    engine: EngineOf,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=EVENT_ID_CHARACTERS_MAX)] = None,
) -> EventStream:
    """Tells when a flag says something else for whom an answer was about. The address was given out with the answer.

    No key is needed: the ticket is one. It ends with its key, and at most ten minutes after it was given out or open.
    """
    subject, digest = await _behind(engine, ticket)
    streams: ChangeStreams = request.app.state.streams
    return streams.open(ticket, subject, digest, last_event_id)


@within(OPENING_S)
async def _behind(engine: Engine, ticket: str) -> tuple[Subject, bytes]:
    """What a ticket stands for, and the digest of its key, which has now asked once more.

    Raises `NotFound`, `TooMany`, `Unavailable`.
    """
    tag = tag_in(ticket)
    key = None if tag is None else await engine.tagged_key(tag)
    if key is not None and is_by(ticket, key.digest):
        engine.keys.rates.take(key.id)
        seal = await engine.with_refusals(engine.store.ticket_seal(name_of(ticket)))
        subject = None if seal is None else subject_in(seal, ticket)
        if subject is not None and subject.key_id == key.id:  # else the key has another's place in the settings now
            return subject, key.digest
    remedy = "ask for decisions again: the answer has an address"
    raise NotFound("Stream not found", {"field": "ticket", "value": cut(ticket), "remedy": remedy})


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def streams_of(engine: Engine) -> ChangeStreams:
    """The change streams of a process."""
    return ChangeStreams(engine, partial(examined, engine))


async def examined(engine: Engine, subjects: Sequence[Subject]) -> list[State | BaseException]:
    """What every flag says now for whom each subject is about, or what keeps that from being known."""
    people = await asyncio.gather(
        *(small_person(engine, _asked(subject)) for subject in subjects), return_exceptions=True
    )

    def looked_at() -> list[_Looked | BaseException | None]:
        return [_looked_at(subject, person) for subject, person in zip(subjects, people, strict=True)]

    is_long = any(isinstance(person, Person) and are_many(person.catalogue.flags) for person in people)
    looked = await beside(looked_at, is_patient=True) if is_long else looked_at()
    large = [at for at, look in enumerate(looked) if look is None]
    elsewhere = await asyncio.gather(
        *(told_elsewhere(engine, _asked(subjects[at]), outlook, _device(subjects[at])) for at in large),
        return_exceptions=True,
    )
    for at, look in zip(large, elsewhere, strict=True):
        looked[at] = look if isinstance(look, BaseException) else (look[0].said, look[1])
    found = [look for look in looked if isinstance(look, tuple)]
    lacking = dict.fromkeys(id for of_one, _ in found for id in of_one.lacking)
    if lacking:
        await engine.want_rebuild_of(list(lacking))
    return [
        _state(subject, *look) if isinstance(look, tuple) else look
        for subject, look in zip(subjects, looked, strict=True)
        if look is not None
    ]


#: What is seen of a person, and the catalogue that it rests on.
_Looked: TypeAlias = tuple[Outlook, Catalogue]


def _asked(subject: Subject) -> str | None:
    return next(iter(subject.ids.strongest_first), None)


def _device(subject: Subject) -> str | None:
    return None if subject.anonymous is None else namespaced("anon", subject.anonymous)


def _looked_at(subject: Subject, person: Person | BaseException | None) -> _Looked | BaseException | None:
    """None where another process has to look."""
    if not isinstance(person, Person):
        return person
    try:
        return outlook(person, _device(subject)), person.catalogue
    except Exception as error:
        return error


def _state(subject: Subject, seen: Outlook, catalogue: Catalogue) -> State:
    decided = msgspec.structs.replace(seen.decided, flags=catalogue.flags)
    return State(
        id=state_id(decided),
        ids=seen.ids,
        version=seen.version,
        moves_s=seen.moves_s,
        work_s=seen.work_s,
        tag=partial(_tag, subject, decided),
    )


_TAGS: dict[str, Callable[[Decided, Any], str]] = {"decide": decide.tag_with_stream, "ofrep": ofrep.tag_with_stream}


def _tag(subject: Subject, decided: Decided) -> str:
    """The tag of the answer that the client would get now, with the address of the stream in it."""
    return _TAGS[subject.protocol](decided, subject.ids)
