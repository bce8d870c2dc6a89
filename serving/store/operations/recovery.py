"""Recovery of a shard: what comes back from the lake, where its log goes on, and when it takes events again."""

from __future__ import annotations

from collections.abc import Sequence

from serving.ids import shard_of
from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing, only
from serving.store.operations.sharded import Sharded, by_shard
from serving.store.requests import Request, chunks, command
from serving.store.scripts import raise_numbers, replay, reserved, restamp, restore
from serving.store.scripts.replay import Row
from serving.store.scripts.restore import Ownership


class RecoveryOperations(Sharded):
    """The operations by which a shard is recovered."""

    @operation
    def replay(self, rows: Sequence[tuple[str, Row]]) -> Request[int]:
        """Puts lake rows, (namespaced id, row) in order of seq, back into records; answers how many were missing."""
        commands = []
        for shard, of_shard in by_shard(rows, self.shards).items():
            for chunk in chunks(of_shard, replay.ROWS_MAX):
                by_id: dict[str, list[Row]] = {}
                for namespaced_id, row in chunk:
                    by_id.setdefault(namespaced_id, []).append(row)
                commands.append(replay.command(shard, list(by_id.items()), self.limits.tail_wanted))
        return Request(commands, lambda replies: sum(map(replay.read, replies)))

    @operation
    def restore(self, ownerships: Sequence[Ownership]) -> Request[None]:
        """Puts back whose ids are and when they were deleted, as the lake says."""
        commands = [restore.command(shard_of(ownership.id, self.shards), ownership) for ownership in ownerships]
        return Request(commands, nothing)

    @operation
    def resume(self, shard: int, seq: int, last_received_ms: int, ahead_ms: int = 0) -> Request[int]:
        """Makes the shard's log go on above the lake's `seq`, which is drained, and its own; answers from where.

        `ahead_ms` is the greatest receipt that is too far ahead of the clock to be believed, 0 where there is none.
        """
        numbers = {keys.SEQ: seq, keys.LAST_RECEIPT: last_received_ms, keys.DRAINED: seq}
        if ahead_ms:
            numbers[keys.AHEAD] = ahead_ms
        return Request([raise_numbers.command(keys.shard(shard), numbers)], only(raise_numbers.read))

    @operation
    def mark_ready(self, shard: int, run_id: str) -> Request[None]:
        """Opens a shard for ingest, on the server it was recovered on and on no other."""
        return Request([reserved.command("SET", keys.ready(shard), run_id)], nothing)

    @operation
    def restamp(self, ids: Sequence[str], believed_until_ms: int, span_ms: int) -> Request[int]:
        """Moves times after `believed_until_ms` in these ids' records, and in all shards, back by a span; answers in
        how many records."""
        ids_of: dict[int, list[str]] = {shard: [] for shard in range(self.shards)}
        for id_ in ids:
            ids_of[shard_of(id_, self.shards)].append(id_)
        commands = [
            restamp.command(shard, part, believed_until_ms, span_ms)
            for shard, of_shard in ids_of.items()
            for part in (chunks(of_shard, restamp.RECORDS_MAX) if of_shard else [()])
        ]
        return Request(commands, lambda replies: sum(map(restamp.read, replies)))

    @operation
    def forget_ahead(self) -> Request[None]:
        """Forgets receipts that were too far ahead to be believed: their rows were put right, or are gone."""
        return Request([command("HDEL", keys.shard(shard), keys.AHEAD) for shard in range(self.shards)], nothing)
