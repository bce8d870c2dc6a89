"""What deletes cover: the rows that count after them, and the name of a purged delete.

A delete is a row of its id, its **tombstone**. A purge removes the rows that a delete covers, and keeps the tombstone
under the hash of the id. So nothing names the person any more. A copy of old history still brings nobody back: its ids
are hashed too and compared with the tombstones. A hash hides an id as well as the id is hard to guess, and no better.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha1

import polars as pl

from .identity import LINK_KINDS

#: The kinds of rows that are acts on an id, and no events.
ACT_KINDS = (*LINK_KINDS, "delete")

#: The prefix of a purged tombstone's id. No other id has it: they begin with `user:`, `anon:` or `email:`.
GONE = "gone:"

#: Whether a row is not covered by the last delete of its id: by seq if it is logged, by time if it is imported.
IS_AFTER = (
    pl.when(pl.col("seq").is_not_null())
    .then(pl.col("seq") > pl.col("deleted_seq"))
    .otherwise(pl.col("ts") > pl.col("deleted_at"))
)


def id_digest(namespaced_id: str) -> str:
    """The hash of a purged id, in the lake and in Redis. It is SHA-1, the only one that Redis itself computes."""
    return sha1(namespaced_id.encode(), usedforsecurity=False).hexdigest()


def tombstone_id(namespaced_id: str) -> str:
    """The id of an id's purged tombstone. The id of a purged tombstone stays as it is."""
    return namespaced_id if namespaced_id.startswith(GONE) else GONE + id_digest(namespaced_id)


def of_ids(events: pl.LazyFrame, ids: Collection[str]) -> pl.LazyFrame:
    """The rows of these ids, their purged tombstones included."""
    return events.filter(pl.col("id").is_in([*ids, *map(tombstone_id, ids)]))


def after_deletes(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that no later delete of their id covers, and no delete of their owner, without the deletes.

    A delete covers the logged rows before it in its id's log. It covers imported rows of a time up to its own, whenever
    they are imported, so that a copy of old history brings nobody back. It also covers links to its id that were
    claimed up to then, though they may be made a moment later, in the log of another id. A frame without names has no
    links that matter.
    """
    deletes = last_deletes(events)
    if deletes.is_empty():
        return events
    stays = (pl.col("deleted_seq").is_null() | IS_AFTER) & (pl.col("kind") != "delete")
    if "name" in events.collect_schema():
        owners = deletes.lazy().select(pl.col("id").alias("name"), pl.col("deleted_at").alias("owner_deleted_at"))
        links = events.filter(pl.col("kind") == "link").select("id", "seq", "name", "ts")
        orphaned = links.join(owners, on="name", how="inner").filter(pl.col("ts") <= pl.col("owner_deleted_at"))
        rows = orphaned.select("id", "seq").collect(engine="streaming")
        if not rows.is_empty():  # there are hardly ever any
            events = events.join(rows.lazy(), on=["id", "seq"], how="anti")
    return events.join(deletes.lazy(), on="id", how="left").filter(stays).drop("deleted_seq", "deleted_at")


def deleted(events: pl.LazyFrame, *, with_imported: bool = False) -> pl.LazyFrame:
    """The logged rows that a later delete of their id covers. A repeat of one of them is no new event either.

    `with_imported`: also the imported rows that came before the delete.
    """
    came_before = pl.col("received_at") <= pl.col("deleted_at") if with_imported else pl.lit(False)
    covered = (pl.col("seq").is_not_null() | came_before) & ~IS_AFTER
    deletes = last_deletes(events)
    return events.join(deletes.lazy(), on="id", how="inner").filter(covered).drop("deleted_seq", "deleted_at")


def undeleted(rows: pl.LazyFrame, deletes: pl.DataFrame, runs: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of rebuilds without those of an id with a delete that the row's rebuild did not cover.

    `rows` have id and build. `deletes` has id, shard and deleted_seq. `runs` has build and seqs, the seq of each shard
    up to which the rebuild covered its log. A rebuild that was cut off before it noted its seqs covers nothing.
    """
    if deletes.is_empty():
        return rows
    marked = rows.join(deletes.lazy(), on="id", how="left").join(runs.select("build", "seqs"), on="build", how="left")
    covered = pl.col("seqs").list.get(pl.col("shard"), null_on_oob=True).fill_null(-1)
    stays = pl.col("deleted_seq").is_null() | (pl.col("deleted_seq") <= covered)
    return marked.filter(stays).drop("shard", "deleted_seq", "seqs")


def delete_seqs(events: pl.LazyFrame) -> pl.DataFrame:
    """The last delete of each id that has one, under the id in its row: id, shard, deleted_seq."""
    deletes = events.filter(pl.col("kind") == "delete").group_by("id")
    return deletes.agg(pl.col("shard").first(), pl.col("seq").max().alias("deleted_seq")).collect()


def last_deletes(events: pl.LazyFrame) -> pl.DataFrame:
    """The last delete of each id that has one: id, deleted_seq, deleted_at.

    A purged delete stands under its hash, and again under the id of any row whose hash it is, and of any owner that a
    link names.
    """
    latest = (pl.col("deleted_seq").max(), pl.col("deleted_at").max())
    deletes = (
        events.filter(pl.col("kind") == "delete")
        .select("id", pl.col("seq").alias("deleted_seq"), pl.col("received_at").alias("deleted_at"))
        .group_by("id")
        .agg(latest)
        .collect()
    )
    purged = deletes.filter(pl.col("id").str.starts_with(GONE))
    if purged.is_empty():
        return deletes
    named_by = [events.select("id")]
    if "name" in events.collect_schema():
        named_by.append(events.filter(pl.col("kind") == "link").select(pl.col("name").alias("id")))
    ids = pl.concat(named_by).unique().drop_nulls().collect()["id"]
    names = pl.DataFrame({"name": ids, "id": ids.map_elements(tombstone_id, pl.String)}).filter(
        pl.col("name") != pl.col("id")
    )
    named = names.join(purged, on="id", how="inner").select(pl.col("name").alias("id"), "deleted_seq", "deleted_at")
    return pl.concat([deletes, named]).group_by("id").agg(latest)
