"""Rows that were received while Redis' clock was ahead get the times that they should have had.

    the lake's rows with a receipt that cannot be believed  →  one span, by which all of them go back  →  Redis' records
                                                            →  the lake's rows, day by day  →  a rebuild of everybody

The span is such that the last of these rows comes a millisecond before the first row after them in any log, or before
now. So they keep their order and what lies between them, and come after no later row. An event keeps its client's time
where that was not in the future. The rows stay in the partition that they are in, which retention and purges count as
closed until its day comes (`open_days`).

Nobody else may write meanwhile, as in `pipelines.purge.purge_now`; events are taken all the while, and wait in the log.
The table's log notes the span before anything moves. A run that was cut off is gone on with by the next one: rows and
records that have moved stay, the others go back by the same span, so that their order is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from deltalake import Transaction

from expressions.rules.deletes import ACT_KINDS
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.drain import Drain
from pipelines.leases import leases
from pipelines.purge.purge_now import PATIENCE_S, drain_all
from pipelines.rebuild import rebuild
from serving.settings import Settings
from serving.store.layout import LEAD_MS_MAX
from serving.store.scripts.lease import WRITERS
from serving.store.store import Store

#: The name under which a transaction of `events` says by how many milliseconds a run that has not ended moves rows; 0
#: where none is under way.
SPAN = "restamp/span_ms"


@dataclass(frozen=True)
class Restamped:
    """How many rows and records went back by how many milliseconds; all 0 where there was nothing to put right."""

    rows: int = 0
    records: int = 0
    span_ms: int = 0


def restamp(store: Store, lake: Lake, settings: Settings, patience_s: float = PATIENCE_S) -> Restamped:
    """Puts the times right; returns what it did. Raises as `purge_now` does."""
    with leases(store, [WRITERS, "drain", "rebuild"], patience_s) as lease:
        drain_all(store, Drain(store, lake, settings), patience_s)
        lease.require()
        now_ms = store.now_ms()
        believed_until_ms = now_ms + LEAD_MS_MAX
        rows = _wrong(lake, believed_until_ms)
        noted_ms = lake.open(EVENTS).transaction_version(SPAN) or 0
        if rows.is_empty() and not noted_ms:
            store.forget_ahead()
            return Restamped()
        span_ms = noted_ms or _span_ms(lake, rows, now_ms, believed_until_ms)
        if not noted_ms:
            lake.append(EVENTS, EVENTS.columns.empty_table(), [Transaction(SPAN, span_ms)])
        records = store.restamp(sorted(set(rows["id"])), believed_until_ms, span_ms)
        for day in sorted(set(rows["ingest_date"])):
            lease.require()
            lake.rewrite(EVENTS, {"ingest_date": day.isoformat()}, _Change(believed_until_ms, span_ms))
        lease.require()
        rebuild(store, lake, settings)
        store.forget_ahead()
        lake.append(EVENTS, EVENTS.columns.empty_table(), [Transaction(SPAN, 0)])
    return Restamped(len(rows), records, span_ms)


def _wrong(lake: Lake, believed_until_ms: int) -> pl.DataFrame:
    is_wrong = (pl.col("received_at") > believed_until_ms) | (pl.col("ts") > believed_until_ms)
    columns = ("ingest_date", "shard", "seq", "id", "ts", "received_at")
    return lake.scan(EVENTS).filter(is_wrong).select(*columns).collect()


def _span_ms(lake: Lake, rows: pl.DataFrame, now_ms: int, believed_until_ms: int) -> int:
    """The span by which these rows come right before what came after them."""
    latest_ms = max(rows["received_at"].max(), rows["ts"].max())  # type: ignore[type-var]
    return int(latest_ms) - (_next_receipt_ms(lake, rows, now_ms, believed_until_ms) - 1)  # type: ignore[arg-type]


def _next_receipt_ms(lake: Lake, rows: pl.DataFrame, now_ms: int, believed_until_ms: int) -> int:
    """The first receipt after these rows in any of their logs; now where nothing came after them."""
    received = rows.filter(pl.col("received_at") > believed_until_ms)
    last = received.group_by("shard").agg(pl.col("seq").max().alias("last_seq")).drop_nulls().lazy()
    later = (
        lake.scan(EVENTS)
        .select("shard", "seq", "received_at")
        .join(last, on="shard")
        .filter((pl.col("seq") > pl.col("last_seq")) & (pl.col("received_at") <= believed_until_ms))
    )
    first_ms = later.select(pl.col("received_at").min()).collect().item()
    return now_ms if first_ms is None else min(now_ms, int(first_ms))


@dataclass(frozen=True)
class _Change:
    """What becomes of a batch of rows."""

    believed_until_ms: int
    span_ms: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = ("kind", "ts", "original_ts", "received_at")
        frame = pl.from_arrow(batch.select(list(names)))
        assert isinstance(frame, pl.DataFrame)
        received = self._earlier("received_at")
        # An act's time is its claim's: it keeps its place among the other acts. An event is not later than its receipt.
        of_event = pl.min_horizontal(pl.coalesce("original_ts", received), received)
        is_event = (pl.col("ts") > self.believed_until_ms) & ~pl.col("kind").is_in(ACT_KINDS)
        ts = pl.when(is_event).then(of_event).otherwise(self._earlier("ts"))
        right = frame.select(ts.alias("ts"), received.alias("received_at"))
        for name in right.columns:
            at = batch.schema.get_field_index(name)
            values = pa.array(right[name].to_list(), batch.schema.field(at).type)
            batch = batch.set_column(at, batch.schema.field(at), values)
        return batch

    def _earlier(self, name: str) -> pl.Expr:
        column = pl.col(name)
        return pl.when(column > self.believed_until_ms).then(column - self.span_ms).otherwise(column)
