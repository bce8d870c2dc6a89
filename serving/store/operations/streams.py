"""What change streams need of Redis: their tickets, and small marks by which they see that something moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.ids import shard_of
from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import each, nothing, only
from serving.store.operations.sharded import Sharded
from serving.store.requests import Command, Request, command, shared

#: The fields that change with all that changes a person: an event, a delete, a link either way, a base. Of the ids that
#: a person does not have yet, the lists of members tell.
_MARKS = (keys.LAST, keys.OWNER, keys.STAMP, keys.MEMBERS)


class StreamOperations(Sharded):
    """The operations for change streams."""

    @operation
    def ticket_ttl_ms(self, name: str) -> Request[int]:
        """For how long what a ticket stands for is kept under this name from now on; 0 where it is not."""
        return Request([command("PTTL", keys.stream_ticket(name))], lambda replies: max(0, replies[0]))

    @operation
    def keep_ticket(self, name: str, seal: bytes, ttl_ms: int) -> Request[None]:
        """Keeps what a ticket stands for. Raises `StoreFull` while memory is full."""
        return Request([command("SET", keys.stream_ticket(name), seal, "PX", ttl_ms)], nothing)

    @operation
    def ticket_seal(self, name: str) -> Request[bytes | None]:
        """What a ticket stands for, as it was kept under this name; None for one that is not known."""
        return Request([command("GET", keys.stream_ticket(name))], only(lambda seal: seal))

    @operation
    def renew_tickets(self, names: Sequence[str], ttl_ms: int) -> Request[None]:
        """Keeps what these names have longer, as far as it is kept still."""
        return Request([command("PEXPIRE", keys.stream_ticket(name), ttl_ms) for name in names], nothing)

    @operation
    def catalogue_version(self) -> Request[int | None]:
        """The version of the catalogue; None while there is none."""
        return Request(
            [shared("GET", keys.catalogue_version())], only(lambda version: None if version is None else int(version))
        )

    @operation
    def marks(self, commands: Sequence[Command]) -> Request[list[int]]:
        """A mark of each record (`mark_command`): it is another one once something of the person's has moved."""
        return Request(commands, each(_mark), is_long=True)


def mark_command(namespaced_id: str, shards: int) -> Command:
    """The command that `marks` reads the mark of a record with. It is asked again and again, so it is made once."""
    return command("HMGET", keys.record(shard_of(namespaced_id, shards), namespaced_id), *_MARKS)


def _mark(fields: list[Any]) -> int:
    return hash(tuple(fields))
