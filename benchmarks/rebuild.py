"""A rebuild to traits in the lake, against one Polars query written by hand over the same table."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from benchmarks import NOW
from benchmarks.purchases import TRAITS, filled_lake
from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame
from expressions.definitions import Definition
from expressions.rules.windows import DAY_MS
from expressions.text.bind import bind
from lake import schemas
from lake.lake import Lake
from pipelines.rows import trait_rows


def ours(lake: Lake) -> float:
    """Seconds from the table to trait rows in the lake."""
    bounds = list(bind(Definition("trait", key, text) for key, text in TRAITS.items()).values())
    started = time.perf_counter()
    answers = answer_frame(counted(lake.events()).collect().lazy(), bounds, NOW)
    keys = [(bound.definition.kind, bound.definition.key) for bound in bounds]
    lake.replace_latest(schemas.TRAITS, lake.events_version(), 1, lambda: trait_rows(answers, keys, NOW, 1), None)
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


def measure_rebuild(folder: Path, events: int, users: int, rounds: int) -> dict[str, Any]:
    """Medians of both in seconds, and their ratio (budget: at most 1.5)."""
    lake = filled_lake(folder, events, users)
    ours_s, floors_s = [], []
    for _ in range(rounds):
        floors_s.append(by_hand(lake))
        ours_s.append(ours(lake))
    ratio = median(ours_s) / median(floors_s)
    return {
        "events": events,
        "users": users,
        "ours_s": round(median(ours_s), 2),
        "floor_s": round(median(floors_s), 2),
        "ratio": round(ratio, 2),
        "budget": "ratio <= 1.5",
        "passed": ratio <= 1.5,
    }
