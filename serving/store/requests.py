"""Commands and requests: what is asked of Redis, as values.

A **command** is one line on the wire. A **request** is some commands and how their replies read. Nothing here talks to
a server, so the synchronous and the asynchronous store send the very same bytes and read the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from serving.store.errors import ServerReplaced

T_co = TypeVar("T_co", covariant=True)

Argument: TypeAlias = bytes | str | int


class Command(msgspec.Struct, frozen=True):
    """One command: its words, the text of the script that it runs, if any, and which word is the run_id of the server
    it is sent to, which the connection puts there (0: none).

    A `shared` command only reads, and needs no state of its own: asked twice at one moment, it is sent once. A command
    with an `of_run` is sent to that run of a server or not at all.
    """

    words: tuple[Argument, ...]
    script: str | None = None
    run_id_at: int = 0
    shared: bool = False
    of_run: str | None = None

    def with_text(self) -> Command:
        """The same call by EVAL, for a server that does not know the script."""
        assert self.script is not None
        return replace(self, words=("EVAL", self.script, *self.words[2:]))

    def on(self, run_id: str) -> tuple[Argument, ...]:
        """The words as they are sent over a connection to the server of this run_id. Raises `ServerReplaced`."""
        if self.of_run is not None and self.of_run != run_id:
            raise ServerReplaced("the Redis server was started or promoted since this work began")
        at = self.run_id_at
        return (*self.words[:at], run_id, *self.words[at + 1 :]) if at else self.words


def command(*words: Argument) -> Command:
    """A command that is no script."""
    return Command(words)


def shared(*words: Argument) -> Command:
    """A read that may be sent once for all who ask at the same moment."""
    return Command(words, shared=True)


class Request(msgspec.Struct, Generic[T_co], frozen=True):
    """Commands sent together, and what their replies mean. `read` gets one reply a command, none of them an error.

    A request that `is_long` sends so much that others must not wait behind it.
    """

    commands: Sequence[Command]
    read: Callable[[list[Any]], T_co]
    is_long: bool = False

    def during(self, run_id: str | None) -> Request[T_co]:
        """The same, for this run of the server alone: `ServerReplaced` is raised when it is over. None: for any."""
        if run_id is None:
            return self
        return replace(self, commands=[replace(command, of_run=run_id) for command in self.commands])


#: Requests that depend on what earlier ones found: yields a request, is sent its result, returns a value.
Steps: TypeAlias = Generator[Request[Any], Any, T_co]


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in order, at most `size` at a time: Lua can unpack some thousands of arguments, not more."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
