"""Purging what was deleted: names of tombstones, entries of streams, and the bytes in the server's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import info_of, nothing, only
from serving.store.operations.sharded import Sharded, by_shard
from serving.store.requests import Request, chunks, command
from serving.store.scripts import bury, clean_stream, forget, recall
from serving.store.scripts.lua_tombstones import RECORDS_MAX


class FileState(NamedTuple):
    """The server's append-only file: whether it has one, is writing it anew, and whether the last time went well."""

    is_used: bool
    is_busy: bool
    went_well: bool


class PurgeOperations(Sharded):
    """The operations that leave nothing of what was deleted."""

    @operation
    def bury(self, deleted: Mapping[str, int]) -> Request[int]:
        """Takes the names from the records of deleted ids, whose deletes have these seqs; answers of how many.

        A record that got something new since, or a newer delete, keeps its name.
        """
        commands = [
            bury.command(shard, chunk)
            for shard, of_shard in by_shard(deleted.items(), self.shards).items()
            for chunk in chunks(of_shard, RECORDS_MAX)
        ]
        return Request(commands, lambda replies: sum(map(bury.read, replies)))

    @operation
    def recall(self, by_shard: Mapping[int, Sequence[tuple[str, int, int]]]) -> Request[None]:
        """Puts tombstones without a name back, per shard (digest, seq, receipt in ms)."""
        commands = [
            recall.command(shard, chunk)
            for shard, nameless in by_shard.items()
            for chunk in chunks(nameless, RECORDS_MAX)
        ]
        return Request(commands, nothing)

    @operation
    def forget_gone(self, before_ms: int) -> Request[int]:
        """Drops tombstones without a name that are older: what they refused is no more. Answers how many."""
        commands = [forget.command(shard, before_ms) for shard in range(self.shards)]
        return Request(commands, lambda replies: sum(map(forget.read, replies)))

    @operation
    def clean_log(self, shard: int, committed: int) -> Request[bool]:
        """Leaves nothing of a shard's log up to `committed`, to the last byte; False when too much is behind that."""
        return Request([clean_stream.command(keys.log(shard), f"{committed}-0")], only(clean_stream.read))

    @operation
    def clean_rejected(self, entry_id: str) -> Request[bool]:
        """Leaves nothing of the refused events up to this one; False when too many came since."""
        return Request([clean_stream.command(keys.rejected(), entry_id)], only(clean_stream.read))

    @operation
    def drop_refused(self) -> Request[None]:
        """Drops the refused events that are kept for who watches."""
        return Request([command("DEL", keys.refused())], nothing)

    # ── the server's file ────────────────────────────────────────────────────────────────────────────────────────

    @operation
    def rewrite_file(self) -> Request[None]:
        """Has the server write its append-only file anew, with what there is now. Raises `StoreError` if it cannot."""
        return Request([command("SLOWLOG", "RESET"), command("BGREWRITEAOF")], nothing)

    @operation
    def file_state(self) -> Request[FileState]:
        """Whether the append-only file is being written anew, and how that went last."""

        def read(replies: list[Any]) -> FileState:
            info = info_of(replies[0])
            busy = "1" in (info.get("aof_rewrite_in_progress"), info.get("aof_rewrite_scheduled"))
            return FileState(info.get("aof_enabled") == "1", busy, info.get("aof_last_bgrewrite_status") == "ok")

        return Request([command("INFO", "persistence")], read)
