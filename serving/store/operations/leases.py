"""Leases and heartbeats: the process that does something now, and the last report of each part of the system."""

from __future__ import annotations

from collections.abc import Sequence

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing, only, pairs
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import lease, reserved

#: What API processes said of themselves goes so long after the last of them spoke.
PROCESSES_KEPT_MS = 3_600_000


class LeaseOperations(Sharded):
    """The operations on leases and heartbeats."""

    @operation
    def hold_lease(self, name: str, token: str, ttl_ms: int, manner: lease.Manner = "") -> Request[bool]:
        """Takes or renews a lease; False while another holds it.

        `manner` says how, see `lease.Manner`.
        """
        return Request([lease.hold_command(name, token, ttl_ms, manner)], only(lease.read))

    @operation
    def release_lease(self, name: str, token: str) -> Request[bool]:
        """Gives a lease back; False when it was not held any more."""
        return Request([lease.release_command(name, token)], only(lease.read))

    @operation
    def beat(self, name: str, said: bytes, ttl_ms: int) -> Request[None]:
        """Keeps the report of a part of the system about itself, until the part is silent for `ttl_ms`."""
        return Request([reserved.command("SET", keys.heartbeat(name), said, "PX", ttl_ms)], nothing)

    @operation
    def forget_beat(self, name: str) -> Request[None]:
        """Forgets the report of a part at once."""
        return Request([command("DEL", keys.heartbeat(name))], nothing)

    @operation
    def beat_process(self, name: str, said: bytes, gone: Sequence[str] = ()) -> Request[None]:
        """Keeps what an API process says of itself, and forgets those that are `gone`."""
        commands = [
            reserved.command("HSET", keys.processes(), name, said),
            command("PEXPIRE", keys.processes(), PROCESSES_KEPT_MS),
        ]
        if gone:
            commands.append(command("HDEL", keys.processes(), *gone))
        return Request(commands, nothing)

    @operation
    def forget_process(self, name: str) -> Request[None]:
        """Forgets an API process that ends."""
        return Request([command("HDEL", keys.processes(), name)], nothing)

    @operation
    def processes(self) -> Request[dict[str, bytes]]:
        """What each API process last said of itself, by its name."""
        return Request([command("HGETALL", keys.processes())], lambda replies: dict(pairs(replies[0])))

    @operation
    def heartbeat(self, name: str) -> Request[bytes | None]:
        """The last report of that part; None when it has been silent."""
        return Request([command("GET", keys.heartbeat(name))], lambda replies: replies[0])
