"""Shards: how many there are, and where the log of each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import reserved


class ShardState(NamedTuple):
    """Where a shard's log stands. `ready_run_id`: the server it was recovered on; `entries`: those still in the log.

    `ahead_ms`: the greatest receipt that was too far ahead of the clock to be believed, UTC ms; 0 where there was none.
    """

    shard: int
    seq: int
    last_received_ms: int
    drained: int
    projection: int
    ready_run_id: str | None
    entries: int
    ahead_ms: int = 0


def as_in_lake(states: Sequence[ShardState], stopped_at: Mapping[str, int]) -> list[ShardState]:
    """The states, with `drained` as the lake has it. `stopped_at`: how far it has shards that stand still, by shard.

    What Redis counts as drained never goes back, and the lake may: an older copy of it was put in its place.
    """
    return [
        state._replace(drained=min(state.drained, stopped_at.get(str(state.shard), state.drained))) for state in states
    ]


class ShardOperations(Sharded):
    """The operations on shards as such."""

    @operation
    def shard_states(self) -> Request[list[ShardState]]:
        """The state of every shard, in order."""
        numbers = (keys.SEQ, keys.LAST_RECEIPT, keys.DRAINED, keys.PROJECTION, keys.AHEAD)
        commands = []
        for shard in range(self.shards):
            commands.append(command("HMGET", keys.shard(shard), *numbers))
            commands.append(command("GET", keys.ready(shard)))
            commands.append(command("XLEN", keys.log(shard)))

        def read(replies: list[Any]) -> list[ShardState]:
            states = []
            for shard in range(self.shards):
                values, run_id, entries = replies[3 * shard : 3 * shard + 3]
                seq, last, drained, projection, ahead = (int(value or 0) for value in values)
                ready = run_id.decode() if run_id else None
                states.append(ShardState(shard, seq, last, drained, projection, ready, entries, ahead))
            return states

        return Request(commands, read)

    @operation
    def note_undoing(self, is_undoing: bool) -> Request[None]:
        """Notes in each shard that an import is being undone, or is no more: until then ingest takes no copy of an
        imported event.
        """
        shards = [keys.shard(shard) for shard in range(self.shards)]
        if is_undoing:
            return Request([reserved.command("HSET", shard, keys.UNDOING, 1) for shard in shards], nothing)
        return Request([command("HDEL", shard, keys.UNDOING) for shard in shards], nothing)

    @operation
    def note_shards(self) -> Request[None]:
        """Notes how many shards there are, where nobody has."""
        return Request([reserved.command("SETNX", keys.shard_count(), self.shards)], nothing)

    @operation
    def note_lake(self, lake_id: str) -> Request[None]:
        """Notes which lake this Redis belongs to, where nobody has."""
        return Request([reserved.command("SETNX", keys.lake(), lake_id)], nothing)

    @operation
    def noted_lake(self) -> Request[str | None]:
        """The id of the lake that this Redis belongs to; None where nobody has noted it."""
        return Request([command("GET", keys.lake())], lambda replies: replies[0].decode() if replies[0] else None)

    @operation
    def noted_shards(self) -> Request[int | None]:
        """How many shards this system was made with; None on a server that was never recovered."""
        return Request([command("GET", keys.shard_count())], lambda replies: int(replies[0]) if replies[0] else None)
