"""What can be asked of the store about the system: the catalogue, what is to be rebuilt, shards, the server, leases.

Pure, as `serving.store.record_operations`, which adds what is asked about records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from serving.ids import SHARDS_DEFAULT, shard_of
from serving.store import keys
from serving.store.scripts import lease, raise_numbers, replace_catalogue, retire_requests
from serving.store.scripts.replies import clock_ms, nothing, truth
from serving.store.scripts.script import Request, command


class ShardState(NamedTuple):
    """Where a shard's log stands. `ready_run_id`: the server it was recovered on; `entries`: those still in the log."""

    shard: int
    seq: int
    last_received_ms: int
    drained: int
    projection: int
    ready_run_id: str | None
    entries: int


class Server(NamedTuple):
    """The server that answers, by what matters here. `appendfsync` is None where the server does not tell."""

    run_id: str
    version: str
    role: str
    clock_ms: int
    append_only: bool
    appendfsync: str | None
    eviction: str
    memory_used: int
    memory_max: int


class FileState(NamedTuple):
    """The server's append-only file: whether it has one, is writing it anew, and whether the last time went well."""

    is_used: bool
    is_busy: bool
    went_well: bool


class RebuildRequests(NamedTuple):
    """How many full rebuilds were asked for and answered, and, per shard, which ids how often."""

    wanted: int
    done: int
    ids: dict[int, dict[str, int]]

    @property
    def is_full(self) -> bool:
        """Whether a full rebuild is waited for."""
        return self.wanted > self.done


class Waiting(NamedTuple):
    """How much waits: full rebuilds, ids with their own, refused events. `parity` is what `doctor` last said of it."""

    rebuilds: int
    ids: int
    rejected: int
    parity: bytes | None


@dataclass(frozen=True)
class SystemOperations:
    """The operations on a store of so many shards that are about no record."""

    shards: int = SHARDS_DEFAULT

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    def catalogue(self) -> Request[bytes | None]:
        """The catalogue's text; None while there is none."""
        return Request([command("GET", keys.catalogue())], lambda replies: replies[0])

    def replace_catalogue(
        self, text: bytes, *, expected: int | None, version: int, run_id: str | None = None
    ) -> Request[bool]:
        """Puts a catalogue in the place of version `expected` (None: of none); False when there is another now.

        With a `run_id` only on that run of the server, else raises `ServerReplaced`.
        """
        return Request([replace_catalogue.replaced(text, expected, version)], truth).during(run_id)

    def raise_projection(self, version: int) -> Request[list[int]]:
        """Refuses, from now on, events projected by older versions; answers the seq of each shard at that moment."""
        commands = [raise_numbers.raised(keys.shard(shard), {"projection": version}) for shard in range(self.shards)]
        return Request(commands, lambda replies: [int(reply[-1]) for reply in replies])

    # ── rebuild requests ─────────────────────────────────────────────────────────────────────────────────────────

    def want_rebuild(self) -> Request[int]:
        """Asks for a full rebuild; the number under which `rebuild_requests().done` will count it."""
        return Request([command("HINCRBY", keys.rebuild(), "wanted", 1)], lambda replies: int(replies[0]))

    def want_rebuild_of(self, ids: Iterable[str]) -> Request[None]:
        """Asks for a rebuild of single ids."""
        commands = []
        for one in ids:
            shard = shard_of(one, self.shards)
            commands.append(command("HINCRBY", keys.wanted(shard), keys.record(shard, one), 1))
        return Request(commands, nothing)

    def rebuild_requests(self) -> Request[RebuildRequests]:
        """What is asked for now. Read it before a rebuild pins its version, and give it back when that is published."""
        commands = [command("HMGET", keys.rebuild(), "wanted", "done")]
        commands += [command("HGETALL", keys.wanted(shard)) for shard in range(self.shards)]

        def read(replies: list[Any]) -> RebuildRequests:
            (wanted, done), *ids = replies
            found = {shard: _counts(flat) for shard, flat in enumerate(ids) if flat}
            return RebuildRequests(int(wanted or 0), int(done or 0), found)

        return Request(commands, read)

    def answer_rebuilds(self, requests: RebuildRequests, run_id: str | None = None) -> Request[None]:
        """Takes back these requests, all of them answered; what was asked for again since stays.

        After a rebuild of single ids give `requests._replace(wanted=requests.done)`. `run_id` is the server's when they
        were read: another one counts anew, so raises `ServerReplaced`.
        """
        commands = [raise_numbers.raised(keys.rebuild(), {"done": requests.wanted})]
        commands += [retire_requests.answered(shard, counts) for shard, counts in requests.ids.items()]
        return Request(commands, nothing).during(run_id)

    def keep_totals(self, text: bytes) -> Request[None]:
        """Keeps what a full rebuild counted, in the place of what the one before did."""
        return Request([command("SET", keys.totals(), text)], nothing)

    def totals(self) -> Request[tuple[bytes | None, int]]:
        """What the last full rebuild counted, None before the first; and how many keys were made."""
        commands = [command("GET", keys.totals()), command("HLEN", keys.api_keys())]
        return Request(commands, lambda replies: (replies[0], int(replies[1])))

    # ── the system ───────────────────────────────────────────────────────────────────────────────────────────────

    def shard_states(self) -> Request[list[ShardState]]:
        """Where every shard stands."""
        commands = []
        for shard in range(self.shards):
            commands.append(command("HMGET", keys.shard(shard), "seq", "last", "drained", "projection"))
            commands.append(command("GET", keys.ready(shard)))
            commands.append(command("XLEN", keys.log(shard)))

        def read(replies: list[Any]) -> list[ShardState]:
            states = []
            for shard in range(self.shards):
                numbers, run_id, entries = replies[3 * shard : 3 * shard + 3]
                seq, last, drained, projection = (int(number or 0) for number in numbers)
                ready = run_id.decode() if run_id else None
                states.append(ShardState(shard, seq, last, drained, projection, ready, entries))
            return states

        return Request(commands, read)

    def note_shards(self) -> Request[None]:
        """Notes how many shards there are, where nobody has."""
        return Request([command("SETNX", keys.shard_count(), self.shards)], nothing)

    def noted_shards(self) -> Request[int | None]:
        """How many shards this system was made with; None on a server that was never recovered."""
        return Request([command("GET", keys.shard_count())], lambda replies: int(replies[0]) if replies[0] else None)

    def waiting(self) -> Request[Waiting]:
        """How much waits for the worker and the drain: counts alone, whatever they are of."""
        commands = [
            command("HMGET", keys.rebuild(), "wanted", "done"),
            command("XLEN", keys.rejected()),
            command("GET", keys.heartbeat("parity")),
        ]
        commands += [command("HLEN", keys.wanted(shard)) for shard in range(self.shards)]

        def read(replies: list[Any]) -> Waiting:
            (wanted, done), rejected, parity, *ids = replies
            return Waiting(max(0, int(wanted or 0) - int(done or 0)), sum(ids), rejected, parity)

        return Request(commands, read)

    def server(self) -> Request[Server]:
        """The server, its clock, memory and how durable it is."""
        commands = [command("INFO", section) for section in ("server", "replication", "persistence", "memory")]

        def read(replies: list[Any]) -> Server:
            info = dict(_info(b"\n".join(replies[:4])))
            return Server(
                run_id=info["run_id"],
                version=info.get("valkey_version") or info["redis_version"],
                role=info.get("role", ""),
                clock_ms=clock_ms(replies[4]),
                append_only=info.get("aof_enabled") == "1",
                appendfsync=None,
                eviction=info.get("maxmemory_policy", ""),
                memory_used=int(info.get("used_memory", 0)),
                memory_max=int(info.get("maxmemory", 0)),
            )

        return Request([*commands, command("TIME")], read)

    def server_setting(self, name: str) -> Request[str | None]:
        """A setting of the server; None where it has none of that name. Raises `StoreError` where it does not tell."""
        return Request([command("CONFIG", "GET", name)], lambda replies: replies[0][1].decode() if replies[0] else None)

    def api_keys(self) -> Request[dict[str, bytes]]:
        """The keys that admins made, by id, as they were put."""
        return Request([command("HGETALL", keys.api_keys())], lambda replies: dict(_pairs(replies[0])))

    def put_api_keys(self, texts: Mapping[str, bytes]) -> Request[None]:
        """Keeps keys, by id."""
        words = [word for pair in texts.items() for word in pair]
        return Request([command("HSET", keys.api_keys(), *words)] if words else [], nothing)

    def note_used(self, used_ms: Mapping[str, int]) -> Request[None]:
        """Notes when keys were used, by id."""
        words = [word for pair in used_ms.items() for word in pair]
        return Request([command("HSET", keys.api_keys_used(), *words)] if words else [], nothing)

    def keys_used(self) -> Request[dict[str, int]]:
        """When each key was used last, UTC ms by id."""
        return Request(
            [command("HGETALL", keys.api_keys_used())],
            lambda replies: {key_id: int(ms) for key_id, ms in _pairs(replies[0])},
        )

    def hold_lease(self, name: str, token: str, ttl_ms: int, manner: lease.Manner = "") -> Request[bool]:
        """Takes or renews a lease; False while another holds it.

        "next": no one else who gives way takes it before. "gives way": not, and given back, if another asked for that;
        "joins": not then, but left to others of the same token.
        """
        return Request([lease.held(name, token, ttl_ms, manner)], truth)

    def release_lease(self, name: str, token: str) -> Request[bool]:
        """Gives a lease back; False when it was not held any more."""
        return Request([lease.released(name, token)], truth)

    def beat(self, name: str, said: bytes, ttl_ms: int) -> Request[None]:
        """Keeps what a part of the system says about itself, until it is silent for `ttl_ms`."""
        return Request([command("SET", keys.heartbeat(name), said, "PX", ttl_ms)], nothing)

    def heartbeat(self, name: str) -> Request[bytes | None]:
        """What that part said last; None when it has been silent."""
        return Request([command("GET", keys.heartbeat(name))], lambda replies: replies[0])

    # ── its file ─────────────────────────────────────────────────────────────────────────────────────────────────

    def rewrite_file(self) -> Request[None]:
        """Has the server write its append-only file anew, with what there is now. Raises `StoreError` if it cannot."""
        return Request([command("SLOWLOG", "RESET"), command("BGREWRITEAOF")], nothing)

    def file_state(self) -> Request[FileState]:
        """Whether the append-only file is being written anew, and how that went last."""

        def read(replies: list[Any]) -> FileState:
            info = dict(_info(replies[0]))
            busy = "1" in (info.get("aof_rewrite_in_progress"), info.get("aof_rewrite_scheduled"))
            return FileState(info.get("aof_enabled") == "1", busy, info.get("aof_last_bgrewrite_status") == "ok")

        return Request([command("INFO", "persistence")], read)

    def set_server(self, name: str, value: str) -> Request[None]:
        """Changes a setting of the server. Raises `StoreError` where it does not let us."""
        return Request([command("CONFIG", "SET", name, value)], nothing)


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[str, bytes]]:
    return ((name.decode(), value) for name, value in zip(flat[::2], flat[1::2], strict=True))


def _counts(flat: Sequence[bytes]) -> dict[str, int]:
    return {keys.record_id(key)[1]: int(count) for key, count in zip(flat[::2], flat[1::2], strict=True)}


def _info(text: bytes) -> Iterable[tuple[str, str]]:
    for line in text.decode(errors="replace").splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and not name.startswith("#"):
            yield name, value
