"""Ours against the floor, in turn, so that a machine whose speed drifts is seen and not believed."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.load import Load

DRIFT_MAX = 0.15


def paired(floor: Callable[[], Load], ours: Callable[[], Load], rounds: int) -> dict[str, Any]:
    """Medians of both, of their ratio, of p99 over p99; a pair between whose floors the speed drifted is dropped."""
    floors = [floor()]
    mine = []
    for _ in range(rounds):
        mine.append(ours())
        floors.append(floor())
    kept = [
        (before, one, after)
        for before, one, after in zip(floors, mine, floors[1:], strict=False)
        if abs(before.per_second - after.per_second) <= DRIFT_MAX * max(before.per_second, after.per_second)
    ]
    used = kept or list(zip(floors, mine, floors[1:], strict=False))
    ratios = [2 * one.per_second / (before.per_second + after.per_second) for before, one, after in used]
    tails = [2 * one.p99_ms / (before.p99_ms + after.p99_ms) for before, one, after in used]
    return {
        "floor_per_second": round(median(one.per_second for one in floors), 1),
        "ours_per_second": round(median(one.per_second for one in mine), 1),
        "ours_p50_ms": round(median(one.p50_ms for one in mine), 3),
        "ours_p99_ms": round(median(one.p99_ms for one in mine), 3),
        "floor_p99_ms": round(median(one.p99_ms for one in floors), 3),
        "ratio": round(median(ratios), 3),
        "p99_ratio": round(median(tails), 2),
        "pairs": len(kept),  # none: the machine drifted all the time, and the figures prove nothing
        "dropped": rounds - len(kept),
    }
