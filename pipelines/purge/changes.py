"""The changes that a purge makes to the rows of each table, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from expressions.rules.deletes import GONE, IS_AFTER, tombstone_id, undeleted
from lake.lake import Lake
from lake.schemas import EVENTS
from lake.tables import Change
from pipelines.purge.deleted import Deleted
from pipelines.purge.naming import Names
from serving.ids import shard_of

#: Later than any time.
FOREVER_MS = 2**63 - 1
#: The columns of events that decide what becomes of a row.
DECIDING = ("ingest_date", "kind", "id", "shard", "seq", "ts", "name", "user_id", "anonymous_id")
#: Columns of other people's events that may name an id that is gone: a device that was theirs too.
NAMING = ("user_id", "anonymous_id")


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def days_to_change(lake: Lake, deleted: Deleted) -> list[str]:
    """The days of events that have anything to change, the latest last."""
    rows = _decided(lake.scan(EVENTS).select(*DECIDING), deleted)
    is_changed = pl.any_horizontal("goes", "loses_name", *[f"hides_{column}" for column in NAMING])
    days = rows.filter(is_changed).select(pl.col("ingest_date").unique()).collect()["ingest_date"]
    return sorted(day.isoformat() for day in days)


def events_without(deleted: Deleted) -> Change:
    """Events less those that a delete covers, and less the names of who is gone: in tombstones, and in other people's
    events."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = _decided(pl.from_arrow(batch.select(list(DECIDING))).lazy(), deleted).collect()  # type: ignore[union-attr]
        columns = {name: batch.column(name) for name in batch.schema.names}
        if rows["loses_name"].any():
            ids = [tombstone_id(id) if loses else id for id, loses in rows.select("id", "loses_name").iter_rows()]
            columns["id"] = pa.array(ids, batch.schema.field("id").type)
        for name in NAMING:
            if rows[f"hides_{name}"].any():
                hidden = rows.select(pl.when(f"hides_{name}").then(None).otherwise(name)).to_series().to_list()
                columns[name] = pa.array(hidden, batch.schema.field(name).type)
        after = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
        return after.filter(pa.array((~rows["goes"]).to_list(), pa.bool_()))

    return change


def _decided(rows: pl.LazyFrame, deleted: Deleted) -> pl.LazyFrame:
    """Rows with what becomes of them: `goes`, `loses_name` (tombstones), and `hides_…` of columns that name ids."""
    gone = sorted(deleted.gone)
    # A row that was drained since may have brought an id back: a link to it, an event that names it. Such a row stays.
    is_seen = (pl.col("seq") <= pl.col("shard").replace_strict(dict(deleted.seen), default=0)).fill_null(True)
    is_covered = pl.col("deleted_seq").is_not_null() & ~IS_AFTER & (pl.col("kind") != "delete")
    # A link to an id that is gone was given up before, else its own id were deleted as well: it says nothing any more.
    is_past = (pl.col("kind") == "link") & pl.col("name").is_in(gone) & is_seen
    return rows.join(deleted.deletes.lazy(), on="id", how="left", maintain_order="left").with_columns(
        (is_covered | is_past).fill_null(False).alias("goes"),
        ((pl.col("kind") == "delete") & ~pl.col("id").str.starts_with(GONE)).alias("loses_name"),
        (pl.format("user:{}", "user_id").is_in(gone).fill_null(False) & is_seen).alias("hides_user_id"),
        # An alias says the kind of its previous id, or leaves it open.
        (
            pl.any_horizontal(
                pl.format("anon:{}", "anonymous_id").is_in(gone),
                pl.col("anonymous_id").is_in(gone),
                (pl.col("kind") == "alias") & pl.format("user:{}", "anonymous_id").is_in(gone),
            ).fill_null(False)
            & is_seen
        ).alias("hides_anonymous_id"),
    )


# ── traits and memberships ───────────────────────────────────────────────────────────────────────────────────────────


def answers_without(lake: Lake, deletes: pl.DataFrame, shards: int) -> Change:
    """Rows of rebuilds less those of ids with a delete that the rebuild did not cover."""
    runs = lake.runs().select("build", "seqs").unique(subset=["build"]).collect().lazy()
    shard = pl.Series("shard", [shard_of(id, shards) for id in deletes["id"]], pl.Int32)
    deletes = deletes.select("id", "deleted_seq").with_columns(shard)

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = pl.from_arrow(batch.select(["id", "build"])).lazy().with_row_index("row")  # type: ignore[union-attr]
        staying = undeleted(rows, deletes, runs).select(pl.col("row").sort()).collect()
        return batch.take(staying["row"].to_arrow())

    return change


# ── refused events ───────────────────────────────────────────────────────────────────────────────────────────────────


#: Columns of refused events that hold what somebody sent.
SENT = ("event", "reason", "ids", "sent_at", "context")


def rejected_without(names: Names, deleted: Deleted) -> Change:
    """Refused events less those that name somebody who is gone, and less those of before the delete that name somebody
    who came back."""
    came_back_ms = _came_back_ms(deleted)
    back = Names(came_back_ms)

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = pl.concat([pl.Series(batch.column(name).to_pylist(), dtype=pl.String) for name in SENT])
        until_ms = dict.fromkeys(names.among(texts), FOREVER_MS)
        candidates = pl.Series(back.among(texts), dtype=pl.String)
        for id, deleted_ms in came_back_ms.items() if len(candidates) else ():
            for text in Names([id]).among(candidates):
                until_ms[text] = max(until_ms.get(text, 0), deleted_ms)
        rows = zip(*(batch.column(name).to_pylist() for name in ("received_at", *SENT)), strict=True)
        stays = [max(until_ms.get(text, -1) for text in sent) < came_ms for came_ms, *sent in rows]
        return batch.filter(pa.array(stays, pa.bool_()))

    return change


def _came_back_ms(deleted: Deleted) -> Mapping[str, int]:
    """id -> when those who came back were deleted, the last time, in UTC ms."""
    deletes = deleted.deletes.filter(pl.col("id").is_in(sorted(deleted.returned)))
    return dict(deletes.select("id", "deleted_at").iter_rows())
