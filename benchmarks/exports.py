"""What an export of many members takes: the greatest memory of its process, and its time.

python -m benchmarks.exports --members 1000000
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks import NOW
from benchmarks.peak_memory import peak_mb
from expressions.rules.properties import typed
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from lake.schemas import EVENTS
from serving.definitions.catalogue import Catalogue, StoredDefinition, encode
from serving.history import Source
from serving.ids import SHARDS_DEFAULT
from serving.lookups.export_job import ROWS_AT_ONCE, Order, Progress
from serving.lookups.job_process import ALLOCATOR

#: Events of a member. One member in so many came with a device.
EVENTS_EACH, DEVICE_EVERY = 3, 4
MEMBERS_AT_ONCE = 100_000
KEY = "buyers"
#: Columns that `_rows` computes for all kinds of events.
COMPUTED = ("ingest_date", "shard", "seq", "received_at", "original_ts", "props")


class Measured(NamedTuple):
    """What an export took: its process' greatest resident memory in MB, seconds, and what it told of its progress."""

    peak_mb: float
    seconds: float
    progress: list[Progress]


def filled_lake(folder: Path, members: int) -> Lake:
    """A lake of so many members of the segment, with 3 purchases each; every fourth is known by a device too."""
    lake = Lake(str(folder / "lake"))
    chance = np.random.default_rng(0)
    for first in range(0, members, MEMBERS_AT_ONCE):
        users = np.arange(first, min(first + MEMBERS_AT_ONCE, members))
        buyers = np.tile(users, EVENTS_EACH)
        purchases = pl.DataFrame({"user": buyers, "number": np.repeat(np.arange(EVENTS_EACH), len(users))}).select(
            pl.lit("track").alias("kind"),
            pl.format("user:user-{}@example.com", "user").alias("id"),
            pl.lit("purchase").alias("name"),
            pl.format("order-{}-{}", "user", "number").alias("event_id"),
            pl.Series("ts", NOW - chance.integers(0, 300 * DAY_MS, len(buyers))),
            pl.Series("amount", np.round(chance.uniform(1, 500, len(buyers)), 2)),
        )
        links = pl.DataFrame({"user": users[users % DEVICE_EVERY == 0]}).select(
            pl.lit("link").alias("kind"),
            pl.format("anon:0f1e2d3c-{}", "user").alias("id"),
            pl.format("user:user-{}@example.com", "user").alias("name"),
            pl.format("order-{}-0:link", "user").alias("event_id"),
            pl.lit(NOW - 300 * DAY_MS).alias("ts"),
            pl.lit(None, dtype=pl.Float64).alias("amount"),
        )
        lake.append(EVENTS, _rows(pl.concat([purchases, links]), first))
    return lake


def _rows(events: pl.DataFrame, first: int) -> Any:
    """Rows of the table `events`, whose seqs begin after those of the members before the first."""
    amounts = [[] if amount is None else [("amount", typed(amount)._asdict())] for amount in events["amount"]]
    names = EVENTS.columns.names
    empty = [name for name in names if name not in (*events.columns, *COMPUTED)]
    shaped = events.with_columns(
        pl.lit(date(2027, 1, 15)).alias("ingest_date"),
        (pl.col("id").hash() % SHARDS_DEFAULT).cast(pl.Int32).alias("shard"),
        (pl.int_range(pl.len()) + first * EVENTS_EACH * 2 + 1).alias("seq"),
        pl.col("ts").alias("received_at"),
        *[pl.lit(None, dtype=pl.String).alias(name) for name in empty],
        pl.lit(None, dtype=pl.Int64).alias("original_ts"),
    ).select(name for name in names if name != "props")
    table = shaped.to_arrow().append_column("props", pa.array(amounts, EVENTS.columns.field("props").type))
    return table.select(names).cast(EVENTS.columns)


def measure_export(lake: Lake, folder: Path, rows_at_once: int = ROWS_AT_ONCE) -> Measured:
    """Exports the segment of a filled lake, in the process that the API would start."""
    catalogue = Catalogue().with_definition(
        StoredDefinition(kind="segment", key=KEY, expression="events.purchase.count_365d >= 1")
    )
    order = Order(Source(lake.root), encode(catalogue), KEY, NOW, "segment_buyers_2027-01-15.csv", rows_at_once)
    order_file, progress_file = folder / "order.json", folder / "progress.jsonl"
    order_file.write_bytes(msgspec.json.encode(order))
    environment = {**os.environ, **ALLOCATOR}
    started = time.monotonic()
    with order_file.open() as stdin, progress_file.open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.lookups.export_job"], stdin=stdin, stdout=stdout, env=environment, text=True
        )
        peak = peak_mb(process)
    assert process.returncode == 0, "the export failed"
    seconds = time.monotonic() - started
    lines = progress_file.read_bytes().splitlines()
    return Measured(peak, seconds, [msgspec.json.decode(line, type=Progress) for line in lines])


def main() -> None:
    """Fills a lake, exports, and prints what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports")
    parser.add_argument("--members", type=int, default=1_000_000, help="members of the segment")
    parser.add_argument("--rows", type=int, default=ROWS_AT_ONCE, help="rows of the lake in memory at once")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tinycdp-exports-"))
    try:
        lake = filled_lake(folder, arguments.members)
        export = measure_export(lake, folder, arguments.rows)
        size = next((folder / "lake" / "exports").iterdir()).stat().st_size
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    last = export.progress[-1]
    print(f"{last.members:,} members of {last.of // 2:,} rows: ", end="")
    print(f"{export.peak_mb:.0f} MB at the most, {export.seconds:.1f} s, a file of {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
