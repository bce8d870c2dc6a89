"""Whose ids are and what was deleted, from the lake's rows back into Redis: what a recovery does before it replays."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from expressions.frames import after_deletes, deleted
from expressions.identity import LINK_KINDS, owners
from lake.lake import Lake
from pipelines.publish import Recent
from serving.ids import shard_of
from serving.operations import Claim
from serving.scripts.claim import Owner
from serving.scripts.restore import Position, Standing
from serving.scripts.script import chunks
from serving.store import Store

AT_ONCE = 5_000


def restore_standings(store: Store, lake: Lake, version: int, after: Mapping[int, int]) -> int:
    """Puts links, unlinks and deletes back that Redis may lack: those of shards with a seq above `after`.

    Lists of members are completed for every owner in these shards, whatever shard the claim is in. Answers how many ids
    were restored. Safe to run again.
    """
    events = lake.events(version)
    rows = events.filter(pl.col("kind").is_in([*LINK_KINDS, "delete"])).collect()
    if rows.is_empty():
        return 0
    lost = pl.DataFrame(
        {"shard": list(after), "after": list(after.values())}, schema={"shard": pl.Int32, "after": pl.Int64}
    )
    ids = rows.join(lost, on="shard", how="inner").filter(pl.col("seq") > pl.col("after"))["id"].unique()
    of_ids = rows.filter(pl.col("id").is_in(ids.implode()))
    live = after_deletes(rows.lazy()).collect()
    claims = owners(live.lazy())
    deletes = _last(of_ids.filter(pl.col("kind") == "delete"))
    unlinks = _last(live.filter(pl.col("kind") == "unlink"))
    latest = _last(of_ids)
    owner_of = {
        one: Owner(owner, seq, at, event.removesuffix(":link")) for one, owner, seq, at, event in claims.iter_rows()
    }
    gone = deleted(events.filter(pl.col("id").is_in(list(deletes))))
    recent = Recent(gone, store.now_ms()).everyone() if deletes else {}
    standings = [
        Standing(one, deletes.get(one), unlinks.get(one), owner_of.get(one), latest[one], recent.get(one, b""))
        for one in ids.to_list()
    ]
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


def _last(rows: pl.DataFrame) -> dict[str, Position]:
    """id -> seq and receipt of its last row."""
    last = rows.sort("seq").unique(subset=["id"], keep="last", maintain_order=True)
    return {one: (seq, at) for one, seq, at in last.select("id", "seq", "received_at").iter_rows()}
