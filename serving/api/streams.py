"""Change streams over HTTP: a client is told that its answer has changed, and asks again.

The address comes with an answer about all flags (`serving.api.stream_address`), and the handle in it is as good as a
key. What is told is small, and says nothing about anybody: the tag that the answer would have now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import thread_time
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Header, Request

from serving.api import decide, ofrep
from serving.api.beside import beside, is_large
from serving.api.dependencies import ERROR_IN_JSON, NOT_FOUND, EngineOf, Responses, live_person
from serving.api.stream_address import state_id
from serving.engine import Engine
from serving.http.event_stream import EventStream
from serving.ids import namespaced
from serving.people.decide import next_move_ms
from serving.people.decided import Decided, decided_for
from serving.people.person import Person
from serving.refusals import NotFound, cut
from serving.store.deadlines import within
from serving.streams.changes import ChangeStreams, State
from serving.streams.handles import PATH, Subject, handle_of, is_handle, subject_of

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
    429: {"description": "Too many streams of this handle or key.", "headers": _RETRY_AFTER, **ERROR_IN_JSON},
}


@router.get(PATH + "{handle}", status_code=200, response_class=EventStream, responses=_ANSWERS)
async def stream(
    request: Request,
    handle: str,
    engine: EngineOf,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=EVENT_ID_CHARACTERS_MAX)] = None,
) -> EventStream:
    """Tells when a flag says something else for whom an answer was about. The address was given out with the answer.

    No key is needed: the handle is one. It is gone with its key, and ten minutes after it was last given out or open.
    """
    subject, digest = await _behind(engine, handle)
    engine.keys.rates.take(subject.key_id)
    streams: ChangeStreams = request.app.state.streams
    return streams.open(handle, subject, digest, last_event_id)


@within(OPENING_S)
async def _behind(engine: Engine, handle: str) -> tuple[Subject, bytes]:
    """What a handle stands for, and the digest of its key. Raises `NotFound`, `Unavailable`."""
    text = await engine.with_refusals(engine.store.handle_text(handle)) if is_handle(handle) else None
    if text is not None:
        subject = subject_of(text)
        digest = await engine.digest(subject.key_id)
        if digest is not None and handle_of(subject, digest) == handle:  # else another key has that one's place
            return subject, digest
    remedy = "ask for decisions again: the answer has an address"
    raise NotFound("Stream not found", {"field": "handle", "value": cut(handle), "remedy": remedy})


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def streams_of(engine: Engine) -> ChangeStreams:
    """The change streams of a process."""
    return ChangeStreams(engine, partial(examined, engine))


async def examined(engine: Engine, subjects: Sequence[Subject]) -> list[State | BaseException]:
    """What every flag says now for whom each subject is about, or what keeps that from being known."""
    people = await asyncio.gather(
        *(live_person(engine, *subject.ids.strongest_first[:1]) for subject in subjects), return_exceptions=True
    )

    def decide_all() -> list[_Looked | BaseException]:
        return [_looked_at(subject, person) for subject, person in zip(subjects, people, strict=True)]

    is_long = any(
        isinstance(person, Person) and is_large(person.reading.records, len(person.catalogue.flags))
        for person in people
    )
    looked = await beside(decide_all, is_patient=True) if is_long else decide_all()
    lacking = dict.fromkeys(id for look in looked if isinstance(look, _Looked) for id in look.lacking)
    if lacking:
        await engine.want_rebuild_of(list(lacking))
    return [look.state if isinstance(look, _Looked) else look for look in looked]


class _Looked(NamedTuple):
    """A state, and the ids that only a rebuild of their own makes whole."""

    state: State
    lacking: Sequence[str]


def _looked_at(subject: Subject, person: Person | BaseException) -> _Looked | BaseException:
    if not isinstance(person, Person):
        return person
    began_s = thread_time()
    try:
        device = None if subject.anonymous is None else namespaced("anon", subject.anonymous)
        decided = decided_for(person, device, None)
        lacking = [id for decision in decided.decisions.values() for id in decision.lacking]
        moves_ms = person.now_ms if lacking else next_move_ms(person)  # nobody can tell when something is lacking
        state = State(
            id=state_id(decided),
            ids=_depends_on(person),
            version=person.catalogue.version,
            moves_s=None if moves_ms is None else (moves_ms - person.now_ms) / 1000,
            work_s=thread_time() - began_s,
            tag=partial(_tag, subject, decided),
        )
        return _Looked(state, lacking)
    except Exception as error:
        return error


def _depends_on(person: Person) -> tuple[str, ...]:
    """The person's ids, whom they belong to, and those that they list: one of these may be the person's next."""
    ids: dict[str, None] = {}
    for record in person.reading.records:
        ids |= dict.fromkeys((record.id, *record.members))
        if record.owner is not None:
            ids[record.owner.id] = None
    return tuple(ids)


_TAGS: dict[str, Callable[[Decided, Any], str]] = {"decide": decide.tag_with_stream, "ofrep": ofrep.tag_with_stream}


def _tag(subject: Subject, decided: Decided) -> str:
    """The tag of the answer that the client would get now, with the address of the stream in it."""
    return _TAGS[subject.protocol](decided, subject.ids)
