"""What people at the console wait for: an expression tried on everybody, the search, and a person's timeline, each over
the whole lake.

A question is answered in a process of its own, as the API has one for each kind.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec

from benchmarks import NOW
from benchmarks.peak_memory import peak_mb
from expressions.definitions import DefinitionKind
from expressions.rules.windows import DAY_MS
from serving.definitions.catalogue import Catalogue, encode
from serving.history import Source
from serving.ids import SHARDS_DEFAULT
from serving.lookups.people import search
from serving.lookups.timeline import Place, timeline
from serving.lookups.unsaved_expressions import preview

SECONDS_MAX = 5.0
USERS_SHOWN = 50

#: The expressions of a preview. They read one event name, a property in most of the history, all events, and an
#: attribute that nobody has.
EXPRESSIONS: dict[str, tuple[DefinitionKind, str]] = {
    "of one event": ("segment", "events.purchase.count_30d >= 3"),
    "of a property": ("trait", "events.purchase.amount.sum_90d"),
    "of all events": ("segment", "last_seen_days_ago > 30"),
    "of an attribute": ("segment", 'profile.plan == "pro"'),
}
#: The texts of a search. They match everybody, a few, and a fifth of all.
TEXTS = {"without a text": "", "with a text": "00012345", "with a beginning": "user:customer-00001"}

#: The pages of a timeline: the first one, and one of a name from the middle of the history on.
PERSON, SHARD = "user:customer-0000012345", 12_345 % SHARDS_DEFAULT
PAGES: dict[str, tuple[str | None, Place | None]] = {
    "first page": (None, None),
    "of a name, further back": ("purchase", Place(NOW - 60 * DAY_MS, 0, "", "")),
}


def measure_questions(root: str, rounds: int) -> dict[str, dict[str, Any]]:
    """The rows of `preview`, `search` and `timeline`: median seconds of each question, and the greatest memory in MB.

    The budget is 5 seconds for each question.
    """
    return {
        "preview": _row({name: _measure(root, "preview", name, rounds) for name in EXPRESSIONS}),
        "search": _row({name: _measure(root, "search", name, rounds) for name in TEXTS}),
        "timeline": _row({name: _measure(root, "timeline", name, rounds) for name in PAGES}),
    }


def _row(figures: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """One row of the seconds and MB of each question."""
    slowest = max(seconds for seconds, _ in figures.values())
    return {
        **{f"{name}_s": round(seconds, 2) for name, (seconds, _) in figures.items()},
        "peak_mb": round(max(peak for _, peak in figures.values())),
        "budget": f"<= {SECONDS_MAX:g} s each",
        "passed": slowest <= SECONDS_MAX,
    }


def _measure(root: str, kind: str, name: str, rounds: int) -> tuple[float, float]:
    """The median of so many answers in seconds, and the memory of the process that gave them in MB."""
    command = [sys.executable, "-m", "benchmarks.questions", root, kind, name, str(rounds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = peak_mb(process)
    output, _ = process.communicate()
    assert process.returncode == 0, f"{kind} {name} failed"
    return median(msgspec.json.decode(output, type=list[float])), peak


def _question(root: str, kind: str, name: str) -> Callable[[], dict[str, Any]]:
    if kind == "search":
        return lambda: search(Source(root), TEXTS[name], USERS_SHOWN, 0)
    if kind == "timeline":
        event, before = PAGES[name]
        return lambda: timeline(Source(root), [PERSON], [SHARD], [], (None, None), event, before, USERS_SHOWN)
    definition_kind, text = EXPRESSIONS[name]
    return lambda: preview(Source(root), encode(Catalogue()), definition_kind, text, NOW, USERS_SHOWN)


def main() -> None:
    """Asks one question so many times, and prints how long each answer took, as JSON."""
    root, kind, name, rounds = sys.argv[1:]
    answer = _question(root, kind, name)
    seconds = []
    for _ in range(int(rounds)):
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    print(msgspec.json.encode(seconds).decode())


if __name__ == "__main__":
    main()
