"""Bases, which a rebuild publishes: the number of the build, putting them in place, emptying those it left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing, only
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, chunks
from serving.store.scripts import next_build, publish, raise_numbers, stage
from serving.store.scripts.publish import BaseRecord, Published
from serving.store.stamps import Stamp


class BaseOperations(Sharded):
    """The operations on bases and builds."""

    @operation
    def next_build(self) -> Request[int]:
        """The number of a new build, greater than any before, those of a Redis that was wiped or restored included."""
        return Request([next_build.command()], only(next_build.read))

    @operation
    def raise_build(self, build: int) -> Request[None]:
        """Makes the next build's number greater than this, should the clock have gone back behind the lake's builds."""
        return Request([raise_numbers.command(keys.rebuild(), {keys.BUILD: build})], nothing)

    @operation
    def stage(self, shard: int, stamp: Stamp, record: BaseRecord) -> Request[None]:
        """Writes what a record remembers of the last 24 h beside it, in pieces, where that is too long to be published
        in one step (`publish.is_staged`). Raises `ServerReplaced`."""

        def read(replies: list[Any]) -> None:
            for reply in replies:
                stage.read(reply)

        return Request(list(stage.commands(shard, stamp, record)), read)

    @operation
    def publish(self, shard: int, stamp: Stamp, records: Sequence[BaseRecord]) -> Request[list[Published]]:
        """Puts bases in place, each unless its record holds a newer one or was deleted since; an outcome a record.

        What `publish.is_staged` was staged before, in a request of its own: raises `ServerReplaced` where it was not.
        """
        commands = [publish.command(shard, stamp, chunk) for chunk in chunks(records, publish.RECORDS_MAX)]
        return Request(commands, lambda replies: [outcome for reply in replies for outcome in publish.read(reply)])

    @operation
    def sweep(self, stamp: Stamp, shard: int, ids: Sequence[str], run_id: str | None = None) -> Request[int]:
        """Empties the bases that a complete rebuild left behind; answers how many. Newer bases and tails stay.

        `run_id` is the server's when the rebuild began. A server that came back without what was published since must
        not be swept: raises `ServerReplaced`.
        """
        commands = [publish.sweep_command(shard, stamp, chunk) for chunk in chunks(ids, publish.RECORDS_MAX)]

        def read(replies: list[Any]) -> int:
            return sum(outcome is Published.DONE for reply in replies for outcome in publish.read(reply))

        return Request(commands, read).during(run_id)
