"""Tells open change streams when a decision of theirs has changed.

    a round, every 300 ms:  marks of all ids, part by part  →  who moved                        ┐
    three times in it:      the catalogue's version         →  who was decided by an older one  ├→  examined
                            the clock                       →  for whom time may have changed something  ┘
    examined: the person is read and every flag decided  →  another state than was told  →  a message

A process does so for its own streams alone, and only reads: what writes knows nothing of streams. A few people are
examined at the same time, and those whose decisions take long the more rarely, the longer they take.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import structlog

from serving.engine import Engine
from serving.http.event_stream import EventStream, Latest
from serving.refusals import Refusal
from serving.store.base_codec import CodecError
from serving.store.deadlines import within
from serving.store.errors import StoreError
from serving.store.requests import chunks
from serving.streams.listeners import Followed, Listener, Listeners
from serving.streams.marks import Marks, moved
from serving.streams.tickets import NEW_A_SECOND, RENEWED_AFTER_MS, TICKET_TTL_MS, Subject, name_of

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode

#: How often marks are read. With the time to decide it is well below the second in which a change is told.
ROUND_S = 0.3
#: How often the catalogue's version is looked at, on which everybody may depend.
VERSION_S = 0.1
#: For one person time alone is looked at once in so long, though something may leave a window each second: ten seconds,
#: less the time in which it is their turn. And everybody is looked at in so long, whatever moved.
TIME_LOOK_S, LOOK_S = 9.0, 60.0
#: A look at an instant comes so much after it: clocks do not run alike.
AFTER_S = 0.05
#: People who are examined together, and how often at the same time: their reads are written together, and a thread that
#: decides has a turn for all of them. While some are decided, others are read.
EXAMINED_TOGETHER, EXAMINED_AT_ONCE = 8, 2
#: A look that the processor worked on for longer is not repeated for so many times as long, at most for `REST_S_MAX`.
LONG_LOOK_S, REST_TIMES, REST_S_MAX = 0.02, 9, 5.0
#: A look that failed is repeated after this.
AGAIN_S = 1.0
#: How long a round, and an examination, wait for Redis.
WAIT_S = 2.0
#: When a client whose connection ended opens a new one: by chance, so that those of a process that ends do not come all
#: at once.
RETRY_MS = 1_000, 5_000
RENEWED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class State:
    """What was decided for a person: the `id` of all values, variants and allows, and the ids that it depends on.

    `version` is the catalogue's. Time alone changes nothing for `moves_s` from now on; None: it never does. `work_s` is
    how long the processor worked on it. The `tag` of the answer is only made where it is told.
    """

    id: str
    ids: Collection[str]
    version: int
    moves_s: float | None
    work_s: float
    tag: Callable[[], str]


Examine: TypeAlias = Callable[[Sequence[Subject]], Awaitable[Sequence[State | BaseException]]]


class ChangeStreams:
    """The change streams of one process. `examine` reads and decides, and gives of each the state, or what failed."""

    def __init__(self, engine: Engine, examine: Examine) -> None:
        self.listeners = Listeners(engine.settings.connections_max)
        self.new_tickets = engine.keys.rates_of(NEW_A_SECOND)
        self._engine, self._examine = engine, examine
        self._marks = Marks(engine.settings.shards)
        self._ahead: deque[Followed] = deque()
        self._waiting: deque[Followed] = deque()
        self._version: int | None = None
        self._version_due_s = 0.0
        self._has_streams, self._has_waiting = asyncio.Event(), asyncio.Event()

    def open(self, ticket: str, subject: Subject, digest: bytes, last_event_id: str | None) -> EventStream:
        """An answer that tells of changes, from the state on that its client names. Raises as `require_room` does."""
        self.listeners.require_room(ticket, subject.key_id)
        now_s = asyncio.get_running_loop().time()
        listener = Listener(Latest(), last_event_id)
        followed = self.listeners.add(
            Followed(ticket, subject, digest, renew_s=now_s + RENEWED_AFTER_MS / 1000), listener
        )
        self._has_streams.set()
        self._want(followed, is_ahead=True)

        def end() -> None:
            if self.listeners.remove(followed, listener):
                self._marks.forget(ticket)
                if not self.listeners.followed:
                    self._has_streams.clear()

        return EventStream(b"retry: %d\n\n" % random.randint(*RETRY_MS), listener.latest, end)

    def answered(self, ticket: str, state_id: Callable[[], str]) -> None:
        """Takes note of what an answer to a client of a ticket said, which it keeps until it is told of a change.

        Where that is not what was told, the next look tells what it finds, though it were what was told last: the state
        between the two may have come and gone between two looks.
        """
        followed = self.listeners.followed.get(ticket)
        if followed is None:
            return
        told = {listener.told for listener in followed.listeners} - {None}
        if told and told != {state_id()}:
            followed.has_other_answer = True
            self._want(followed, is_ahead=True)

    async def run(self) -> None:
        """Follows all streams, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._rounds())
            for _ in range(EXAMINED_AT_ONCE):
                tasks.create_task(self._examine_waiting())

    # ── rounds ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_streams.wait()
            ends_s = loop.time() + ROUND_S
            try:
                await self._round(ends_s)
            except (StoreError, Refusal):
                pass  # Redis is away, as all that this process answers says: the next round sees what moved meanwhile
            except Exception as error:  # a task that ends would follow nobody any more
                log.error("streams_not_followed", exc_info=error)
            await asyncio.sleep(max(0.0, ends_s - loop.time()))

    @within(WAIT_S)
    async def _round(self, ends_s: float) -> None:
        loop, store = asyncio.get_running_loop(), self._engine.store
        self._end_those_without_a_key()
        await self._look_at_version()
        self._want_those_who_are_due(loop.time())
        await self._renew(loop.time())
        pause_s = max(0.0, ends_s - loop.time()) / max(1, len(self._marks.parts()))
        with closing(self._marks.round()) as parts:
            for part in parts:
                marks = await store.marks([marked.command for marked in part])
                for ticket in moved(part, marks):
                    if (followed := self.listeners.followed.get(ticket)) is not None:
                        self._want(followed, is_ahead=True)
                await asyncio.sleep(pause_s)
                if await self._look_at_version():
                    self._want_those_who_are_due(loop.time())

    async def _look_at_version(self) -> bool:
        """Whether the catalogue has another version than it had, as far as it is time to look."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._version_due_s:
            return False
        self._version_due_s = now_s + VERSION_S
        version = await self._engine.store.catalogue_version()
        if version is None or version == self._version:
            return False
        await self._engine.at_least(version)  # once, and not by each of those who are examined
        self._version = version
        return True

    def _end_those_without_a_key(self) -> None:
        digest = self._engine.keys.digest
        self.listeners.close(
            followed
            for followed in self.listeners.followed.values()
            if digest(followed.subject.key_id) != followed.digest
        )

    def _want_those_who_are_due(self, now_s: float) -> None:
        for followed in self.listeners.followed.values():
            if followed.due_s <= now_s:
                followed.time_look_s = now_s
                self._want(followed)
            elif followed.version not in (None, self._version):
                self._want(followed)

    async def _renew(self, now_s: float) -> None:
        """Lets Redis keep the tickets of open streams."""
        old = [followed for followed in self.listeners.followed.values() if followed.renew_s <= now_s]
        for part in chunks(old, RENEWED_AT_ONCE):
            await self._engine.store.renew_tickets([name_of(followed.ticket) for followed in part], TICKET_TTL_MS)
            for followed in part:
                followed.renew_s = now_s + RENEWED_AFTER_MS / 1000

    # ── examining ────────────────────────────────────────────────────────────────────────────────────────────────

    def _want(self, followed: Followed, is_ahead: bool = False) -> None:
        """Lets a ticket be examined, once however often it is wanted meanwhile.

        Those of whom something moved, and new ones, go ahead of those who are looked at since a definition or time may
        have changed something: these may be all.
        """
        followed.is_wanted = True
        if is_ahead and not followed.is_ahead:
            followed.is_ahead = True
            self._ahead.append(followed)
        elif not (is_ahead or followed.is_ahead or followed.is_waiting):
            followed.is_waiting = True
            self._waiting.append(followed)
        self._has_waiting.set()

    async def _examine_waiting(self) -> None:
        while True:
            while not (self._ahead or self._waiting):
                self._has_waiting.clear()
                await self._has_waiting.wait()
            turn = self._turn(asyncio.get_running_loop().time())
            try:
                if turn:
                    await self._look_at(turn)
            except Exception as error:  # a task that ends would examine nobody any more
                log.error("streams_not_examined", exc_info=error)
            finally:
                for followed in turn:
                    followed.is_examined = False
            await asyncio.sleep(0)

    def _turn(self, now_s: float) -> list[Followed]:
        """Those whose turn it is, each of them marked: nobody else examines them meanwhile."""
        turn: list[Followed] = []
        while len(turn) < EXAMINED_TOGETHER and (self._ahead or self._waiting):
            if self._ahead:
                followed = self._ahead.popleft()
                followed.is_ahead = False
            else:
                followed = self._waiting.popleft()
                followed.is_waiting = False
            is_wanted, followed.is_wanted = followed.is_wanted and bool(followed.listeners), False
            if is_wanted and (followed.is_examined or now_s < followed.not_before_s):
                followed.due_s = 0.0  # the next round wants it again
            elif is_wanted:
                followed.is_examined = True
                turn.append(followed)
        return turn

    @within(WAIT_S)
    async def _look_at(self, turn: Sequence[Followed]) -> None:
        """Examines some, and tells those who listen if they know of another state."""
        began_s = asyncio.get_running_loop().time()
        for followed in turn:
            followed.due_s = began_s + TIME_LOOK_S
        try:
            states = await self._examine([followed.subject for followed in turn])
        except (Refusal, StoreError) as error:
            states = [error] * len(turn)
        for followed, state in zip(turn, states, strict=True):
            if isinstance(state, (Refusal, StoreError, CodecError)):
                followed.due_s = began_s + AGAIN_S
                continue
            if isinstance(state, BaseException):
                log.error("stream_not_examined", exc_info=state)
                continue
            try:
                self._found(followed, state, began_s)
            except Exception as error:  # the others of the turn are told all the same
                log.error("stream_not_examined", exc_info=error)

    def _found(self, followed: Followed, state: State, began_s: float) -> None:
        is_said = followed.has_other_answer
        untold = [listener for listener in followed.listeners if is_said or listener.told != state.id]
        text = message(state.id, state.tag()) if untold else b""  # before all else: where this fails nothing was told
        if state.work_s > LONG_LOOK_S:
            ended_s = asyncio.get_running_loop().time()
            followed.not_before_s = ended_s + min(REST_TIMES * state.work_s, REST_S_MAX)
        if not followed.listeners:
            return
        if followed.due_s > began_s:  # else it was wanted again meanwhile
            moves_s = LOOK_S if state.moves_s is None else state.moves_s + AFTER_S
            followed.due_s = max(began_s + min(moves_s, LOOK_S), followed.time_look_s + TIME_LOOK_S)
        followed.version = state.version
        self._marks.follow(followed.ticket, state.ids)
        followed.has_other_answer = False
        for listener in untold:
            listener.told = state.id
            listener.latest.put(text)


def message(state_id: str, tag: str) -> bytes:
    """A server-sent event: the answer has another tag now, ask again. Its id is the state that is told of."""
    return b"id: %b\ndata: %b\n\n" % (state_id.encode(), _encode({"type": "refetchEvaluation", "etag": tag}))
