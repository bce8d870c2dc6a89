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

from benchmarks.peaks import peak_mb
from expressions.rules.properties import typed
from lake.lake import Lake
from lake.schemas import EVENTS
from serving.definitions.catalogue import Catalogue, StoredDefinition, encode
from serving.ids import SHARDS_DEFAULT
from serving.lookups.export_job import ALLOCATOR, ROWS_AT_ONCE, Order, Progress

#: Events of a member, and every how many members one came with a device.
EVENTS_EACH, DEVICE_EVERY = 3, 4
MEMBERS_AT_ONCE = 100_000
NOW = 1_800_000_000_000
DAY_MS = 86_400_000
KEY = "buyers"


class Measured(NamedTuple):
    """What an export took: of its process the greatest resident memory in MB, seconds, and what it said of itself."""

    peak_mb: float
    seconds: float
    said: list[Progress]


def filled(folder: Path, members: int) -> Lake:
    """A lake of so many members of the segment, with 3 purchases each; every fourth is known by a device too."""
    lake = Lake(str(folder / "lake"))
    chance = np.random.default_rng(0)
    for first in range(0, members, MEMBERS_AT_ONCE):
        users = np.arange(first, min(first + MEMBERS_AT_ONCE, members))
        bought = np.tile(users, EVENTS_EACH)
        purchases = pl.DataFrame({"user": bought, "number": np.repeat(np.arange(EVENTS_EACH), len(users))}).select(
            pl.lit("track").alias("kind"),
            pl.format("user:user-{}@example.com", "user").alias("id"),
            pl.lit("purchase").alias("name"),
            pl.format("order-{}-{}", "user", "number").alias("event_id"),
            pl.Series("ts", NOW - chance.integers(0, 300 * DAY_MS, len(bought))),
            pl.Series("amount", np.round(chance.uniform(1, 500, len(bought)), 2)),
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


def measured(lake: Lake, folder: Path, rows_at_once: int = ROWS_AT_ONCE) -> Measured:
    """Exports the segment of a filled lake, in the process that the API would start."""
    catalogue = Catalogue().with_definition(
        StoredDefinition(kind="segment", key=KEY, expression="events.purchase.count_365d >= 1")
    )
    order = Order(lake.root, encode(catalogue), KEY, NOW, "segment_buyers_2027-01-15.csv", rows_at_once)
    asked = folder / "order.json"
    asked.write_bytes(msgspec.json.encode(order))
    said = folder / "said"
    environment = {**os.environ, **ALLOCATOR}
    started = time.monotonic()
    with asked.open() as stdin, said.open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.lookups.export_job"], stdin=stdin, stdout=stdout, env=environment, text=True
        )
        peak = peak_mb(process)
    assert process.returncode == 0, "the export failed"
    seconds = time.monotonic() - started
    lines = [msgspec.json.decode(line, type=Progress) for line in said.read_bytes().splitlines()]
    return Measured(peak, seconds, lines)


def _rows(events: pl.DataFrame, first: int) -> Any:
    amounts = [[] if one is None else [("amount", typed(one)._asdict())] for one in events["amount"]]
    names = EVENTS.columns.names
    shaped = events.with_columns(
        pl.lit(date(2027, 1, 15)).alias("ingest_date"),
        (pl.col("id").hash() % SHARDS_DEFAULT).cast(pl.Int32).alias("shard"),
        (pl.int_range(pl.len()) + first * EVENTS_EACH * 2 + 1).alias("seq"),
        pl.col("ts").alias("received_at"),
        *[pl.lit(None, dtype=pl.String).alias(one) for one in names if one not in (*events.columns, *_MADE)],
        pl.lit(None, dtype=pl.Int64).alias("original_ts"),
    ).select(one for one in names if one != "props")

    table = shaped.to_arrow().append_column("props", pa.array(amounts, EVENTS.columns.field("props").type))
    return table.select(names).cast(EVENTS.columns)


_MADE = ("ingest_date", "shard", "seq", "received_at", "original_ts", "props")


def main() -> None:
    """Fills a lake, exports, and says what that took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports")
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=ROWS_AT_ONCE, help="rows of the lake in memory at once")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tinycdp-exports-"))
    try:
        lake = filled(folder, asked.members)
        found = measured(lake, folder, asked.rows)
        size = next((folder / "lake" / "exports").iterdir()).stat().st_size
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    last = found.said[-1]
    print(f"{last.members:,} members of {last.of // 2:,} rows: ", end="")
    print(f"{found.peak_mb:.0f} MB at the most, {found.seconds:.1f} s, a file of {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
