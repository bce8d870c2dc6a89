"""Ours against the floor, in turn, so that pairs are dropped between which the machine's speed drifted."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.load import Load

DRIFT_MAX = 0.15


def paired(floor: Callable[[], Load], ours: Callable[[], Load], rounds: int) -> dict[str, Any]:
    """Medians of both, of the ratio of their speeds, and of that of their p99.

    Ours is compared with the mean of the floors before and after it. Where these two differ by more than 15 % the pair
    is dropped. Where all pairs drifted `pairs` is 0, and the figures prove nothing.
    """
    floors = [floor()]
    loads = []
    for _ in range(rounds):
        loads.append(ours())
        floors.append(floor())
    pairs = list(zip(floors, loads, floors[1:], strict=False))
    steady = [
        (before, load, after)
        for before, load, after in pairs
        if abs(before.per_second - after.per_second) <= DRIFT_MAX * max(before.per_second, after.per_second)
    ]
    compared = steady or pairs
    ratios = [2 * load.per_second / (before.per_second + after.per_second) for before, load, after in compared]
    tails = [2 * load.p99_ms / (before.p99_ms + after.p99_ms) for before, load, after in compared]
    return {
        "floor_per_second": round(median(load.per_second for load in floors), 1),
        "ours_per_second": round(median(load.per_second for load in loads), 1),
        "ours_p50_ms": round(median(load.p50_ms for load in loads), 3),
        "ours_p99_ms": round(median(load.p99_ms for load in loads), 3),
        "floor_p99_ms": round(median(load.p99_ms for load in floors), 3),
        "ratio": round(median(ratios), 3),
        "p99_ratio": round(median(tails), 2),
        "pairs": len(steady),
        "dropped": rounds - len(steady),
    }
