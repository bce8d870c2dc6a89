"""What deletes cover: which rows count after them, and by which name a purged one is still known.

A delete is a row of its id, its tombstone. A purge takes away what it covers and keeps the tombstone under the hash of
the id: nothing names the person any more, yet a copy of old history brings nobody back, since what would count is
hashed too. A hash hides an id as well as the id is hard to guess, and no better.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha1

import polars as pl

from .identity import LINK_KINDS

#: Rows that say something of an id, and are no events.
ACT_KINDS = (*LINK_KINDS, "delete")

#: What the name of a purged tombstone begins with; no id does (`user:`, `anon:`, `email:`).
GONE = "gone:"

IS_AFTER = (
    pl.when(pl.col("seq").is_not_null())
    .then(pl.col("seq") > pl.col("deleted_seq"))
    .otherwise(pl.col("ts") > pl.col("deleted_at"))
)


def id_digest(namespaced_id: str) -> str:
    """The hash that a purged id is known by, in the lake and in Redis: Redis itself can compute no other."""
    return sha1(namespaced_id.encode(), usedforsecurity=False).hexdigest()


def tombstone_id(namespaced_id: str) -> str:
    """The id of a purged tombstone; of one that is purged already, itself."""
    return namespaced_id if namespaced_id.startswith(GONE) else GONE + id_digest(namespaced_id)


def of_ids(events: pl.LazyFrame, ids: Collection[str]) -> pl.LazyFrame:
    """The rows of some ids, with all that deletes say of them."""
    return events.filter(pl.col("id").is_in([*ids, *map(tombstone_id, ids)]))


def after_deletes(events: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that no later delete of their id covers, without the deletes.

    A delete covers what is before it in its id's log; and of imported rows those of a time up to the delete, whenever
    they are imported, so that a copy of old history brings nobody back.
    """
    deletes = last_deletes(events)
    if deletes.is_empty():
        return events
    kept = (pl.col("deleted_seq").is_null() | IS_AFTER) & (pl.col("kind") != "delete")
    return events.join(deletes.lazy(), on="id", how="left").filter(kept).drop("deleted_seq", "deleted_at")


def deleted(events: pl.LazyFrame) -> pl.LazyFrame:
    """The logged rows that a later delete of their id covers: a repeat of one of them is no new event either."""
    covered = pl.col("seq").is_not_null() & ~IS_AFTER
    deletes = last_deletes(events)
    return events.join(deletes.lazy(), on="id", how="inner").filter(covered).drop("deleted_seq", "deleted_at")


def undeleted(rows: pl.LazyFrame, deletes: pl.DataFrame, runs: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of rebuilds, each with id and build, less those of ids with a delete that the rebuild did not cover.

    `deletes` has id, shard and deleted_seq; `runs` has build and seqs, which say for each shard what a rebuild covered.
    A rebuild that was cut off before it noted its seqs is taken to have covered nothing.
    """
    if deletes.is_empty():
        return rows
    marked = rows.join(deletes.lazy(), on="id", how="left").join(runs.select("build", "seqs"), on="build", how="left")
    covered = pl.col("seqs").list.get(pl.col("shard"), null_on_oob=True).fill_null(-1)
    stays = pl.col("deleted_seq").is_null() | (pl.col("deleted_seq") <= covered)
    return marked.filter(stays).drop("shard", "deleted_seq", "seqs")


def delete_seqs(events: pl.LazyFrame) -> pl.DataFrame:
    """The last delete of each id that has one, by the name that stands in its row: id, shard, deleted_seq."""
    deletes = events.filter(pl.col("kind") == "delete").group_by("id")
    return deletes.agg(pl.col("shard").first(), pl.col("seq").max().alias("deleted_seq")).collect()


def last_deletes(events: pl.LazyFrame) -> pl.DataFrame:
    """The last delete of each id that has one: id, deleted_seq, deleted_at.

    Purged ones stand there under their hash, and again under the id of every other row that the hash is of.
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
    ids = events.select(pl.col("id").unique()).collect()["id"]
    names = pl.DataFrame({"name": ids, "id": ids.map_elements(tombstone_id, pl.String)}).filter(
        pl.col("name") != pl.col("id")
    )
    named = names.join(purged, on="id", how="inner").select(pl.col("name").alias("id"), "deleted_seq", "deleted_at")
    return pl.concat([deletes, named]).group_by("id").agg(latest)
