"""Deep tests take seconds, and go further on a way that shorter ones go, too: they are left to one deeper run.

The mark `deep` is on such a test, or on a file of them. By `deep(kept=2)` two cases of a test with many are in every
run: the first, and the one half way behind it. TINYCDP_DEEP=1 takes them all, and so does whoever names their file. A
run that left some says how many, and how they are run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "TINYCDP_DEEP"

#: How many tests this process left.
LEFT = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the deep tests that nobody asked for, before the order of the tests is drawn."""
    named = {Path(argument.split("::")[0]).resolve() for argument in config.args}
    left = [] if os.environ.get(VARIABLE) else [item for item in deep_tests(items) if item.path not in named]
    config.stash[LEFT] = len(left)
    if left:
        config.hook.pytest_deselected(items=left)
        leaves = set(left)
        items[:] = [item for item in items if item not in leaves]


def deep_tests(items: list[pytest.Item]) -> list[pytest.Item]:
    """The deep ones of tests in the order of their files, without the cases that are kept for every run."""
    found: list[pytest.Item] = []
    cases: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("deep")
        if mark is not None:
            cases[item.nodeid.split("[")[0], mark.kwargs.get("kept", 0)].append(item)
    for (_, kept), of_test in cases.items():
        indices = {number * len(of_test) // kept for number in range(kept)}
        found += [item for index, item in enumerate(of_test) if index not in indices]
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tells the process that reports: where several take tests, each of them collects all, and that one none."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[VARIABLE] = session.config.stash.get(LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Notes how many a process left; all of them left the same."""
    output = getattr(node, "workeroutput", None) or {}
    node.config.stash[LEFT] = max(node.config.stash.get(LEFT, 0), output.get(VARIABLE, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many were left, and how they are run."""
    left = terminalreporter.config.stash.get(LEFT, 0)
    if left:
        terminalreporter.write_line(
            f"{left} deep tests were left: {VARIABLE}=1 make test takes them, and so does whoever names their file"
        )
