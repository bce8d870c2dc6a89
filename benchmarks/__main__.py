"""Measures every budget and writes `results.md` and `results.json`. With `--small` or `--only` it writes nothing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import http
from benchmarks.analyses import measure_analyses
from benchmarks.as_of import measure_as_of
from benchmarks.drain import measure_drain
from benchmarks.explain import measure_explain
from benchmarks.memory import measure_memory
from benchmarks.publish import measure_publish
from benchmarks.purchases import filled_lake
from benchmarks.python_client import EVENTS, measure_python_client
from benchmarks.questions import measure_questions
from benchmarks.rebuild import measure_rebuild
from benchmarks.saves import measure_saves
from benchmarks.stack import FilledStack, filled_stack
from benchmarks.streams import measure_streams
from benchmarks.typescript_client import measure_typescript_client, require_build
from cli.redis_server import find_server
from serving.settings import Settings

HERE = Path(__file__).parent
PACKAGES = ("polars", "deltalake", "redis", "fastapi", "uvicorn", "msgspec")
#: By path over HTTP: how it is measured, the least ratio to the floor, and the greatest ratio of p99, None for any.
#: Decisions come first: they are of users with a hundred events each, before more events come.
HTTP = {
    "decide": (http.measure_decide, 0.5, 3.0),
    "ofrep": (http.measure_ofrep, 0.85, None),
    "bulk": (http.measure_bulk, 2.0, None),
    "track": (http.measure_track, 0.4, None),
    "batch": (http.measure_batch, 0.1, None),
}
OVER_HTTP = ("streams", *HTTP, "visible", "flat", "beside", "explain", "client", "typescript")
PARTS = (*OVER_HTTP, "saves", "memory", "drain", "publish", "rebuild", "questions", "analyses", "as_of")


def main() -> None:
    """Runs the parts that are named, prints their rows, and writes them if they are all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--small", action="store_true", help="few users, few events, short runs")
    parser.add_argument("--only", type=_parts, default=PARTS, help=f"some of {', '.join(PARTS)}; commas between them")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a measurement over HTTP takes")
    parser.add_argument("--rounds", type=int, default=5, help="how often ours and the floor are measured in turn")
    arguments = parser.parse_args()
    small, parts = arguments.small, arguments.only
    seconds, rounds = (1.5, 2) if small else (arguments.seconds, arguments.rounds)
    if "typescript" in parts:
        require_build()
    folder = Path(tempfile.mkdtemp(prefix="tinycdp-bench-"))
    rows: dict[str, dict[str, Any]] = {}
    try:
        for name, row in measure_parts(folder, parts, small, seconds, rounds):
            print(name, row, flush=True)
            rows[name] = row
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = {
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
    page = results_page(results)
    print(page)
    if not small and set(parts) == set(PARTS):
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "results.md").write_text(page)


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = ", ".join(sorted(set(parts) - set(PARTS)))
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown}: there are {', '.join(PARTS)}")
    return parts


Rows = Iterator[tuple[str, dict[str, Any]]]


def measure_parts(folder: Path, parts: Collection[str], small: bool, seconds: float, rounds: int) -> Rows:
    """(path, figures) of each row, as soon as it is measured."""
    if set(OVER_HTTP).intersection(parts):
        with filled_stack(Settings(home=folder / "home", port=0), 2_000 if small else 100_000) as stack:
            if "streams" in parts:
                yield "change streams", measure_streams(stack, folder / "home", *((100, 9.0) if small else ()))
            yield from _measure_http(stack, parts, small, seconds, rounds)
    if "saves" in parts:
        home = folder / "saves"
        with filled_stack(Settings(home=home, port=0), 100) as stack:
            yield "saves of definitions by ten clients", measure_saves(stack, home, 4 if small else 20)
    if "memory" in parts:
        for count, row in measure_memory(folder, 0.2 if small else 1.0).items():
            yield f"memory, {count} events", row
    if "drain" in parts:
        yield "drain, the largest events", measure_drain(folder, *((3_000, 4_000) if small else (3_000, 12_000)))
    if "publish" in parts:
        yield "publish", measure_publish(folder, *((40_000, 2_000) if small else (400_000, 20_000)))
    events, users = (200_000, 10_000) if small else (10_000_000, 500_000)
    if "rebuild" in parts:
        yield "rebuild", measure_rebuild(folder, events, users, 2 if small else 3)
    if "questions" in parts:
        for name, row in measure_questions(filled_lake(folder, events, users).root, 2 if small else 3).items():
            yield name, {"events": events, "users": users, **row}
    if "analyses" in parts:
        events, users = (200_000, 10_000) if small else (1_000_000, 50_000)
        for name, row in measure_analyses(filled_lake(folder / "analyses", events, users).root, 1).items():
            yield name, {"events": events, "users": users, **row}
    if "as_of" in parts:
        events, users, labels = (200_000, 10_000, 20_000) if small else (10_000_000, 500_000, 1_000_000)
        yield "training set", {"events": events, "users": users, **measure_as_of(folder, events, users, labels)}


def _measure_http(stack: FilledStack, parts: Collection[str], small: bool, seconds: float, rounds: int) -> Rows:
    if "decide" in parts:
        http.warm_up(stack, seconds)
    for name, (measurement, ratio_min, p99_ratio_max) in HTTP.items():
        for connections in (8, 32):
            if name in parts:
                row = measurement(stack, connections, seconds, rounds)
                yield f"{name}, {connections} connections", judge(row, ratio_min, p99_ratio_max)
    if "visible" in parts:
        yield "ack to visible", http.count_unseen(stack, 200 if small else 2_000)
    if "flat" in parts:
        yield "batch, whatever the history and the definitions", http.measure_flatness(stack, seconds)
    if "beside" in parts:
        row = http.measure_beside_rebuild(stack, 20_000 if small else 1_000_000, seconds, rounds)
        yield "decide while a rebuild runs, 8 connections", row
    if "explain" in parts:
        yield "others beside four dear explanations", measure_explain(stack, seconds, 1 if small else 3)
    if "client" in parts:
        yield from measure_python_client(stack, 2_000 if small else EVENTS, rounds).items()
    if "typescript" in parts:
        yield from measure_typescript_client(stack, 2_000 if small else EVENTS, rounds).items()


def judge(row: dict[str, Any], ratio_min: float, p99_ratio_max: float | None) -> dict[str, Any]:
    """The row with its budget, and whether it is kept."""
    keeps_tail = p99_ratio_max is None or row["p99_ratio"] <= p99_ratio_max
    passed = row["pairs"] > 0 and row["ratio"] >= ratio_min and keeps_tail
    tail = f", p99 <= {p99_ratio_max} x the floor's" if p99_ratio_max else ""
    return {**row, "budget": f"ratio >= {ratio_min}{tail}", "passed": passed}


def results_page(results: dict[str, Any]) -> str:
    """The results as a page of Markdown."""
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
