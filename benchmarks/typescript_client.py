"""The TypeScript client beside published ones: what a page loads for each, and what an event costs in Node.

The other clients are those of `node_clients/package-lock.json`, installed once; ours is what `make sdk` builds. All are
bundled and minified by one tool for the sizes. In Node each measurement has a process of its own, and the clients take
turns; both send to the same stack, which counts what arrived. Their options are their own, but for ours' queue, which
has to hold all events.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.stack import FilledStack

CLIENTS = Path(__file__).parent / "node_clients"
BUILT = Path(__file__).parents[1] / "sdk" / "typescript" / "dist"
#: Bytes that a page may load. In Node an event must cost no more than with Segment's client, and come no slower.
BYTES_MAX = 8_000


def measure_typescript_client(stack: FilledStack, events: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Figures by name of row: bytes after gzip, and of tracking as fast as can be to the stack."""
    _install()
    sizes = _printed("size.mjs")
    size_row = {f"{name}_bytes": size for name, size in sizes.items()}

    def arrived() -> int:
        return sum(state.seq for state in stack.store.shard_states())

    found: dict[str, list[dict[str, float]]] = {"tinycdp": [], "segment": []}
    for _ in range(rounds):
        for name, figures in found.items():
            before = arrived()
            said = _printed("track.mjs", name, stack.url, stack.keys["write"], str(events))
            seconds = said.pop("seconds")
            figures.append({**said, "arrived_per_second": (arrived() - before) / seconds})
    medians = {
        f"{name}_{what}": round(statistics.median(one[what] for one in figures), 1)
        for name, figures in found.items()
        for what in figures[0]
    }
    ratio = medians["tinycdp_arrived_per_second"] / medians["segment_arrived_per_second"]
    return {
        "typescript client, what a page loads": {
            **size_row,
            "budget": f"tinycdp <= {BYTES_MAX}",
            "passed": sizes["tinycdp"] <= BYTES_MAX,
        },
        "typescript client in Node, events that arrived at a stack": {
            **medians,
            "ratio": round(ratio, 2),
            "events": events,
            "rounds": rounds,
            "budget": "ratio >= 1, track <= segment's",
            "passed": ratio >= 1 and medians["tinycdp_track_us"] <= medians["segment_track_us"],
        },
    }


def require_build() -> None:
    """Raises where the client is not built."""
    if not (BUILT / "browser.js").exists():
        raise RuntimeError("the TypeScript client is not built; run make sdk")


def _install() -> None:
    if not (CLIENTS / "node_modules").exists():
        npm = shutil.which("npm") or "npm"
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=CLIENTS, check=True, capture_output=True, timeout=300)


def _printed(script: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [shutil.which("node") or "node", script, *arguments], cwd=CLIENTS, capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script} {' '.join(arguments[:1])}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
