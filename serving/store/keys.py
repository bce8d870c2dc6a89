"""Every Redis key: one function each, with its type, its TTL and who writes it; and the fields of the hashes.

The shard is the hash tag, so all keys that one script touches share a slot of a Redis Cluster. No key has a TTL unless
it says so: this is a store, not a cache.

Scripts know the constants below by the same names (`scripts.script`), so a rename here is a rename everywhere.
"""

from __future__ import annotations

from typing import Final

# ── fields of a record ───────────────────────────────────────────────────────────────────────────────────────────
# One letter each, so that a record fits a listpack. A field of eight bytes or more is a tail entry: the newest copy of
# an event stands under its id's hash, an older one (a repeat after 24 h is a new event) under the hash and its seq.

BASE: Final = b"b"  # what the batch published (`base_codec`)
STAMP: Final = b"s"  # what the base covers (`stamps`, msgpack)
RECENT: Final = b"r"  # covered events received in the last 24 h, 20 bytes each (`scripts.lua_copies`)
FORGOTTEN: Final = b"f"  # deleted events received in the 24 h before their delete, laid out as RECENT
LAST: Final = b"l"  # receipt in ms and seq of the last entry, 6 bytes each, big-endian
OWNER: Final = b"o"  # whose this id is: owner, seq, receipt and event of the claim, msgpack (`scripts.claim`)
MEMBERS: Final = b"m"  # ids that were claimed for this one, and perhaps more, msgpack (`scripts.members`)
UNLINKED: Final = b"u"  # seq and receipt in ms of the last unlink, 6 bytes each, big-endian
TOMBSTONE: Final = b"d"  # seq and receipt in ms of the last delete, 6 bytes each, big-endian

TAIL_FIELD_BYTES_MIN: Final = 8
APART: Final = b"+"  # what RECENT or FORGOTTEN says first when its entries have a key of their own (`lua_copies`)

# ── fields of other hashes, and of the entries of streams ────────────────────────────────────────────────────────

SEQ: Final = "seq"  # of `shard`: the last seq that was given out
LAST_RECEIPT: Final = "last"  # of `shard`: the last receipt in ms
AHEAD: Final = "ahead"  # of `shard`: the greatest receipt that was too far ahead of the clock to be believed, if any
CHECKED: Final = "checked"  # of `shard`: the least version of the catalogue that events must have been checked by
PROJECTION: Final = "projection"  # of `shard`: the least version of the projection that may write
UNDOING: Final = "undoing"  # of `shard`: there while an import is undone
DRAINED: Final = "drained"  # of `shard`: the seq up to which the lake has the log
DELETED: Final = "deleted"  # of `shard`: the seq of the last delete

BUILD: Final = "build"  # of `rebuild`: the number of the last build
WANTED: Final = "wanted"  # of `rebuild`: how many full rebuilds were asked for
DONE: Final = "done"  # of `rebuild`: how many of those were answered

ENTRY_EVENT: Final = b"e"  # of `log`, `rejected`, `refused`: the event; of `unwritten`: the version
ENTRY_TS: Final = b"t"  # of `log`: its clamped time in ms
ENTRY_RECEIVED: Final = b"r"  # of `log`: its receipt in ms; of `unwritten`: since when it waits, in ms

# ── prefixes that scripts make keys of ───────────────────────────────────────────────────────────────────────────

RECORD_PREFIX: Final = "rec:"
RECENT_PREFIX: Final = "recent:"
FORGOTTEN_PREFIX: Final = "forgotten:"
GONE_PREFIX: Final = "gone:"
STAGED_PREFIX: Final = "staged:"

# ── keys of a shard ──────────────────────────────────────────────────────────────────────────────────────────────


def record(shard: int, namespaced_id: str) -> str:
    """Hash: base and tail of one raw id, whose it is, and when it was deleted. Written by most scripts."""
    return f"{RECORD_PREFIX}{{{shard}}}:{namespaced_id}"


def recent(shard: int, namespaced_id: str) -> str:
    """String: a record's `RECENT` where it is long, in order of the hash. Written by publish; the purge puts what a
    record has `FORGOTTEN` here, under the digest of the id.

    TTL: 25 h.
    """
    return f"{RECENT_PREFIX}{{{shard}}}:{namespaced_id}"


def forgotten(shard: int, namespaced_id: str) -> str:
    """String: a record's `FORGOTTEN` where it is long, in order of the hash. Written by delete and restore.

    TTL: 25 h.
    """
    return f"{FORGOTTEN_PREFIX}{{{shard}}}:{namespaced_id}"


def staged(shard: int) -> str:
    """The beginning of strings: a record's `RECENT` while it is written in pieces (`scripts.stage`), under the build
    and the digest of the id. A rebuild writes them; publish moves each to its place.

    TTL: 10 minutes.
    """
    return f"{STAGED_PREFIX}{{{shard}}}:"


def gone(shard: int) -> str:
    """Hash: digest of an id -> its tombstone and what it remembers (`scripts.lua_tombstones`). Written by the purge."""
    return f"{GONE_PREFIX}{{{shard}}}"


def record_pattern() -> str:
    """The pattern by which SCAN finds every record."""
    return RECORD_PREFIX + "{*"


def record_id(key: bytes) -> tuple[int, str]:
    """The shard and the namespaced id of a record's key."""
    tag, _, namespaced_id = key[len(RECORD_PREFIX) + 1 :].partition(b"}:")
    return int(tag), namespaced_id.decode()


def log(shard: int) -> str:
    """Stream: accepted events, entry id `<seq>-0`. Ingest, claim and delete add, the drain trims."""
    return f"log:{{{shard}}}"


def deletes(shard: int) -> str:
    """Sorted set: receipt in ms (6 bytes, big-endian) and id -> seq of a delete that the lake has not got yet.

    Delete adds, trim_log removes.
    """
    return f"deletes:{{{shard}}}"


def shard(shard: int) -> str:
    """Hash: the numbers of a shard's log. None of them ever goes down, but for a receipt that cannot be believed.

    Written by ingest, claim, delete, trim_log, resume and raise_projection.
    """
    return f"shard:{{{shard}}}"


def ready(shard: int) -> str:
    """String: run_id of the server that this shard was recovered on. Written by recovery alone.

    Read by ingest, claim and delete.
    """
    return f"ready:{{{shard}}}"


def wanted(shard: int) -> str:
    """Hash: a record's key -> how often a rebuild of it was asked for.

    Ingest, replay and the API add; the rebuild worker and the purge remove.
    """
    return f"wanted:{{{shard}}}"


def patterns() -> list[str]:
    """The patterns by which SCAN finds every key that holds data. Leases and heartbeats run out by themselves.

    A key that is missing here outlives `Store.clear`, and so a recovery that begins anew.
    """
    of_shards = [
        name.partition("{")[0]
        for name in (
            record(0, ""),
            recent(0, ""),
            forgotten(0, ""),
            gone(0),
            staged(0),
            log(0),
            deletes(0),
            shard(0),
            ready(0),
            wanted(0),
        )
    ]
    return [
        *(f"{prefix}{{*" for prefix in of_shards),
        catalogue() + "*",
        shard_count(),
        lake(),
        rebuild(),
        totals(),
        runs() + "*",
        rejected(),
        refused(),
        api_keys() + "*",
    ]


# ── keys of the whole system ─────────────────────────────────────────────────────────────────────────────────────


def catalogue() -> str:
    """String: every definition and what records keep (`definitions.catalogue`). Written with its version."""
    return "{catalogue}"


def catalogue_version() -> str:
    """String: number of the catalogue's version. Read with every record."""
    return "{catalogue}:version"


def unwritten() -> str:
    """Stream: versions of definitions that the lake's history lacks, entry id `<version>-0`. At most 1,000, and 8 MiB.

    Written with the catalogue; trimmed by whoever has written them to the lake: the saver, or the drain.
    """
    return "{catalogue}:unwritten"


def shard_count() -> str:
    """String: how many shards there are. Recovery notes it once; every process reads it as it starts."""
    return "shards"


def lake() -> str:
    """String: id of the lake that this Redis belongs to (`Lake.id`). Recovery notes it once; every part compares it."""
    return "lake"


def rebuild() -> str:
    """Hash: the numbers of builds and of full rebuilds. Written by next_build, want_rebuild and answer_rebuilds."""
    return "rebuild"


def totals() -> str:
    """String: JSON of what the last full rebuild counted (expressions.batch.totals). The rebuild writes it."""
    return "totals"


def runs() -> str:
    """Stream: what was noted about the worker's runs (`serving.runs`), at most 4,000 notes. Worker and API add."""
    return "runs"


def runs_asked() -> str:
    """List: the runs that admins ask for and that are not done. The API adds, at most 100; the worker removes."""
    return "runs:asked"


def runs_paused() -> str:
    """String: the works whose schedules were paused when they were last seen, a blank between them. The worker writes.

    There are three works.
    """
    return "runs:paused"


def runs_working() -> str:
    """String: what the worker does now (`worker.UnderWay`). The worker sets it and drops it; a killed one leaves it."""
    return "runs:working"


def rejected() -> str:
    """Stream: refused events with their reasons, at most 100k. The API adds, the drain stores and trims."""
    return "rejected"


def sending(refused_id: str) -> str:
    """String: what a refused event is sent again as (`scripts.sending`). Calls that send again set and drop it.

    TTL: 7 days, of a call that was cut off.
    """
    return f"sending:{refused_id}"


def refused() -> str:
    """Stream: the newest refused events for who watches, entry id `<number>-0`, at most 200. The API adds, the purge
    drops all.
    """
    return "refused"


def api_keys() -> str:
    """Hash: id -> JSON of a key that an admin made (its digest, never the key). Every process reads it each second.

    The API adds, and moves a key that is revoked to `api_keys_revoked`; recovery restores.
    """
    return "apikeys"


def api_keys_revoked() -> str:
    """Hash: the same of keys that were revoked, for the list of keys. The API adds, recovery restores."""
    return "apikeys:revoked"


def api_keys_used() -> str:
    """Hash: id of a key -> UTC ms of about its last use. Every API process adds."""
    return "apikeys:used"


def activity_minute(minute: int) -> str:
    """Hash: what all API processes did in a minute since 1970, by name (`serving.activity`). Each adds to it.

    TTL: 49 h.
    """
    return f"activity:minute:{minute}"


def activity_day(day: int) -> str:
    """Hash: what flags answered apps on a day since 1970 (UTC), by flag, way and variant. API processes add to it.

    TTL: 91 days.
    """
    return f"activity:day:{day}"


def activity_since() -> str:
    """String: UTC ms from which on there is a record of activity. API processes set it once.

    TTL: 91 days after the last activity.
    """
    return "activity:since"


def lease(name: str) -> str:
    """String: token of the process that does `name` now. TTL: the lease."""
    return f"lease:{{{name}}}"


def next_lease(name: str) -> str:
    """String: token of the process that asked to do `name` next. TTL: as long as it asks."""
    return f"lease:{{{name}}}:next"


def analysis(name: str) -> str:
    """String: what became of an analysis, or its answer (`lookups.analysis_runs`); it may show ids. TTL: 15 minutes."""
    return heartbeat(f"analysis:{name}")


def stream_ticket(name: str) -> str:
    """String: whose changes a stream tells of, sealed by its ticket (`streams.tickets`). Bulk decisions set it.

    TTL: five to ten minutes after the last of them, and after a stream of it was last open.
    """
    return f"stream:{name}"


def processes() -> str:
    """Hash: name of an API process -> JSON of what it last said of itself. Each adds and removes itself.

    TTL: an hour after the last of them spoke.
    """
    return heartbeat("processes")


def heartbeat(name: str) -> str:
    """String: JSON of what a part of the system last said about itself. TTL: given by the part."""
    return f"heartbeat:{name}"
