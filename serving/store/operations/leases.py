"""Leases and heartbeats: the process that does something now, and the last report of each part of the system."""

from __future__ import annotations

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing, only
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import lease, reserved


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
    def heartbeat(self, name: str) -> Request[bytes | None]:
        """The last report of that part; None when it has been silent."""
        return Request([command("GET", keys.heartbeat(name))], lambda replies: replies[0])
