"""Every Redis key: one function each, with its type, its TTL and who writes it; and the fields of the hashes.

The shard is the hash tag, so all keys that one script touches share a slot of a Redis Cluster. No key has a TTL unless
it says so: this is a store, not a cache.
"""

from __future__ import annotations

from typing import Final

# ── fields of a record ───────────────────────────────────────────────────────────────────────────────────────────
# One letter each, so that a record fits a listpack. A field of eight bytes or more is a tail entry: the newest copy of
# an event stands under its id's hash, an older one (a repeat after 24 h is a new event) under the hash and its seq.

BASE: Final = b"b"  # what the batch published (codec's bytes)
STAMP: Final = b"s"  # what it covers (serving.store.stamps, msgpack)
RECENT: Final = b"r"  # hashes of covered events received in the last 24 h, 20 bytes each; "+": see `recent`
LAST: Final = b"l"  # last receipt in ms and last seq, 6 bytes each, big-endian
OWNER: Final = b"o"  # whose this id is: owner, seq, receipt and event of the claim, msgpack (scripts.claim)
MEMBERS: Final = b"m"  # ids that were claimed for this one, and perhaps more, msgpack (scripts.members)
UNLINKED: Final = b"u"  # seq and receipt in ms of the last unlink, 6 bytes each, big-endian
TOMBSTONE: Final = b"d"  # seq and receipt in ms of the last delete, 6 bytes each, big-endian

TAIL_FIELD_BYTES_MIN: Final = 8

# ── keys of a shard ──────────────────────────────────────────────────────────────────────────────────────────────


def record(shard: int, namespaced_id: str) -> str:
    """Hash: base and tail of one raw id. Written by ingest, publish, replay and sweep."""
    return f"rec:{{{shard}}}:{namespaced_id}"


def recent(shard: int, namespaced_id: str) -> str:
    """String: a record's `recent` where it is long, in order of the hash. Publish writes it. TTL: 25 h."""
    return f"recent:{{{shard}}}:{namespaced_id}"


def gone(shard: int) -> str:
    """Hash: digest of an id -> its tombstone and what it remembers (scripts.tombstones). Written by the purge."""
    return f"gone:{{{shard}}}"


def record_pattern() -> str:
    """What SCAN matches every record by."""
    return "rec:{*"


def record_id(key: bytes) -> tuple[int, str]:
    """The shard and the namespaced id of a record's key."""
    tag, _, namespaced_id = key[5:].partition(b"}:")
    return int(tag), namespaced_id.decode()


def log(shard: int) -> str:
    """Stream: accepted events, entry id `<seq>-0`, fields e (event), t (ts), r (received). Ingest adds, drain trims."""
    return f"log:{{{shard}}}"


def shard(shard: int) -> str:
    """Hash: seq, last (ms of the last receipt), projection (version), drained (seq).

    Written by ingest, trim_log, resume and raise_projection; none of the four ever goes down.
    """
    return f"shard:{{{shard}}}"


def ready(shard: int) -> str:
    """String: run_id of the server that this shard was recovered on. Written by recovery alone; read by ingest."""
    return f"ready:{{{shard}}}"


def wanted(shard: int) -> str:
    """Hash: id -> how often a rebuild of it was asked for. Ingest and the API add, the rebuild worker removes."""
    return f"wanted:{{{shard}}}"


def patterns() -> list[str]:
    """What SCAN matches every key by that holds data; leases and heartbeats belong to processes and run out."""
    of_shards = [
        name.partition("{")[0]
        for name in (record(0, ""), recent(0, ""), gone(0), log(0), shard(0), ready(0), wanted(0))
    ]
    return [
        *(f"{prefix}{{*" for prefix in of_shards),
        catalogue() + "*",
        shard_count(),
        rebuild(),
        totals(),
        rejected(),
        api_keys() + "*",
    ]


# ── keys of the whole system ─────────────────────────────────────────────────────────────────────────────────────


def catalogue() -> str:
    """String: every definition and what records keep (definitions.catalogue's text). Written with its version."""
    return "{catalogue}"


def catalogue_version() -> str:
    """String: number of the catalogue's version. Read with every record."""
    return "{catalogue}:version"


def shard_count() -> str:
    """String: how many shards there are. Recovery notes it once; every process looks at it as it starts."""
    return "shards"


def rebuild() -> str:
    """Hash: build (the last one), wanted and done (of the last full rebuild asked for, and answered)."""
    return "rebuild"


def totals() -> str:
    """String: JSON of what the last full rebuild counted (expressions.batch.totals). The rebuild writes it."""
    return "totals"


def rejected() -> str:
    """Stream of refused events with their reasons, at most 100k. The API adds, the drain stores and trims."""
    return "rejected"


def api_keys() -> str:
    """Hash: id -> JSON of a key that an admin made (its digest, never the key). The API adds, recovery restores."""
    return "apikeys"


def api_keys_used() -> str:
    """Hash: id of a key -> UTC ms of about its last use. Every API process adds."""
    return "apikeys:used"


def lease(name: str) -> str:
    """String: token of the process that does `name` now. TTL: the lease."""
    return f"lease:{{{name}}}"


def next_lease(name: str) -> str:
    """String: token of the process that asked to do `name` next. TTL: as long as it asks."""
    return f"lease:{{{name}}}:next"


def heartbeat(name: str) -> str:
    """String: JSON of what a part of the system last said about itself. TTL: given by the part."""
    return f"heartbeat:{name}"
