"""Whose an id is and when it was deleted, from the lake's rows back into Redis. A recovery does this before it replays:
a delete must not find its rows put back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from expressions.rules.deletes import ACT_KINDS, GONE, after_deletes, deleted, of_ids, tombstone_id
from expressions.rules.identity import owners
from lake.lake import Lake
from pipelines.publish import Recent
from serving.ids import shard_of
from serving.people.lists import settle_lists
from serving.store.operations.links import Claim
from serving.store.requests import chunks
from serving.store.scripts.claim import Owner
from serving.store.scripts.restore import Ownership, Position
from serving.store.store import Store

#: Ids that one request restores.
AT_ONCE = 5_000


def restore_ownership(store: Store, lake: Lake, version: int, after: Mapping[int, int]) -> int:
    """Puts links, unlinks and deletes back that Redis may lack: those of shards with a seq above `after`.

    Lists of members are put right for every owner in these shards, also where the claim is in another shard. A delete
    that was purged has no name any more: it is put back for the record whose id has its hash, where there is one, else
    without a name. Returns how many ids were restored. Safe to run again.

    1. The acts of the whole lake: links, unlinks and deletes; and those that Redis may lack.
    2. The ids that these are of, with names for the purged ones whose record is there.
    3. Of each id its last delete, its last unlink since, its owner and its last act.
    4. To Redis: purged tombstones without a name, then the ids, then the lists of members.
    """
    events = lake.events(version)
    acts = events.filter(pl.col("kind").is_in(ACT_KINDS)).collect()
    if acts.is_empty():
        return 0
    lost = pl.DataFrame(
        {"shard": list(after), "after": list(after.values())}, schema={"shard": pl.Int32, "after": pl.Int64}
    )
    lacking = acts.join(lost, on="shard", how="inner").filter(pl.col("seq") > pl.col("after"))
    ids = set(lacking["id"])
    nameless = {id for id in ids if id.startswith(GONE)}
    ids = (ids - nameless) | _records_of(store, nameless)
    in_force = after_deletes(acts.lazy()).collect()
    deletes = _last(acts.filter(pl.col("kind") == "delete"))
    # An unlink that takes a link back is of the link's own time (`claim`).
    unlinks = _last(in_force.filter(pl.col("kind") == "unlink").with_columns(received_at=pl.col("ts")))
    latest = _last(acts)
    owner_of = {
        id: Owner(owner, seq, since_ms, event_id.removesuffix(":link"))
        for id, owner, seq, since_ms, event_id in owners(in_force.lazy()).iter_rows()
    }
    deleted_at = {id: position for id in ids if (position := _last_delete(deletes, id)) is not None}
    recent = (
        Recent(deleted(of_ids(events, deleted_at), with_imported=True), store.now_ms()).everyone() if deleted_at else {}
    )
    ownerships = [
        Ownership(
            id,
            deleted_at.get(id),
            unlinks.get(id),
            owner_of.get(id),
            max(filter(None, (latest.get(id), deleted_at.get(id)))),
            recent.get(id, b""),
        )
        for id in sorted(ids)
    ]
    _restore_nameless(store, lacking, nameless - set(map(tombstone_id, ids)), deletes)
    for part in chunks(ownerships, AT_ONCE):
        store.restore(part)
    pairs = {(id, owner.id) for id, owner in owner_of.items()}
    pairs |= set(acts.filter(pl.col("kind") == "link").select("id", "name").iter_rows())  # some were given up since
    claims = [
        Claim(id, owner, "")
        for id, owner in sorted(pairs)
        if shard_of(owner, store.shards) in after or shard_of(id, store.shards) in after
    ]
    for claimed in chunks(claims, AT_ONCE):
        store.follow(settle_lists(store.operations, claimed))
    return len(ownerships)


def _records_of(store: Store, nameless: Collection[str]) -> set[str]:
    """The ids of records in Redis that these purged tombstones are of."""
    ids: set[str] = set()
    cursor = 0
    while nameless:
        cursor, records = store.scan_records(cursor)
        ids.update(id for _, id in records if tombstone_id(id) in nameless)
        if cursor == 0:
            break
    return ids


def _restore_nameless(
    store: Store, lacking: pl.DataFrame, nameless: Collection[str], deletes: Mapping[str, Position]
) -> None:
    """Puts purged tombstones back that no record is of."""
    shards = dict(lacking.select("id", "shard").iter_rows())
    tombstones: dict[int, list[tuple[str, int, int]]] = {}
    for tombstone in sorted(nameless):
        tombstones.setdefault(shards[tombstone], []).append((tombstone.removeprefix(GONE), *deletes[tombstone]))
    store.recall(tombstones)


def _last_delete(deletes: Mapping[str, Position], id: str) -> Position | None:
    """The last delete of an id, by its name or by its hash."""
    return max(filter(None, (deletes.get(id), deletes.get(tombstone_id(id)))), default=None)


def _last(acts: pl.DataFrame) -> dict[str, Position]:
    """id -> seq and receipt of its last row."""
    last = acts.sort("seq").unique(subset=["id"], keep="last", maintain_order=True)
    return {id: (seq, received_ms) for id, seq, received_ms in last.select("id", "seq", "received_at").iter_rows()}
