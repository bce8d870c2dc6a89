"""The server itself: its clock, its memory, its settings."""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store.operations.operation import operation
from serving.store.operations.replies import clock_ms, info_of, nothing
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command, shared
from serving.store.reserve import Memory


class Server(NamedTuple):
    """The server that answers, by what matters here. `appendfsync` is None where the server does not tell."""

    run_id: str
    version: str
    role: str
    clock_ms: int
    append_only: bool
    appendfsync: str | None
    eviction: str
    memory_used: int
    memory_max: int

    @property
    def memory(self) -> Memory:
        """How much memory is used, and allowed."""
        return Memory(self.memory_used, self.memory_max)


class ServerOperations(Sharded):
    """The operations on the server."""

    @operation
    def now_ms(self) -> Request[int]:
        """The server's clock, in UTC ms."""
        return Request([shared("TIME")], lambda replies: clock_ms(replies[0]))

    @operation
    def server(self) -> Request[Server]:
        """The server, its clock, memory and how durable it is."""
        commands = [command("INFO", section) for section in ("server", "replication", "persistence", "memory")]

        def read(replies: list[Any]) -> Server:
            *sections, clock = replies
            info = info_of(b"\n".join(sections))
            return Server(
                run_id=info["run_id"],
                version=info.get("valkey_version") or info["redis_version"],
                role=info.get("role", ""),
                clock_ms=clock_ms(clock),
                append_only=info.get("aof_enabled") == "1",
                appendfsync=None,
                eviction=info.get("maxmemory_policy", ""),
                memory_used=int(info.get("used_memory", 0)),
                memory_max=int(info.get("maxmemory", 0)),
            )

        return Request([*commands, command("TIME")], read)

    @operation
    def memory(self) -> Request[Memory]:
        """How much memory is used, and allowed."""

        def read(replies: list[Any]) -> Memory:
            info = info_of(replies[0])
            return Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))

        return Request([command("INFO", "memory")], read)

    @operation
    def server_setting(self, name: str) -> Request[str | None]:
        """A setting of the server; None where it has none of that name. Raises `StoreError` where it does not tell."""
        return Request([command("CONFIG", "GET", name)], lambda replies: replies[0][1].decode() if replies[0] else None)

    @operation
    def set_server(self, name: str, value: str) -> Request[None]:
        """Changes a setting of the server. Raises `StoreError` where it does not let us."""
        return Request([command("CONFIG", "SET", name, value)], nothing)
