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
from serving.store.errors import NotDurable, OtherSetting, ServerReplaced, StoreError, StoreFull, StoreUnreachable
from serving.store.multiplexer import Batching, run_id_in
from serving.store.operations.operation import Awaits, Waits
from serving.store.operations.operations import EveryOperation, Operations
from serving.store.operations.server import Server
from serving.store.requests import Argument, Command, Request, Steps, command
from serving.store.scripts.ingest import TailLimits
from serving.store.stamps import Stamp

T = TypeVar("T")

#: A server that is silent for this long is taken for dead.
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
        commands = [one for request in requests for one in request.commands]
        replies = iter(self._replies(commands))
        taken = [[next(replies) for _ in request.commands] for request in requests]
        return [request.read(some) for request, some in zip(requests, taken, strict=True)]

    def follow(self, steps: Steps[T]) -> T:
        """Answers requests that depend on each other, one after another; what comes of them in the end."""
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
        """Ends a complete rebuild: every base older than its shard's stamp becomes an empty one. Answers how many.

        Walks all records once, some thousand at a time, so memory stays bounded and no set of ids has to be kept.
        `run_id` is the server's when the rebuild began; raises `ServerReplaced` when it is another one now.
        """
        swept, cursor = 0, 0
        while True:
            cursor, found = self.scan_records(cursor)
            by_shard: dict[int, list[str]] = {}
            for shard, namespaced_id in found:
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
            cursor = 0
            while True:
                request = Request(
                    [command("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000)], lambda replies: replies[0]
                )
                following, found = self.ask(request)
                if found:
                    self.ask(Request([command("DEL", *found)], lambda replies: None))
                cursor = int(following)
                if cursor == 0:
                    break

    def everything(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key of the server, with all that is in it as bytes; a stream in several parts. For a search."""
        cursor = 0
        while True:
            scan = Request([command("SCAN", cursor, "COUNT", 1_000)], lambda replies: replies[0])
            following, names = self.ask(scan)
            kinds = self.ask(Request([command("TYPE", name) for name in names], lambda replies: replies))
            for name, kind in zip(names, kinds, strict=True):
                yield from ((name, _flat(part)) for part in self._parts(name, kind))
            cursor = int(following)
            if cursor == 0:
                return

    def _parts(self, name: bytes, kind: bytes) -> Iterator[Any]:
        if kind == b"stream":
            after = "-"
            while entries := self._said("XRANGE", name, after, "+", "COUNT", 5_000):
                yield entries
                after = "(" + entries[-1][0].decode()
            return
        words: dict[bytes, list[Argument]] = {
            b"string": ["GET", name],
            b"hash": ["HGETALL", name],
            b"list": ["LRANGE", name, 0, -1],
            b"set": ["SMEMBERS", name],
            b"zset": ["ZRANGE", name, 0, -1],
        }
        yield self._said(*words[kind]) if kind in words else b""

    def _said(self, *words: Argument) -> Any:
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


#: Connections of an event loop for long requests, beside the one for all else.
LANES = 4


class AsyncStore(EveryOperation, Awaits):
    """The store for one event loop, over one connection: what is asked in one tick is written together.

    Long requests go over some more, in turn: Redis reads 16 KB of each connection, does what is in them, and
    syncs its file, so that over one connection each sync would be of some forty events.
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
        self._batching = Batching(url, timeout_s)
        self._lanes = [Batching(url, timeout_s) for _ in range(LANES)]
        self._turns = cycle(self._lanes)

    async def ask(self, request: Request[T]) -> T:
        """Sends a request's commands together and reads what the replies mean."""
        batching, commands = next(self._turns) if request.is_long else self._batching, request.commands
        if not commands:
            return request.read([])
        replies = await batching.exchange(commands)
        if not any([isinstance(reply, Exception) for reply in replies]):
            return request.read(replies)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await batching.exchange([commands[index].with_text() for index in unknown])
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return request.read(checked(replies))

    async def follow(self, steps: Steps[T]) -> T:
        """Answers requests that depend on each other, one after another; what comes of them in the end."""
        try:
            request = next(steps)
            while True:
                request = steps.send(await self.ask(request))
        except StopIteration as stop:
            return stop.value

    async def close(self) -> None:
        """Closes the connection; what is still asked fails."""
        for one in (self._batching, *self._lanes):
            await one.close()

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def require_same(name: str, made_with: object, told: object) -> None:
    """The rule of `Store.require_shards`, for whatever else is fixed, and whoever has noted it. None: nobody has."""
    if made_with is not None and made_with != told:
        raise OtherSetting(name, str(made_with), str(told))


def require_durable(server: Server, settings: dict[str, str | None], durability: str) -> Server:
    """The rule of `Store.require_durable`: from what the server says to itself or a refusal with the remedies."""
    wrong = []
    if not server.append_only or settings.get("appendonly") == "no":
        wrong.append("appendonly is no, so a restart loses everything: set `appendonly yes`")
    enough = ("always",) if durability == "always" else ("always", "everysec")
    fsync = settings.get("appendfsync")
    if fsync is not None and fsync not in enough:
        remedy = f"set `appendfsync {enough[-1]}`"
        if fsync == "everysec":
            remedy += ", or accept that with TINYCDP_DURABILITY=everysec"
        wrong.append(f"appendfsync is {fsync}, so a crash loses what was acknowledged: {remedy}")
    eviction = settings.get("maxmemory-policy") or server.eviction
    if eviction != "noeviction":
        wrong.append(f"maxmemory-policy is {eviction}, so records are dropped: set `maxmemory-policy noeviction`")
    if wrong:
        raise NotDurable("This Redis would lose events. " + "; ".join(wrong))
    return server._replace(appendfsync=fsync)


def _flat(reply: Any) -> bytes:
    """A reply's texts, each by itself."""
    if isinstance(reply, (list, tuple)):
        return b"\0".join(map(_flat, reply))
    return reply if isinstance(reply, bytes) else str(reply or "").encode()


#: What a server says that will take commands again: as a replica, without enough of them, with a full or failing disk,
#: busy with a script, or in a cluster that is being changed. Scripts put words of their own around it.
_FOR_A_WHILE = ("READONLY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY ")


def checked(replies: list[Any]) -> list[Any]:
    """The replies, none of them an error. Raises `StoreFull`, `StoreUnreachable`, `StoreError`."""
    for reply in replies:
        if isinstance(reply, Exception):
            text = str(reply)
            if "OOM command not allowed" in text or "command not allowed when used memory" in text:
                raise StoreFull("Redis is at its memory bound (maxmemory)") from reply
            if isinstance(reply, (ReadOnlyError, BusyLoadingError)) or any(word in text for word in _FOR_A_WHILE):
                raise StoreUnreachable(f"Redis cannot take writes now: {text}") from reply
            raise StoreError(f"Redis refused a command: {text}") from reply
    return replies


def _unreachable(error: Exception) -> StoreUnreachable:
    return StoreUnreachable(f"Redis cannot be reached: {error}")


def _greet(connection: Any) -> None:
    """Learns, with each new connection, which run of which server it leads to."""
    connection.on_connect()
    connection.send_command("INFO", "server")
    connection.run_id = run_id_in(connection.read_response(disable_decoding=True))


def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    run_id: str = connection.run_id  # type: ignore[attr-defined]
    connection.send_packed_command(connection.pack_commands([one.on(run_id) for one in commands]))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies
