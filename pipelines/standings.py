"""Whose ids are and what was deleted, from the lake's rows back into Redis: what a recovery does before it replays."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from expressions.rules.deletes import GONE, after_deletes, deleted, of_ids, tombstone_id
from expressions.rules.identity import LINK_KINDS, owners
from lake.lake import Lake
from pipelines.publish import Recent
from serving.ids import shard_of
from serving.store.operations.links import Claim
from serving.store.scripts.claim import Owner
from serving.store.scripts.restore import Position, Standing
from serving.store.scripts.script import chunks
from serving.store.store import Store

AT_ONCE = 5_000


def restore_standings(store: Store, lake: Lake, version: int, after: Mapping[int, int]) -> int:
    """Puts links, unlinks and deletes back that Redis may lack: those of shards with a seq above `after`.

    Lists of members are completed for every owner in these shards, whatever shard the claim is in. A delete that was
    purged has no name any more: it is put back for the record that its hash is of, where there is one, else without a
    name. Answers how many ids were restored. Safe to run again.
    """
    events = lake.events(version)
    rows = events.filter(pl.col("kind").is_in([*LINK_KINDS, "delete"])).collect()
    if rows.is_empty():
        return 0
    lost = pl.DataFrame(
        {"shard": list(after), "after": list(after.values())}, schema={"shard": pl.Int32, "after": pl.Int64}
    )
    affected = rows.join(lost, on="shard", how="inner").filter(pl.col("seq") > pl.col("after"))
    ids = set(affected["id"])
    nameless = {one for one in ids if one.startswith(GONE)}
    ids = (ids - nameless) | _held(store, nameless)
    live = after_deletes(rows.lazy()).collect()
    claims = owners(live.lazy())
    deletes = _last(rows.filter(pl.col("kind") == "delete"))
    unlinks = _last(live.filter(pl.col("kind") == "unlink"))
    latest = _last(rows)
    owner_of = {
        one: Owner(owner, seq, at, event.removesuffix(":link")) for one, owner, seq, at, event in claims.iter_rows()
    }
    deleted_at = {one: at for one in ids if (at := _later(deletes, one)) is not None}
    recent = Recent(deleted(of_ids(events, deleted_at)), store.now_ms()).everyone() if deleted_at else {}
    standings = [
        Standing(
            one,
            deleted_at.get(one),
            unlinks.get(one),
            owner_of.get(one),
            max(filter(None, (latest.get(one), deleted_at.get(one)))),
            recent.get(one, b""),
        )
        for one in sorted(ids)
    ]
    _recall(store, affected, nameless - set(map(tombstone_id, ids)), deletes)
    for some in chunks(standings, AT_ONCE):
        store.restore(some)
    listed = [
        Claim(one, owner.id, owner.event_id)
        for one, owner in owner_of.items()
        if shard_of(owner.id, store.shards) in after or shard_of(one, store.shards) in after
    ]
    for claimed in chunks(listed, AT_ONCE):
        store.add_members(claimed)
    return len(standings)


def _held(store: Store, nameless: Collection[str]) -> set[str]:
    """The ids of records that these tombstones are of."""
    found: set[str] = set()
    cursor = 0
    while nameless:
        cursor, some = store.scan_records(cursor)
        found.update(one for _, one in some if tombstone_id(one) in nameless)
        if cursor == 0:
            break
    return found


def _recall(store: Store, affected: pl.DataFrame, nameless: Collection[str], deletes: Mapping[str, Position]) -> None:
    shards = dict(affected.select("id", "shard").iter_rows())
    tombstones: dict[int, list[tuple[str, int, int]]] = {}
    for one in sorted(nameless):
        tombstones.setdefault(shards[one], []).append((one.removeprefix(GONE), *deletes[one]))
    store.recall(tombstones)


def _later(deletes: Mapping[str, Position], one: str) -> Position | None:
    """The last delete of an id, by its name or by its hash."""
    return max(filter(None, (deletes.get(one), deletes.get(tombstone_id(one)))), default=None)


def _last(rows: pl.DataFrame) -> dict[str, Position]:
    """id -> seq and receipt of its last row."""
    last = rows.sort("seq").unique(subset=["id"], keep="last", maintain_order=True)
    return {one: (seq, at) for one, seq, at in last.select("id", "seq", "received_at").iter_rows()}
