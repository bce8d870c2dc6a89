"""A training set from the lake: traits at each label's own instant, beside three other ways to get them.

`ours`     `tinycdp.lake(…).asof`, people part by part
`floor`    one query by hand that joins all labels with all their events, in memory; it gives the same numbers
`an_hour`  a run for each instant: everybody's traits at one instant, times the instants that labels have by the hour
`stored`   what a feature store joins: the rows of each person as they were at the last event before the label. A window
           that ended since, without an event, makes them wrong. Feast 0.67.0 gives the same values, of a view over
           Parquet files without a time to live; it leaves labels out that have no row before them, which are null here

Each runs in a process of its own. Seconds of the processor are compared, since other work stretches the clock's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import tinycdp

from benchmarks import NOW
from benchmarks.analyses import run_alone
from benchmarks.purchases import filled_lake
from expressions.rules.windows import DAY_MS, HOUR_MS
from lake.lake import Lake

TRAITS = {
    "orders_30d": "events.purchase.count_30d",
    "spent_90d": "events.purchase.amount.sum_90d",
    "biggest": "events.purchase.amount.max",
    "quiet_days": "last_seen_days_ago",
}
#: The greatest amount may be a text: the number is meant.
KINDS = {"biggest": "number"}
#: The days before `NOW` in which labels are.
DAYS = 90
#: The greatest ratio to the floor, in seconds of the processor; and the memory of the process.
RATIO_MAX, PEAK_MB_MAX = 5.0, 1_500
#: One person of so many is looked at in stored rows.
STORED_EACH = 50


def labels_of(count: int, users: int) -> pl.DataFrame:
    """id, ts: people and instants by chance."""
    chance = np.random.default_rng(1)
    numbers = np.char.zfill(chance.integers(0, users, count).astype(str), 10)
    return pl.DataFrame(
        {"id": np.char.add("user:customer-", numbers), "ts": NOW - chance.integers(0, DAYS * DAY_MS, count)}
    )


def ours(root: str, count: int, users: int) -> dict[str, Any]:
    """Sums over all labels by trait."""
    answers = tinycdp.lake(root).asof(labels_of(count, users), extra=TRAITS, kinds=KINDS, unknown="tell")
    return _sums(answers.frame)


def floor(root: str, count: int, users: int) -> dict[str, Any]:
    """The same by a query that a data engineer would write for these four."""
    labels = labels_of(count, users).with_row_index("row")
    amount = pl.col("props").map.get("amount").struct.field("number").alias("amount")
    events = Lake(root).events().select("id", "event_id", "name", pl.col("ts").alias("at"), amount)
    known = labels.lazy().join(events.unique(subset=["id", "event_id"], keep="any"), on="id")
    age = pl.col("ts") - pl.col("at")
    is_purchase, cents = pl.col("name") == "purchase", (pl.col("amount") * 1_000_000).round().cast(pl.Int64)
    by_row = (
        known.filter(age >= 0)
        .group_by("row")
        .agg(
            (is_purchase & (age < 30 * DAY_MS)).sum().cast(pl.Float64).alias("orders_30d"),
            (cents.filter(is_purchase & (age < 90 * DAY_MS)).sum() / 1e6).alias("spent_90d"),
            pl.col("amount").filter(is_purchase).max().alias("biggest"),
            (age.min() // DAY_MS).cast(pl.Float64).alias("quiet_days"),
        )
    )
    answers = labels.lazy().join(by_row, on="row", how="left").collect()
    return _sums(answers.with_columns(pl.col("orders_30d", "spent_90d").fill_null(0.0)))


def an_hour(root: str, count: int, users: int) -> dict[str, Any]:
    """How many people one run answers for; the runs are one for each hour that has a label."""
    answers = tinycdp.lake(root).traits(extra=TRAITS, kinds=KINDS, at=NOW - 45 * DAY_MS)
    return {"people": len(answers), "runs": (labels_of(count, users)["ts"] // HOUR_MS).n_unique()}


def stored(root: str, count: int, users: int) -> dict[str, Any]:
    """Of the labels of some people: how many, and how many are wrong by trait where stored rows are joined."""
    cdp = tinycdp.lake(root)
    is_chosen = pl.col("id").str.slice(-6).cast(pl.Int64) % STORED_EACH == 0
    labels = labels_of(count, users).filter(is_chosen)
    events = cdp.events.filter(is_chosen).select("id", pl.col("ts").cast(pl.Int64)).collect().unique()
    rows = cdp.asof(events, extra=TRAITS, kinds=KINDS).frame.sort("ts")
    joined = labels.sort("ts").join_asof(rows, on="ts", by="id", strategy="backward", check_sortedness=False)
    exact = cdp.asof(joined.select("id", "ts"), extra=TRAITS, kinds=KINDS).frame
    filled = joined.with_columns(pl.col("orders_30d", "spent_90d").fill_null(0.0))
    wrong = {name: int((~filled[name].eq_missing(exact[name])).sum()) for name in TRAITS}
    return {"labels": len(labels), **wrong}


def _sums(answers: pl.DataFrame) -> dict[str, Any]:
    return {name: round(answers[name].sum(), 2) for name in TRAITS} | {"rows": len(answers)}


WAYS = {"ours": ours, "floor": floor, "an_hour": an_hour, "stored": stored}


def measure_as_of(folder: Path, events: int, users: int, labels: int) -> dict[str, Any]:
    """The row: seconds of the processor and memory of ours and the floor, what a run an hour takes, and wrong rows."""
    root = filled_lake(folder, events, users).root
    figures = {}
    for way in WAYS:
        cpu_s, peak_mb, text = run_alone([sys.executable, "-m", "benchmarks.as_of", root, way, str(labels), str(users)])
        figures[way] = cpu_s, peak_mb, msgspec.json.decode(text)
    (ours_s, peak, sums), (floor_s, floor_peak, floor_sums) = figures["ours"], figures["floor"]
    assert sums == floor_sums, f"{sums} is not {floor_sums}"
    one_run_s, _, runs = figures["an_hour"]
    wrong = figures["stored"][2]
    ratio = ours_s / floor_s
    return {
        "labels": labels,
        "ours_cpu_s": round(ours_s, 1),
        "floor_cpu_s": round(floor_s, 1),
        "ratio": round(ratio, 2),
        "peak_mb": round(peak),
        "floor_peak_mb": round(floor_peak),
        "a_run_an_hour_cpu_s": round(one_run_s * runs["runs"]),
        "stored_rows_wrong": {name: f"{100 * wrong[name] / wrong['labels']:.1f} %" for name in TRAITS},
        "budget": f"ratio <= {RATIO_MAX:g}, memory <= {PEAK_MB_MAX} MB",
        "passed": ratio <= RATIO_MAX and peak <= PEAK_MB_MAX,
    }


def main() -> None:
    """Prints what one way finds, as JSON."""
    root, way, labels, users = sys.argv[1:]
    print(msgspec.json.encode(WAYS[way](root, int(labels), int(users))).decode())


if __name__ == "__main__":
    main()
