"""Measures every budget and writes `results.md` and `results.json`. `--small` and `--only` write nothing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import asking, batch, http, memory
from cli.redis_server import find_server
from serving.settings import Settings

HERE = Path(__file__).parent
PACKAGES = ("polars", "deltalake", "redis", "fastapi", "uvicorn", "msgspec")


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--small", action="store_true", help="few users, few events, short runs")
    parser.add_argument(
        "--only", help="decide, bulk, track, batch, beside, rebuild, asking, publish or memory", default=""
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a measurement over HTTP takes")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of ours and the floor")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tinycdp-bench-"))
    try:
        results = measured(folder, asked.small, asked.only, asked.seconds, asked.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = shown(results)
    print(text)
    if not (asked.small or asked.only):
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "results.md").write_text(text)


def measured(folder: Path, small: bool, only: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Every figure, by path."""
    rows: dict[str, Any] = {}
    seconds, rounds = (1.5, 2) if small else (seconds, rounds)
    if only in ("", "beside", *BUDGETS):
        settings = Settings(home=folder / "home", port=0)
        with http.running(settings, 2_000 if small else 100_000) as stack:
            stack.define()
            stack.fill(100)
            for name in BUDGETS:  # decisions first: they are of users with a hundred events, before more come
                for connections in (8, 32):
                    if only in ("", name):
                        row = getattr(stack, name)(connections, seconds, rounds)
                        rows[f"{name}, {connections} connections"] = judged(name, row)
                        print(name, connections, row, flush=True)
            if not only:
                rows["ack to visible"] = stack.visible(200 if small else 2_000)
                rows["batch, whatever the history and the definitions"] = stack.flat(seconds)
                print(rows["ack to visible"], rows["batch, whatever the history and the definitions"], flush=True)
            if only in ("", "beside"):
                row = stack.beside_rebuild(20_000 if small else 1_000_000, seconds, rounds)
                rows["decide while a rebuild runs, 8 connections"] = row
                print("decide while a rebuild runs", row, flush=True)
    if only in ("", "memory"):
        for events, row in memory.measured(folder, 0.2 if small else 1.0).items():
            rows[f"memory, {events} events"] = row
            print("memory", events, row, flush=True)
    if only in ("", "publish"):
        events, users = (40_000, 2_000) if small else (400_000, 20_000)
        rows["publish"] = batch.published(folder, events, users)
        print("publish", rows["publish"], flush=True)
    events, users = (200_000, 10_000) if small else (10_000_000, 500_000)
    if only in ("", "rebuild"):
        rows["rebuild"] = batch.rebuilt(folder, events, users, 2 if small else 3)
        print("rebuild", rows["rebuild"], flush=True)
    if only in ("", "asking"):
        for name, row in asking.measured(batch.filled(folder, events, users).root, 2 if small else 3).items():
            rows[name] = {"events": events, "users": users, **row}
            print(name, rows[name], flush=True)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "small": small,
        "seconds": seconds,
        "rounds": rounds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "redis": ".".join(map(str, find_server().version)),
        "packages": {name: version(name) for name in PACKAGES},
        "rows": rows,
    }


BUDGETS = {"decide": (0.5, 3.0), "bulk": (2.0, None), "track": (0.4, None), "batch": (0.1, None)}


def judged(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row with its budget and whether it is kept."""
    least, tail = BUDGETS[name]
    passed = row["pairs"] > 0 and row["ratio"] >= least and (tail is None or row["p99_ratio"] <= tail)
    budget = f"ratio >= {least}" + (f", p99 <= {tail} x the floor's" if tail else "")
    return {**row, "budget": budget, "passed": passed}


def shown(results: dict[str, Any]) -> str:
    """The results as a page."""
    lines = [
        "# Speed, each path against its floor in the same run",
        "",
        f"{results['at']}, {results['machine']}, Python {results['python']}, Redis {results['redis']}, "
        + ", ".join(f"{name} {number}" for name, number in results["packages"].items())
        + f"; {results['rounds']} rounds of {results['seconds']:g} s"
        + (". **Small run: it proves little.**" if results["small"] else "."),
        "",
        "| path | figures | kept |",
        "|---|---|---|",
    ]
    for name, row in results["rows"].items():
        figures = ", ".join(f"{key} {value}" for key, value in row.items() if key != "passed")
        lines.append(f"| {name} | {figures} | {'yes' if row['passed'] else '**no**'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
