"""What one reader of an endless answer holds, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from serving.http.event_stream import ENDING, EventStream, Latest


def within(work: Coroutine[Any, Any, None]) -> None:
    """Runs it, for at most ten seconds."""
    asyncio.run(asyncio.wait_for(work, 10))


class Client:
    """The other end of an answer: the bodies that it was sent. `is_slow` takes none until it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self.takes, self.left, self.sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.takes.set()
        self.scope: dict[str, Any] = {}

    async def receive(self) -> dict[str, Any]:
        """The request, whose end is when the client leaves."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Takes a message, when the client takes any."""
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])
        else:
            self.bodies.append(message["body"])
            self.sent.set()


def test_a_slow_reader_holds_one_text() -> None:
    """While it takes nothing each text takes the place of the one before: a thousand of them are one."""

    async def read() -> None:
        client, latest, ended = Client(), Latest(), asyncio.Event()
        answer = asyncio.create_task(
            EventStream(b"first", latest, ended.set)(client.scope, client.receive, client.send)  # type: ignore[arg-type]
        )
        await client.sent.wait()
        client.takes.clear()
        for number in range(1_000):
            latest.put(b"%d" % number)
            await asyncio.sleep(0)
        client.takes.set()
        latest.put(b"last")
        while client.bodies[-1] != b"last":
            client.sent.clear()
            await client.sent.wait()
        assert len(client.bodies) <= 3  # one may have been on its way when the reader stopped
        client.left.set()
        await answer
        assert ended.is_set()

    within(read())


def test_a_stream_ends_with_the_server_and_is_told_so() -> None:
    """What stands in the scope ends it in order: its last piece says that no more comes."""

    async def end() -> None:
        client, ended = Client(), asyncio.Event()
        answer = asyncio.create_task(
            EventStream(b"first", Latest(), ended.set)(client.scope, client.receive, client.send)  # type: ignore[arg-type]
        )
        await client.sent.wait()
        client.scope[ENDING]()
        await answer
        assert (client.statuses, client.bodies, ended.is_set()) == ([200], [b"first", b""], True)

    within(end())


def test_a_stream_with_nothing_to_tell_says_that_it_lives() -> None:
    """Taking gives nothing once the time is over, and the text that comes later."""

    async def take() -> None:
        latest = Latest()
        assert await latest.take(0.001) == b""
        latest.put(b"text")
        assert await latest.take(10) == b"text"
        latest.put(b"never taken")
        latest.close()
        assert await latest.take(10) is None

    within(take())
