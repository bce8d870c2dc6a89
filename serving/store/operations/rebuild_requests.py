"""Requests for rebuilds, how much waits, and the counts of the last full rebuild."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from serving.ids import shard_of
from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing, only
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command
from serving.store.scripts import keep_totals, raise_numbers, reserved, retire_requests


class RebuildRequests(NamedTuple):
    """How many full rebuilds were asked for and answered, and, per shard, which ids how often."""

    wanted: int
    done: int
    ids: dict[int, dict[str, int]]

    @property
    def is_full(self) -> bool:
        """Whether a full rebuild is waited for."""
        return self.wanted > self.done

    def of_ids(self, ids: Collection[str]) -> RebuildRequests:
        """Those that a rebuild of these ids answers: no full one, and of single ids theirs alone."""
        of_shards = {shard: {id: count for id, count in own.items() if id in ids} for shard, own in self.ids.items()}
        return self._replace(wanted=self.done, ids={shard: own for shard, own in of_shards.items() if own})


class Waiting(NamedTuple):
    """How much waits: full rebuilds, rebuilds of ids, refused events. `parity` is the last report of `doctor`."""

    rebuilds: int
    ids: int
    rejected: int
    parity: bytes | None


class RebuildRequestOperations(Sharded):
    """The operations on requests for rebuilds, and on their totals."""

    @operation
    def want_rebuild(self) -> Request[int]:
        """Asks for a full rebuild; the number under which `rebuild_requests().done` will count it."""
        return Request([reserved.command("HINCRBY", keys.rebuild(), keys.WANTED, 1)], only(int))

    @operation
    def want_rebuild_of(self, ids: Iterable[str]) -> Request[None]:
        """Asks for a rebuild of single ids."""
        commands = []
        for namespaced_id in ids:
            shard = shard_of(namespaced_id, self.shards)
            commands.append(reserved.command("HINCRBY", keys.wanted(shard), keys.record(shard, namespaced_id), 1))
        return Request(commands, nothing)

    @operation
    def rebuild_requests(self) -> Request[RebuildRequests]:
        """The requests as they are now.

        Read them before a rebuild pins its version, and answer them when that is published.
        """
        commands = [command("HMGET", keys.rebuild(), keys.WANTED, keys.DONE)]
        commands += [command("HGETALL", keys.wanted(shard)) for shard in range(self.shards)]

        def read(replies: list[Any]) -> RebuildRequests:
            (wanted, done), *of_shards = replies
            ids = {shard: _counts(flat) for shard, flat in enumerate(of_shards) if flat}
            return RebuildRequests(int(wanted or 0), int(done or 0), ids)

        return Request(commands, read)

    @operation
    def answer_rebuilds(self, requests: RebuildRequests, run_id: str | None = None) -> Request[None]:
        """Takes back these requests, all of which are answered. One that was made again since stays.

        After a rebuild of single ids give `requests.of_ids(ids)`. `run_id` is the server's when they
        were read. Another server counts anew, so `ServerReplaced` is raised there.
        """
        commands = [raise_numbers.command(keys.rebuild(), {keys.DONE: requests.wanted})]
        commands += [retire_requests.command(shard, counts) for shard, counts in requests.ids.items()]
        return Request(commands, nothing).during(run_id)

    @operation
    def waiting(self) -> Request[Waiting]:
        """How much waits for the worker and the drain: counts alone, of all ids and events."""
        commands = [
            command("HMGET", keys.rebuild(), keys.WANTED, keys.DONE),
            command("XLEN", keys.rejected()),
            command("GET", keys.heartbeat("parity")),
        ]
        commands += [command("HLEN", keys.wanted(shard)) for shard in range(self.shards)]

        def read(replies: list[Any]) -> Waiting:
            (wanted, done), rejected, parity, *ids = replies
            return Waiting(max(0, int(wanted or 0) - int(done or 0)), sum(ids), rejected, parity)

        return Request(commands, read)

    @operation
    def keep_totals(self, lake_version: int, build: int, text: bytes, run_id: str | None = None) -> Request[bool]:
        """Keeps the counts of a full rebuild, JSON with `lake_version` and `build`; False where later ones are there.

        `run_id` is the server's when the rebuild began: `ServerReplaced` is raised on another.
        """
        return Request([keep_totals.command(lake_version, build, text)], only(keep_totals.read)).during(run_id)

    @operation
    def totals(self) -> Request[tuple[bytes | None, int]]:
        """The counts of the last full rebuild, None before the first; and how many API keys were made."""
        hashes = (keys.api_keys(), keys.api_keys_revoked())
        commands = [command("GET", keys.totals()), *(command("HLEN", name) for name in hashes)]
        return Request(commands, lambda replies: (replies[0], sum(map(int, replies[1:]))))


def _counts(flat: Sequence[bytes]) -> dict[str, int]:
    return {keys.record_id(name)[1]: int(count) for name, count in zip(flat[::2], flat[1::2], strict=True)}
