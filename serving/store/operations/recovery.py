"""Recovery of a shard: what comes back from the lake, where its log goes on, and when it takes events again."""

from __future__ import annotations

from collections.abc import Sequence

from serving.ids import shard_of
from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing
from serving.store.operations.sharded import Sharded, by_shard
from serving.store.scripts import raise_numbers, replay, restore
from serving.store.scripts.replay import Row
from serving.store.scripts.restore import Ownership
from serving.store.scripts.script import Request, chunks, command

REPLAY_ROWS_MAX = 1_000


class RecoveryOperations(Sharded):
    """The operations by which a shard is recovered."""

    @operation
    def replay(self, rows: Sequence[tuple[str, Row]]) -> Request[int]:
        """Puts lake rows, (namespaced id, row) in order of seq, back into records; answers how many were missing."""
        commands = []
        for shard, of_shard in by_shard(rows, self.shards).items():
            for chunk in chunks(of_shard, REPLAY_ROWS_MAX):
                by_id: dict[str, list[Row]] = {}
                for namespaced_id, row in chunk:
                    by_id.setdefault(namespaced_id, []).append(row)
                commands.append(replay.replay(shard, list(by_id.items()), self.limits.tail_wanted))
        return Request(commands, lambda replies: sum(replies))

    @operation
    def restore(self, ownerships: Sequence[Ownership]) -> Request[None]:
        """Puts back whose ids are and when they were deleted, as the lake says."""
        return Request([restore.restore(shard_of(each.id, self.shards), each) for each in ownerships], nothing)

    @operation
    def resume(self, shard: int, seq: int, last_received_ms: int) -> Request[int]:
        """Makes the shard's log go on above the lake's `seq`, which is drained, and its own; answers from where."""
        numbers = {"seq": seq, "last": last_received_ms, "drained": seq}
        return Request([raise_numbers.raised(keys.shard(shard), numbers)], lambda replies: int(replies[0][-1]))

    @operation
    def mark_ready(self, shard: int, run_id: str) -> Request[None]:
        """Opens a shard for ingest, on the server it was recovered on and on no other."""
        return Request([command("SET", keys.ready(shard), run_id)], nothing)
