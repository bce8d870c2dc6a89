"""The analyses of the console, trend, overlap and impact, each beside a Polars query by hand that gives its numbers.

An analysis reads people part by part, so that its memory does not grow with the lake; the query has everybody in memory
at once. Each runs in a process of its own. Other work on the machine stretches the time but hardly the seconds of the
processor, so these are compared.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import polars as pl

from benchmarks import NOW
from benchmarks.peak_memory import peak_mb
from expressions.batch.over_time import TREND_DAYS
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from serving.definitions.catalogue import Catalogue, StoredDefinition, encode
from serving.history import Source
from serving.lookups.analyses import ANALYSES, AnalysisKind, Order, Progress
from serving.lookups.job_process import ALLOCATOR

ROOT = Path(__file__).parents[1]
#: The greatest ratio to the query by hand, in seconds of the processor; and the memory of the process of an analysis.
RATIO_MAX = 3.0
PEAK_MB_MAX = 600

EDITED, BEFORE, AFTER = "loyal", "events.purchase.count_30d >= 3", "events.purchase.count_30d >= 2"
OTHERS = {"big": "events.purchase.amount.sum_90d >= 300", "quiet": "last_seen_days_ago > 7"}
#: The flag that the edit reaches.
FLAG = "offer"


def order_of(root: str, analysis: AnalysisKind) -> Order:
    """The analysis of the segment, or of its edit, over the whole lake."""
    source = Source(root)
    before, after = (_catalogue(rule) for rule in (BEFORE, AFTER))
    version = source.history().events_version()
    expression = AFTER if analysis == "impact" else BEFORE
    edited = encode(after) if analysis == "impact" else None
    return Order(analysis, source, version, encode(before), "segment", EDITED, expression, NOW, edited)


def _catalogue(rule: str) -> Catalogue:
    catalogue = Catalogue()
    for key, text in {EDITED: rule, **OTHERS}.items():
        catalogue = catalogue.with_definition(StoredDefinition(kind="segment", key=key, expression=text))
    flag = StoredDefinition(kind="flag", key=FLAG, expression=f'segment("{EDITED}") && !segment("quiet")')
    return catalogue.with_definition(flag)


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def trend_by_hand(events: pl.LazyFrame) -> dict[str, Any]:
    """`members` at the end of each day, and now; `total`."""
    rows = events.collect()
    purchases = rows.filter(pl.col("name") == "purchase").select("id", "ts").sort("ts").lazy()
    today = NOW // DAY_MS
    ends = [(day + 1) * DAY_MS - 1 for day in range(today - TREND_DAYS + 1, today)]
    counts = [
        purchases.filter((pl.col("ts") > at - 30 * DAY_MS) & (pl.col("ts") <= at)).group_by("id").len()
        for at in [*ends, NOW]
    ]
    members = [frame.height for frame in pl.collect_all([count.filter(pl.col("len") >= 3) for count in counts])]
    return {"members": members, "total": rows["id"].n_unique()}


def _people(events: pl.LazyFrame) -> pl.LazyFrame:
    is_purchase = pl.col("name") == "purchase"
    millionths = (pl.col("amount") * 1_000_000).round().cast(pl.Int64)
    return (
        events.group_by("id")
        .agg(
            (is_purchase & (pl.col("ts") > NOW - 30 * DAY_MS)).sum().alias("orders"),
            millionths.filter(is_purchase & (pl.col("ts") > NOW - 90 * DAY_MS)).sum().alias("spent"),
            ((NOW - pl.col("ts").max()) // DAY_MS > 7).alias("quiet"),
        )
        .with_columns((pl.col("spent") >= 300_000_000).alias("big"))
    )


def overlap_by_hand(events: pl.LazyFrame) -> dict[str, Any]:
    """`members`, `total`, and for each other segment its members and those in both."""
    people = _people(events).with_columns((pl.col("orders") >= 3).alias(EDITED)).collect()
    both = {key: int((people[EDITED] & people[key]).sum()) for key in OTHERS}
    return {
        "members": int(people[EDITED].sum()),
        "total": len(people),
        "segments": {key: [int(people[key].sum()), both[key]] for key in OTHERS},
    }


def impact_by_hand(events: pl.LazyFrame) -> dict[str, Any]:
    """For the segment and for the flag how many people were and are in, and how many enter."""
    people = _people(events).select("orders", "quiet").collect()
    had, has = people["orders"] >= 3, people["orders"] >= 2
    counts = {}
    for key, before, after in ((EDITED, had, has), (FLAG, had & ~people["quiet"], has & ~people["quiet"])):
        counts[key] = [int(before.sum()), int(after.sum()), int((after & ~before).sum())]
    return {"total": len(people), "counts": counts}


def people_by_hand(events: pl.LazyFrame) -> dict[str, Any]:
    """How many people are in the segment, of how many."""
    people = _people(events).select("orders").collect()
    return {"members": int((people["orders"] >= 3).sum()), "total": len(people)}


BY_HAND: dict[AnalysisKind, Callable[[pl.LazyFrame], dict[str, Any]]] = {
    "trend": trend_by_hand,
    "overlap": overlap_by_hand,
    "impact": impact_by_hand,
    "people": people_by_hand,
}


def by_hand(root: str, analysis: AnalysisKind) -> dict[str, Any]:
    """The numbers of an analysis by a query that a data engineer would write."""
    amount = pl.col("props").map.get("amount").struct.field("number").alias("amount")
    fields = [] if analysis == "trend" else [amount]
    events = Lake(root).events().select("id", "event_id", "name", "ts", *fields)
    return BY_HAND[analysis](events.unique(subset=["id", "event_id"], keep="any"))


def numbers_of(analysis: AnalysisKind, result: dict[str, Any]) -> dict[str, Any]:
    """The numbers of an analysis' result, in the shape of `by_hand`."""
    if analysis == "trend":
        return {"members": [point["members"] for point in result["points"]], "total": result["total"]}
    if analysis == "overlap":
        segments = {segment["key"]: [segment["members"], segment["both"]] for segment in result["segments"]}
        return {"members": result["members"], "total": result["total"], "segments": segments}
    if analysis == "people":
        return {"members": result["count"], "total": result["total"]}
    counts = {
        change["key"]: [change["before"], change["after"], change["enters"]["count"]]
        for change in result["definitions"]
    }
    return {"total": result["total"], "counts": counts}


# ── measured ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_analyses(root: str, rounds: int) -> dict[str, dict[str, Any]]:
    """A row for each analysis: medians of the seconds of the processor of both, their ratio, and the memory in MB."""
    return {f"analysis, {analysis}": _measure(root, analysis, rounds) for analysis in ANALYSES}


def _measure(root: str, analysis: AnalysisKind, rounds: int) -> dict[str, Any]:
    ours_s, floors_s, peaks, floor_peaks = [], [], [], []
    for _ in range(rounds):
        floor_s, floor_peak, floor = run_alone([sys.executable, "-m", "benchmarks.analyses", root, analysis])
        order = msgspec.json.encode(order_of(root, analysis))
        cpu_s, peak, lines = run_alone([sys.executable, "-m", "serving.lookups.analyses"], order)
        last = msgspec.json.decode(lines.splitlines()[-1], type=Progress)
        assert last.result is not None and numbers_of(analysis, last.result) == msgspec.json.decode(floor)
        ours_s.append(cpu_s)
        floors_s.append(floor_s)
        peaks.append(peak)
        floor_peaks.append(floor_peak)
    ratio, most = median(ours_s) / median(floors_s), max(peaks)
    return {
        "ours_cpu_s": round(median(ours_s), 1),
        "floor_cpu_s": round(median(floors_s), 1),
        "ratio": round(ratio, 2),
        "peak_mb": round(most),
        "floor_peak_mb": round(max(floor_peaks)),
        "budget": f"ratio <= {RATIO_MAX:g}, memory <= {PEAK_MB_MAX} MB",
        "passed": ratio <= RATIO_MAX and most <= PEAK_MB_MAX,
    }


def run_alone(command: list[str], order: bytes = b"") -> tuple[float, float, bytes]:
    """Seconds of the processor that a process took, its greatest memory in MB, and what it wrote."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        stdin.write(order)
        stdin.seek(0)
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            env={**os.environ, **ALLOCATOR},
            cwd=Path(__file__).parents[1],
            text=True,
        )
        peak = peak_mb(process)
        assert process.returncode == 0, f"{command} failed"
        stdout.seek(0)
        output = stdout.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak, output


def main() -> None:
    """Prints the numbers of one analysis by hand, as JSON."""
    root, analysis = sys.argv[1:]
    assert analysis in BY_HAND
    print(msgspec.json.encode(by_hand(root, analysis)).decode())


if __name__ == "__main__":
    main()
