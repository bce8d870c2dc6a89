"""The catalogue of definitions, and the projection that its version asks for."""

from __future__ import annotations

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import each, only
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import raise_numbers, replace_catalogue


class CatalogueOperations(Sharded):
    """The operations on the catalogue."""

    @operation
    def catalogue(self) -> Request[bytes | None]:
        """The catalogue's text; None while there is none."""
        return Request([command("GET", keys.catalogue())], lambda replies: replies[0])

    @operation
    def replace_catalogue(
        self, text: bytes, *, expected: int | None, version: int, run_id: str | None = None
    ) -> Request[bool]:
        """Puts a catalogue in the place of version `expected` (None: of none); False when there is another now.

        With a `run_id` only on that run of the server, else raises `ServerReplaced`.
        """
        replace = Request([replace_catalogue.command(text, expected, version)], only(replace_catalogue.read))
        return replace.during(run_id)

    @operation
    def raise_projection(self, version: int) -> Request[list[int]]:
        """Refuses, from now on, events projected by older versions; answers the seq of each shard at that moment."""
        least = {keys.PROJECTION: version}
        commands = [raise_numbers.command(keys.shard(shard), least) for shard in range(self.shards)]
        return Request(commands, each(raise_numbers.read))
