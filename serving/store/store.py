"""The only module that talks to Redis.

Two thin shells over the same operations (`serving.store.operations`): `Store` waits, for flows, the drain and threads;
`AsyncStore` is for the API's event loop. Both inherit every operation as a method of the same name and arguments, so
that they cannot drift. Errors are those of `serving.store.errors`.

Neither repeats a request whose answer was lost: the caller knows whether repeating is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, TypeVar

import redis
from redis.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from serving.ids import SHARDS_DEFAULT
from serving.store import keys
from serving.store.deadlines import deadline_s
from serving.store.errors import (
    NotAdmitted,
    ServerReplaced,
    StoreError,
    StoreFull,
    StoreUnreachable,
    is_not_admitted,
)
from serving.store.multiplexer import Multiplexer, run_id_in
from serving.store.operations.operation import Awaits, Waits
from serving.store.operations.operations import EveryOperation, Operations
from serving.store.operations.server import Server
from serving.store.requests import Argument, Command, Request, Steps, command
from serving.store.requirements import require_durable, require_same
from serving.store.reserve import REMEDY
from serving.store.scripts.ingest import TailLimits
from serving.store.stamps import Stamp

T = TypeVar("T")

#: After this long without an answer a server is taken for dead.
TIMEOUT_S = 10.0
CONNECTIONS_MAX = 32


class Store(EveryOperation, Waits):
    """The store for callers that may wait. Safe for use by several threads."""

    operations: Operations

    def __init__(
        self,
        url: str,
        shards: int = SHARDS_DEFAULT,
        limits: TailLimits | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.shards, self.limits = shards, limits or TailLimits()
        self.operations = Operations(self.shards, self.limits)
        self._pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            protocol=2,
            redis_connect_func=_greet,
        )

    def ask(self, request: Request[T]) -> T:
        """Sends a request's commands together and reads what the replies mean."""
        return self.ask_all([request])[0]

    def ask_all(self, requests: Sequence[Request[T]]) -> list[T]:
        """Several requests in one round trip; their results in order. Raises the first error, after all were sent."""
        commands = [command for request in requests for command in request.commands]
        replies = iter(self._replies(commands))
        of_requests = [[next(replies) for _ in request.commands] for request in requests]
        return [request.read(own) for request, own in zip(requests, of_requests, strict=True)]

    def follow(self, steps: Steps[T]) -> T:
        """The value that the steps return; each request of theirs is answered before the next."""
        try:
            request = next(steps)
            while True:
                request = steps.send(self.ask(request))
        except StopIteration as stop:
            return stop.value

    def close(self) -> None:
        """Closes all connections."""
        self._pool.disconnect()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replies(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        try:
            connection = self._pool.get_connection()
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        try:
            replies = _exchange(connection, commands)
            unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                again = _exchange(connection, [commands[index].with_text() for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise _unreachable(error) from error
        except ServerReplaced:
            raise  # before anything was sent
        except BaseException:
            connection.disconnect()  # half a conversation: its replies must not be the next caller's
            raise
        finally:
            self._pool.release(connection)
        return checked(replies)

    def sweep_all(self, stamps: Sequence[Stamp], run_id: str | None = None) -> int:
        """Ends a complete rebuild: each base older than its shard's stamp becomes an empty one. Answers how many.

        Walks all records once, some thousand at a time, so memory stays bounded and no set of ids has to be kept.
        `run_id` is the server's when the rebuild began. Raises `ServerReplaced` when the server has another one now.
        """
        swept, cursor = 0, 0
        while True:
            cursor, records = self.scan_records(cursor)
            by_shard: dict[int, list[str]] = {}
            for shard, namespaced_id in records:
                by_shard.setdefault(shard, []).append(namespaced_id)
            swept += sum(
                self.ask_all(
                    [self.operations.sweep(stamps[shard], shard, ids, run_id) for shard, ids in by_shard.items()]
                )
            )
            if cursor == 0:
                return swept

    def clear(self) -> None:
        """Removes everything of ours from Redis, for a recovery that finds it of no use. Other keys stay."""
        for pattern in keys.patterns():
            self._drop(pattern)

    def drop_analyses(self) -> None:
        """Drops all that is kept of analyses: an answer may show ids of deleted people."""
        self._drop(keys.analysis("*"))

    def everything(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key of the server, with all that is in it as bytes, a stream or a hash in parts. For a search."""
        for names in self._scan():
            kinds = self.ask(Request([command("TYPE", name) for name in names], lambda replies: replies))
            for name, kind in zip(names, kinds, strict=True):
                yield from ((name, _flat(part)) for part in self._parts(name, kind))

    def _drop(self, pattern: str) -> None:
        for names in self._scan("MATCH", pattern):
            if names:
                self._answer("DEL", *names)

    def _scan(self, *match: Argument) -> Iterator[list[bytes]]:
        """The names of keys, some at a time; each at least once."""
        cursor = 0
        while True:
            following, names = self._answer("SCAN", cursor, *match, "COUNT", 1_000)
            yield names
            cursor = int(following)
            if cursor == 0:
                return

    def _parts(self, name: bytes, kind: bytes) -> Iterator[Any]:
        if kind == b"stream":
            after = "-"
            while entries := self._answer("XRANGE", name, after, "+", "COUNT", 512):
                yield entries
                after = "(" + entries[-1][0].decode()
            return
        if kind == b"hash":  # a record may have thousands of large events
            cursor, pairs = self._answer("HSCAN", name, 0, "COUNT", 512)
            yield pairs
            while int(cursor):
                cursor, pairs = self._answer("HSCAN", name, cursor, "COUNT", 512)
                yield pairs
            return
        words: dict[bytes, list[Argument]] = {
            b"string": ["GET", name],
            b"list": ["LRANGE", name, 0, -1],
            b"set": ["SMEMBERS", name],
            b"zset": ["ZRANGE", name, 0, -1],
        }
        yield self._answer(*words[kind]) if kind in words else b""

    def _answer(self, *words: Argument) -> Any:
        return self.ask(Request([command(*words)], lambda replies: replies[0]))

    def require_shards(self) -> None:
        """Raises `OtherSetting` if the system was made with another number of shards than this store routes by."""
        require_same("shards", self.noted_shards(), self.shards)

    def require_durable(self, durability: str = "always") -> Server:
        """The server, if nothing that it acknowledges can be lost beyond what `durability` says. Raises `NotDurable`.

        `durability` is "always" or "everysec", the least that `appendfsync` must be.
        """
        server = self.server()
        settings: dict[str, str | None] = {}
        for name in ("appendonly", "appendfsync", "maxmemory-policy"):
            try:
                settings[name] = self.server_setting(name)
            except StoreError:  # a hosted server that keeps CONFIG to itself
                settings[name] = None
        return require_durable(server, settings, durability)


#: How many connections an event loop has for long requests, beside the one for all else.
LANES = 4


class AsyncStore(EveryOperation, Awaits):
    """The store for one event loop, over one connection: the commands of one tick are written together.

    Long requests go over some more connections, in turn: Redis reads 16 KB of each connection, does what they say, and
    syncs its file. Over one connection each sync would be of some forty events.

    A request waits until the deadline of the work that asks it (`serving.store.deadlines`), and at most `timeout_s`.
    """

    operations: Operations

    def __init__(
        self,
        url: str,
        shards: int = SHARDS_DEFAULT,
        limits: TailLimits | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.shards, self.limits = shards, limits or TailLimits()
        self.operations = Operations(self.shards, self.limits)
        self._multiplexer = Multiplexer(url, timeout_s)
        self._lanes = [Multiplexer(url, timeout_s) for _ in range(LANES)]
        self._turns = cycle(self._lanes)

    async def ask(self, request: Request[T]) -> T:
        """Sends a request's commands together and reads what the replies mean."""
        batching, commands = next(self._turns) if request.is_long else self._multiplexer, request.commands
        if not commands:
            return request.read([])
        until_s = deadline_s()
        replies = await batching.exchange(commands, until_s)
        if not any([isinstance(reply, Exception) for reply in replies]):
            return request.read(replies)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await batching.exchange([commands[index].with_text() for index in unknown], until_s)
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return request.read(checked(replies))

    async def follow(self, steps: Steps[T]) -> T:
        """The value that the steps return; each request of theirs is answered before the next."""
        try:
            request = next(steps)
            while True:
                request = steps.send(await self.ask(request))
        except StopIteration as stop:
            return stop.value

    async def close(self) -> None:
        """Closes the connections; requests without an answer fail."""
        for multiplexer in (self._multiplexer, *self._lanes):
            await multiplexer.close()

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _flat(reply: Any) -> bytes:
    """The texts of a reply, apart from each other, as bytes."""
    if isinstance(reply, (list, tuple)):
        return b"\0".join(map(_flat, reply))
    return reply if isinstance(reply, bytes) else str(reply or "").encode()


#: Words of a server that takes commands again later: it is a replica, or has too few of them; its disk is full or bad;
#: it is busy with a script; its cluster is being changed. Scripts put words of their own around them.
_FOR_A_WHILE = ("READONLY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY ")


def checked(replies: list[Any]) -> list[Any]:
    """The replies, none of them an error. Raises `StoreFull`, `StoreUnreachable`, `StoreError`."""
    for reply in replies:
        if isinstance(reply, Exception):
            text = str(reply)
            if "OOM command not allowed" in text or "command not allowed when used memory" in text:
                raise StoreFull(f"memory full: Redis is at its bound (maxmemory). {REMEDY}") from reply
            if isinstance(reply, (ReadOnlyError, BusyLoadingError)) or any(word in text for word in _FOR_A_WHILE):
                raise StoreUnreachable(f"Redis cannot take writes now: {text}") from reply
            raise StoreError(f"Redis refused a command: {text}") from reply
    return replies


def _unreachable(error: Exception) -> StoreUnreachable:
    # redis-py takes the code off a server's words, and keeps it beside them.
    said = f"{error.status_code} {error}" if isinstance(error, RedisError) and error.status_code else str(error)
    if is_not_admitted(said):
        return NotAdmitted(said)
    return StoreUnreachable(f"Redis cannot be reached: {error}")


def _greet(connection: Any) -> None:
    """Learns, with each new connection, which run of which server it leads to."""
    connection.on_connect()
    connection.send_command("INFO", "server")
    connection.run_id = run_id_in(connection.read_response(disable_decoding=True))


def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    run_id: str = connection.run_id  # type: ignore[attr-defined]
    connection.send_packed_command(connection.pack_commands([command.on(run_id) for command in commands]))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies
