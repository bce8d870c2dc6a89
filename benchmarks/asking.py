"""What people at the console wait for: an expression tried on everybody, and the search, each over the whole lake.

Each question is asked in a process of its own, as the API has one for it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec

from benchmarks.batch import NOW
from benchmarks.peaks import peak_mb
from expressions.definitions import DefinitionKind
from serving.definitions.catalogue import Catalogue, encode
from serving.lookups.people import search
from serving.lookups.unsaved_expressions import preview

SECONDS_MAX = 5.0
USERS_SHOWN = 50

#: What is tried: an expression of one event, of a property over most of the history, of all events, of nobody's events.
TRIED: dict[str, tuple[DefinitionKind, str]] = {
    "of one event": ("segment", "events.purchase.count_30d >= 3"),
    "of a property": ("trait", "events.purchase.amount.sum_90d"),
    "of all events": ("segment", "last_seen_days_ago > 30"),
    "of an attribute": ("segment", 'profile.plan == "pro"'),
}
#: What is searched for: anybody, a few, a fifth of all.
SOUGHT = {"without a text": "", "with a text": "00012345", "with a beginning": "user:customer-00001"}


def measured(root: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Of both kinds of question the median of each (seconds) and the greatest memory of any (budget: 5 s)."""
    return {
        "preview": _row({name: _asked(root, "preview", name, rounds) for name in TRIED}),
        "search": _row({name: _asked(root, "search", name, rounds) for name in SOUGHT}),
    }


def _row(found: dict[str, tuple[float, float]]) -> dict[str, Any]:
    slowest = max(seconds for seconds, _ in found.values())
    return {
        **{f"{name}_s": round(seconds, 2) for name, (seconds, _) in found.items()},
        "peak_mb": round(max(peak for _, peak in found.values())),
        "budget": f"<= {SECONDS_MAX:g} s each",
        "passed": slowest <= SECONDS_MAX,
    }


def _asked(root: str, kind: str, name: str, rounds: int) -> tuple[float, float]:
    """The median of so many answers in seconds, and the memory of the process that gave them in MB."""
    command = [sys.executable, "-m", "benchmarks.asking", root, kind, name, str(rounds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = peak_mb(process)
    said, _ = process.communicate()
    assert process.returncode == 0, f"{kind} {name} failed"
    return median(msgspec.json.decode(said, type=list[float])), peak


def _question(root: str, kind: str, name: str) -> Callable[[], dict[str, Any]]:
    if kind == "search":
        return lambda: search(root, SOUGHT[name], USERS_SHOWN, 0)
    of, text = TRIED[name]
    return lambda: preview(root, encode(Catalogue()), of, text, NOW, USERS_SHOWN)


def main() -> None:
    """Asks one question so many times, and prints how long each answer took."""
    root, kind, name, rounds = sys.argv[1:]
    ask = _question(root, kind, name)
    seconds = []
    for _ in range(int(rounds)):
        started = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - started)
    print(msgspec.json.encode(seconds).decode())


if __name__ == "__main__":
    main()
