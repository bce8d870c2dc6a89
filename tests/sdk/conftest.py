"""Both Python clients behind the same calls, so that a test asks both of them the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tinycdp


class Waited:
    """An `AsyncClient` that is called as a `Client`: each call runs its loop until it has an answer."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = tinycdp.AsyncClient(*arguments, **named)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            found = getattr(self._client, name)(*arguments, **_plain(named))
            found = await found if asyncio.iscoroutine(found) else found
            return WaitedHandle(self._loop, found) if isinstance(found, tinycdp.AsyncHandle) else found

        return lambda *arguments, **named: self._loop.run_until_complete(call(*arguments, **named))

    def __enter__(self) -> Waited:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.close()


class WaitedHandle:
    """An `AsyncHandle` that is asked as a `Handle`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: tinycdp.AsyncHandle) -> None:
        self.loop, self.handle = loop, handle

    def wait(self, timeout: float | None = None) -> str:
        """The state, after running the loop."""
        return self.loop.run_until_complete(self.handle.wait(timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)


def _plain(named: dict[str, Any]) -> dict[str, Any]:
    return {name: value.handle if isinstance(value, WaitedHandle) else value for name, value in named.items()}


@pytest.fixture(params=[tinycdp.Client, Waited], ids=["threads", "asyncio"])
def new_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client of either kind, which is closed at the end of the test."""
    made: list[Any] = []

    def make(*arguments: Any, **named: Any) -> Any:
        made.append(request.param(*arguments, **named))
        return made[-1]

    yield make
    for client in made:
        client.close(0)
        if isinstance(client, Waited):
            client._loop.close()


@pytest.fixture
def failures() -> list[tinycdp.Failure]:
    """What `on_error` was told."""
    return []
