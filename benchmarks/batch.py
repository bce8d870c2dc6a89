"""A rebuild to traits in the lake, against one hand-written Polars query over the same table; publish against HSET."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import redis

from cli.redis_server import EmbeddedRedis
from expressions.batch.base_frames import base_parts
from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame
from expressions.definitions import Definition
from expressions.plan import plan
from expressions.text.bind import bind
from lake import schemas
from lake.lake import Lake
from lake.schemas import EVENTS, TYPED
from pipelines.publish import RECORDS_AT_ONCE, send
from pipelines.rows import trait_rows
from serving.store.base_codec_columns import encoded
from serving.store.requests import chunks
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Stamp
from serving.store.store import Store

NOW = 1_800_000_000_000
DAY_MS = 86_400_000
TRAITS = {
    "orders_30d": "events.purchase.count_30d",
    "orders": "events.purchase.count",
    "spent_30d": "events.purchase.amount.sum_30d",
    "spent_90d": "events.purchase.amount.sum_90d",
    "average_90d": "events.purchase.amount.avg_90d",
    "biggest": "events.purchase.amount.max",
    "least_30d": "events.purchase.amount.min_30d",
    "views_7d": "events.view.count_7d",
    "viewed_today": "events.view.count_1d >= 1",
    "quiet_days": "last_seen_days_ago",
    "age_days": "first_seen_days_ago",
    "active_days_30d": "unique_days_30d",
}


def generate(lake: Lake, events: int, users: int) -> None:
    """So many purchases and views of so many users over 120 days, one in a thousand of them a repeat."""
    chance = np.random.default_rng(0)
    for start in range(0, events, 1_000_000):
        n = min(1_000_000, events - start)
        numbers = np.arange(start, start + n)
        repeated = chance.random(n) < 0.001
        repeated[0] = False
        # A repeat is the same in all, but for its seq.
        sent = np.where(repeated, np.arange(n) - 1, np.arange(n))
        who = chance.integers(0, users, n)[sent]
        amounts = np.round(chance.random(n) * 100, 2)[sent]
        none = [pa.nulls(n, pa.string()), pa.nulls(n, pa.bool_()), pa.nulls(n, pa.string())]
        items = pa.StructArray.from_arrays([pa.array(amounts), *none], fields=list(TYPED))
        keys = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, "i4")), ["amount"]).cast(pa.string())
        columns: dict[str, Any] = {
            "ingest_date": pa.array(np.full(n, 20_833, "i4")).cast(pa.date32()),
            "shard": pa.array(np.zeros(n, "i4")),
            "seq": pa.array(numbers + 1),
            "event_id": pa.array(np.char.add("e-", (start + sent).astype(str))),
            "kind": pa.array(np.full(n, "track")),
            "id": pa.array(np.char.add("user:customer-", np.char.zfill(who.astype(str), 10))),
            "name": pa.array(np.where(chance.random(n)[sent] < 0.5, "purchase", "view")),
            "ts": pa.array(NOW - chance.integers(0, 120 * DAY_MS, n)[sent]),
            "received_at": pa.array(np.full(n, NOW - 1_000)),
            "props": pa.MapArray.from_arrays(pa.array(np.arange(n + 1, dtype="i4")), keys, items),
        }
        arrays = [columns.get(field.name, pa.nulls(n, field.type)) for field in EVENTS.columns]
        lake.append(EVENTS, pa.Table.from_arrays(arrays, schema=EVENTS.columns))


def filled(folder: Path, events: int, users: int) -> Lake:
    """The lake of a folder, with so many events; whoever comes second finds it as it is."""
    lake = Lake(str(folder / "lake"))
    if not lake.holds_events():
        generate(lake, events, users)
    return lake


def ours(lake: Lake) -> float:
    """Seconds from the table to trait rows in the lake."""
    bounds = list(bind(Definition("trait", key, text) for key, text in TRAITS.items()).values())
    started = time.perf_counter()
    answers = answer_frame(counted(lake.events()).collect().lazy(), bounds, NOW)
    keys = [(bound.definition.kind, bound.definition.key) for bound in bounds]
    lake.write_build(schemas.TRAITS, trait_rows(answers, keys, NOW, 1), is_latest=True)
    return time.perf_counter() - started


def by_hand(lake: Lake) -> float:
    """Seconds of the query that a data engineer would write for these twelve traits, written to a Delta table."""
    started = time.perf_counter()
    amount = pl.col("props").map.get("amount").struct.field("number")
    events = lake.events().select("id", "event_id", "name", "ts", amount.alias("amount"))
    events = events.unique(subset=["id", "event_id"], keep="any")
    purchase, view = pl.col("name") == "purchase", pl.col("name") == "view"

    def within(days: int) -> pl.Expr:
        return (pl.col("ts") > NOW - days * DAY_MS) & (pl.col("ts") <= NOW)

    amount, day = pl.col("amount"), pl.col("ts") // DAY_MS
    cents = (amount * 1_000_000).round().cast(pl.Int64)
    lifted = events.select(
        "id",
        "ts",
        (purchase & within(30)).alias("p30"),
        purchase.alias("p"),
        pl.when(purchase & within(30)).then(cents).alias("s30"),
        pl.when(purchase & within(90)).then(cents).alias("s90"),
        pl.when(purchase).then(amount).alias("max"),
        pl.when(purchase & within(30)).then(amount).alias("min"),
        (view & within(7)).alias("v7"),
        (view & within(1)).alias("v1"),
        pl.when((day > NOW // DAY_MS - 30) & (pl.col("ts") <= NOW)).then(day).alias("day"),
    )
    traits = lifted.group_by("id").agg(
        pl.col("p30").sum().cast(pl.Float64).alias("orders_30d"),
        pl.col("p").sum().cast(pl.Float64).alias("orders"),
        (pl.col("s30").sum() / 1e6).alias("spent_30d"),
        (pl.col("s90").sum() / 1e6).alias("spent_90d"),
        pl.when(pl.col("s90").count() > 0)
        .then(pl.col("s90").sum() / (pl.col("s90").count() * 1e6))
        .alias("average_90d"),
        pl.col("max").max().alias("biggest"),
        pl.col("min").min().alias("least_30d"),
        pl.col("v7").sum().cast(pl.Float64).alias("views_7d"),
        pl.col("v1").any().cast(pl.Float64).alias("viewed_today"),
        ((NOW - pl.col("ts").max()) // DAY_MS).cast(pl.Float64).alias("quiet_days"),
        ((NOW - pl.col("ts").min()) // DAY_MS).cast(pl.Float64).alias("age_days"),
        pl.col("day").drop_nulls().n_unique().cast(pl.Float64).alias("active_days_30d"),
    )
    rows = traits.unpivot(index="id", variable_name="key", value_name="number").filter(pl.col("number").is_not_null())
    rows.collect().write_delta(f"{lake.root}/by_hand", mode="overwrite")
    return time.perf_counter() - started


def rebuilt(folder: Path, events: int, users: int, rounds: int) -> dict[str, Any]:
    """Medians of both, and their ratio (budget: at most 1.5)."""
    lake = filled(folder, events, users)
    mine, hand = [], []
    for _ in range(rounds):
        hand.append(by_hand(lake))
        mine.append(ours(lake))
    ratio = float(np.median(mine) / np.median(hand))
    return {
        "events": events,
        "users": users,
        "ours_s": round(float(np.median(mine)), 2),
        "floor_s": round(float(np.median(hand)), 2),
        "ratio": round(ratio, 2),
        "budget": "ratio <= 1.5",
        "passed": ratio <= 1.5,
    }


def published(folder: Path, events: int, users: int, rounds: int = 5) -> dict[str, Any]:
    """Records a second of the publish script against HSET of the same bytes, pipelined alike, on one server.

    The budget is for the bytes on their way; what making them of events adds is told beside it.
    """
    lake = Lake(str(folder / "published"))
    generate(lake, events, users)
    rows = lake.events().collect().lazy()
    needed = plan(bound.expr for bound in bind(Definition("trait", key, text) for key, text in TRAITS.items()).values())
    with EmbeddedRedis(folder / "publish") as server, Store(server.url) as store:
        client = redis.Redis.from_url(server.url)
        floors, mine, making = [], [], []
        for build in range(1, rounds + 1):
            started = time.perf_counter()
            records = [
                BaseRecord(one, base)
                for part in base_parts(rows, needed, NOW, 3_600_000)
                for one, base in zip(part.ids, encoded(part), strict=True)
            ]
            making.append(time.perf_counter() - started)
            client.flushall()
            started = time.perf_counter()
            for some in chunks(records, RECORDS_AT_ONCE):
                pipeline = client.pipeline(transaction=False)
                for record in some:
                    pipeline.hset(f"floor:{record.id}", mapping={"b": record.base, "s": b"x" * 24})
                pipeline.execute()
            floors.append(time.perf_counter() - started)
            client.flushall()
            stamps = {shard: Stamp(1, build, 0, NOW, 1) for shard in range(store.shards)}
            started = time.perf_counter()
            for some in chunks(records, RECORDS_AT_ONCE):
                send(store, some, stamps)
            mine.append(time.perf_counter() - started)
        client.close()
    ratio = float(np.median([floor / one for floor, one in zip(floors, mine, strict=True)]))
    all_of_it = float(np.median([f / (one + m) for f, one, m in zip(floors, mine, making, strict=True)]))
    return {
        "records": len(records),
        "ours_per_second": round(len(records) / float(np.median(mine))),
        "floor_per_second": round(len(records) / float(np.median(floors))),
        "made_of_events_per_second": round(len(records) / float(np.median(making))),
        "ratio": round(ratio, 2),
        "ratio with making": round(all_of_it, 2),
        "budget": "ratio >= 0.5",
        "passed": ratio >= 0.5,
    }
