"""The catalogue of definitions, what of it the lake lacks, and the projection that its version asks for."""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import each, nothing, only
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import raise_numbers, replace_catalogue


class UnwrittenEntry(NamedTuple):
    """A version of a definition that the lake may lack, as it was put there, its number, and since when it waits.

    That is in UTC ms by Redis' clock; None of an entry that an older release put there.
    """

    version: int
    data: bytes
    since_ms: int | None = None


class UnwrittenState(NamedTuple):
    """How many versions of definitions wait for the lake, and the first of them; None where none does."""

    waiting: int
    first: UnwrittenEntry | None


class CatalogueOperations(Sharded):
    """The operations on the catalogue."""

    @operation
    def catalogue(self) -> Request[bytes | None]:
        """The catalogue's text; None while there is none."""
        return Request([command("GET", keys.catalogue())], lambda replies: replies[0])

    @operation
    def replace_catalogue(
        self,
        text: bytes,
        *,
        expected: int | None,
        version: int,
        unwritten: bytes | None = None,
        run_id: str | None = None,
    ) -> Request[bool]:
        """Puts a catalogue in the place of version `expected` (None: of none); False when there is another now.

        `unwritten`: the version of a definition that comes with it waits for the lake from now on. Raises `HistoryFull`
        where there is no room for it. With a `run_id` only on that run of the server, else raises `ServerReplaced`.
        """
        sent = replace_catalogue.command(text, expected, version, unwritten)
        return Request([sent], only(replace_catalogue.read)).during(run_id)

    @operation
    def unwritten(self) -> Request[list[UnwrittenEntry]]:
        """The versions of definitions that wait for the lake, in their order."""
        return Request([command("XRANGE", keys.unwritten(), "-", "+")], only(_entries))

    @operation
    def unwritten_state(self) -> Request[UnwrittenState]:
        """How many versions of definitions wait for the lake, and the first."""

        def read(replies: list[Any]) -> UnwrittenState:
            entries = _entries(replies[1])
            return UnwrittenState(replies[0], entries[0] if entries else None)

        key = keys.unwritten()
        return Request([command("XLEN", key), command("XRANGE", key, "-", "+", "COUNT", 1)], read)

    @operation
    def trim_unwritten(self, version: int) -> Request[None]:
        """Forgets the versions up to this one: the lake has them."""
        return Request([command("XTRIM", keys.unwritten(), "MINID", f"{version + 1}-0")], nothing)

    @operation
    def raise_projection(self, version: int) -> Request[list[int]]:
        """Refuses, from now on, events projected by older versions; answers the seq of each shard at that moment."""
        least = {keys.PROJECTION: version}
        commands = [raise_numbers.command(keys.shard(shard), least) for shard in range(self.shards)]
        return Request(commands, each(raise_numbers.read))

    @operation
    def raise_checked(self, version: int) -> Request[None]:
        """Refuses, from now on, events that were checked by a catalogue of an older version."""
        least = {keys.CHECKED: version}
        return Request([raise_numbers.command(keys.shard(shard), least) for shard in range(self.shards)], nothing)


def _entries(reply: Any) -> list[UnwrittenEntry]:
    return [_entry(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in reply]


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> UnwrittenEntry:
    since = fields.get(keys.ENTRY_RECEIVED)
    return UnwrittenEntry(
        int(entry_id.partition(b"-")[0]), fields[keys.ENTRY_EVENT], None if since is None else int(since)
    )
