"""When people with a change stream are examined, on a real Redis; what examining finds is given by each test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from serving.access.keys import raw_keys
from serving.access.rates import Rates
from serving.app import engine_of
from serving.engine import Engine
from serving.ids import Ids
from serving.refusals import Unavailable
from serving.streams.changes import LONG_LOOK_S, REST_TIMES, TIME_LOOK_S, ChangeStreams, State
from serving.streams.tickets import TICKET_TTL_MS, Subject, kept_ticket, name_of
from tests.pipelines.world import World

ID = "user:ada"
SUBJECT = Subject("configured:read", "decide", "ada", None, None)

#: What the n-th look at the person finds, from 0 on.
Finds: TypeAlias = Callable[[int], State | BaseException]


def state(id: str = "one", moves_s: float | None = None, work_s: float = 0.0) -> State:
    """A state that was found, by the catalogue as it stands."""
    return State(id, (ID,), 0, moves_s, work_s, lambda: f'"{id}"')


class Watch:
    """The looks at one person: when each was, on the loop's clock, and what the stream was told."""

    def __init__(self, engine: Engine, finds: Finds, version: int | None) -> None:
        self.looks: list[float] = []
        self.told: list[bytes] = []
        self.streams = ChangeStreams(engine, self._examine)
        assert version is not None
        self._engine, self._finds, self._version = engine, finds, version

    async def _examine(self, subjects: Sequence[Subject]) -> list[State | BaseException]:
        found: list[State | BaseException] = []
        for _ in subjects:
            self.looks.append(asyncio.get_running_loop().time())
            one = self._finds(len(self.looks) - 1)
            found.append(replace(one, version=self._version) if isinstance(one, State) else one)
        return found

    async def send(self, message: Any) -> None:
        """Takes what the stream sends."""
        if message.get("body", b"").startswith(b"id: "):
            self.told.append(message["body"])

    async def receive(self) -> Any:
        """The client never leaves."""
        await asyncio.Event().wait()

    @contextmanager
    def open(self) -> Iterator[None]:
        """An open stream, and the task that follows it."""
        digest = self._engine.keys.digest(SUBJECT.key_id)
        assert digest is not None
        stream = self.streams.open("ticket", SUBJECT, digest, None)
        tasks = [
            asyncio.create_task(stream({}, self.receive, self.send)),
            asyncio.create_task(self.streams.run()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@pytest.fixture
def watched(
    redis_url: str, tmp_path: Path
) -> Callable[[Finds, Callable[[World, Watch], Coroutine[Any, Any, None]]], None]:
    """Runs a test on a recovered Redis, with one stream open, for at most 30 seconds."""
    world = World(redis_url, tmp_path)
    world.recover()
    raw_keys(world.settings)

    def run(finds: Finds, test: Callable[[World, Watch], Coroutine[Any, Any, None]]) -> None:
        async def in_loop() -> None:
            engine = engine_of(world.settings)
            watch = Watch(engine, finds, world.store.catalogue_version())
            try:
                with watch.open():
                    async with asyncio.timeout(30):
                        await test(world, watch)
            finally:
                await engine.store.close()
                engine.admin_store.close()

        asyncio.run(in_loop())

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Returns once it is so."""
    while not condition():
        await asyncio.sleep(0.01)


def test_a_look_that_fails_is_repeated(watched: Any) -> None:
    """Who opened the stream while Redis was away is told as soon as it answers."""

    async def test(_: World, watch: Watch) -> None:
        await until(lambda: len(watch.told) == 1)
        assert len(watch.looks) >= 3
        assert watch.told[0].startswith(b"id: one\n")

    watched(lambda look: state() if look >= 2 else Unavailable("away", {}, 1), test)


@pytest.mark.deep
def test_looks_that_fail_together_are_repeated_as_soon(watched: Any) -> None:
    """Redis went away between the reading and what is asked of it afterwards: the next look is not that of time."""

    def finds(look: int) -> State:
        if look < 2:
            raise Unavailable("away", {}, 1)
        return state()

    async def test(_: World, watch: Watch) -> None:
        await until(lambda: len(watch.told) == 1)
        assert watch.looks[2] - watch.looks[0] < TIME_LOOK_S

    watched(finds, test)


def test_a_bug_in_one_look_does_not_end_all_looks(watched: Any) -> None:
    """The next change of the person is told all the same."""

    async def test(world: World, watch: Watch) -> None:
        await until(lambda: len(watch.looks) == 1)
        watch.streams.listeners.followed["ticket"].due_s = 0.0
        await until(lambda: len(watch.told) == 1)

    watched(lambda look: state() if look else ZeroDivisionError(), test)


def test_one_of_whom_nothing_can_be_told_keeps_nobody_of_the_turn_waiting(redis_url: str, tmp_path: Path) -> None:
    """The tag of one answer cannot be made: the others that were examined with it are told by that same look."""
    world = World(redis_url, tmp_path)
    world.recover()
    raw_keys(world.settings)

    async def look() -> list[tuple[str, str | None]]:
        engine = engine_of(world.settings)
        looks: list[tuple[str, str | None]] = []  # each with what the sound one was told before
        version, digest = world.store.catalogue_version(), engine.keys.digest(SUBJECT.key_id)
        assert version is not None and digest is not None

        def no_tag() -> str:
            raise ZeroDivisionError

        async def examine(subjects: Sequence[Subject]) -> list[State | BaseException]:
            users = [str(subject.user) for subject in subjects]
            looks.extend((user, listener.told) for user in users)
            found = [State("one", (f"user:{user}",), version, None, 0.0, lambda: "tag") for user in users]
            return [
                replace(one, tag=no_tag) if user == "broken" else one for one, user in zip(found, users, strict=True)
            ]

        streams = ChangeStreams(engine, examine)
        for user in ("broken", "sound"):
            streams.open(user, subject_of(user), digest, None)
        listener = streams.listeners.followed["sound"].listeners[0]
        task = asyncio.create_task(streams.run())
        try:
            async with asyncio.timeout(60):
                await until(lambda: listener.told == "one")
            return list(looks)
        finally:
            task.cancel()
            await engine.store.close()
            engine.admin_store.close()

    looks = asyncio.run(look())

    assert looks[:2] == [("broken", None), ("sound", None)]
    assert all(told == "one" for user, told in looks[2:] if user == "sound")  # what is first read counts as moved


def subject_of(user: str) -> Subject:
    """The subject of a question about this user."""
    return Subject(SUBJECT.key_id, SUBJECT.protocol, user, None, None)


def test_time_is_looked_at_when_something_may_move(watched: Any) -> None:
    """Not before, and soon after; where nothing ever moves nobody looks."""

    async def test(world: World, watch: Watch) -> None:
        await until(lambda: len(watch.told) == 2)
        by_time = [at_s for at_s in watch.looks if at_s - watch.looks[0] >= 1.5]
        assert by_time[0] - watch.looks[0] < 5
        assert len(watch.looks) - len(by_time) <= 2  # the opening, and what was read for the first time then

    watched(lambda look: state("one" if look < 2 else "two", moves_s=1.5 if look < 2 else None), test)


def test_who_takes_long_is_examined_the_more_rarely(watched: Any) -> None:
    """However often something moves: one person leaves the others nine parts of ten of the time."""

    async def test(world: World, watch: Watch) -> None:
        await until(lambda: bool(watch.told))
        followed = watch.streams.listeners.followed["ticket"]

        def is_looked_at_again() -> bool:
            followed.due_s = 0.0  # something moves in every round
            return len(watch.looks) == 2

        await until(is_looked_at_again)
        assert watch.looks[1] - watch.looks[0] > REST_TIMES * 0.2

    assert LONG_LOOK_S < 0.2
    watched(lambda look: state(work_s=0.2), test)


def test_redis_keeps_the_ticket_of_a_stream_for_as_long_as_it_is_open(watched: Any) -> None:
    """Though no answer gives it out any more."""

    async def test(world: World, watch: Watch) -> None:
        name = name_of("ticket")
        world.store.keep_ticket(name, b"seal", 60_000)
        watch.streams.listeners.followed["ticket"].renew_s = 0.0
        await until(lambda: world.store.ticket_ttl_ms(name) > 60_000)

    watched(lambda _: state(), test)


def test_an_answer_keeps_its_ticket_for_half_of_the_time_at_least(redis_url: str, tmp_path: Path) -> None:
    """One that has less left is kept anew, under the same name."""
    world = World(redis_url, tmp_path)
    world.recover()
    raw_keys(world.settings)

    async def ask() -> None:
        engine = engine_of(world.settings)
        caller, new = engine.keys.configured[next(iter(engine.keys.configured))], Rates(1.0, clock=lambda: 0.0)
        try:
            ticket = await kept_ticket(engine, caller, "ofrep", Ids("ada"), new)
            name = name_of(ticket or "")
            for left_ms in (TICKET_TTL_MS - 1_000, 60_000):
                world.store.renew_tickets([name], left_ms)
                assert await kept_ticket(engine, caller, "ofrep", Ids("ada"), new) == ticket
                assert world.store.ticket_ttl_ms(name) > TICKET_TTL_MS / 2
        finally:
            await engine.store.close()
            engine.admin_store.close()

    asyncio.run(ask())


def test_a_key_that_asks_about_more_and_more_people_fills_no_redis(redis_url: str, tmp_path: Path) -> None:
    """Beyond so many new tickets a second there is none; a ticket that is kept already is given out all the same.

    One with long ids counts as several.
    """
    world = World(redis_url, tmp_path)
    world.recover()
    raw_keys(world.settings)

    async def ask() -> None:
        engine = engine_of(world.settings)
        caller = engine.keys.configured[next(iter(engine.keys.configured))]
        new = Rates(2.0, clock=lambda: 0.0)
        try:
            tickets = [await kept_ticket(engine, caller, "ofrep", Ids(f"user-{number}"), new) for number in range(9)]
            again = await kept_ticket(engine, caller, "ofrep", Ids("user-0"), new)
            new, longest = Rates(2.0, clock=lambda: 0.0), "ü" * 255
            long = [await kept_ticket(engine, caller, "ofrep", Ids(f"{longest}{one}"), new) for one in range(2)]
        finally:
            await engine.store.close()
            engine.admin_store.close()
        assert [ticket is not None for ticket in tickets] == [True] * 4 + [False] * 5
        assert again == tickets[0]
        assert [ticket is not None for ticket in long] == [True, False]
        assert len(set(tickets)) == 5
        assert 0 < world.store.ticket_ttl_ms(name_of(tickets[0] or "")) <= TICKET_TTL_MS

    asyncio.run(ask())
