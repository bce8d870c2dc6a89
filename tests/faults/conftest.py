"""Stacks whose parts may be broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.running import RunningStack, stack_on
from tests.waiting import wait_until

DEFINITIONS = {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"}


@contextmanager
def breakable(home: Path, **settings: str) -> Iterator[RunningStack]:
    """Runs a whole stack as `tinycdp up --no-prefect` does, with two traits that are ready."""
    with stack_on(home, drain_interval_s="0.1", **settings) as running:
        for key, expression in DEFINITIONS.items():
            running.define("trait", key, expression)
        wait_until(lambda: not running.traits("nobody")["warming"], "the definitions are ready")
        yield running


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory, shared: ExitStack) -> RunningStack:
    """The stack of the group "victim", whose parts its tests kill. Each load on it has a name of its own."""
    return shared.enter_context(breakable(tmp_path_factory.mktemp("home")))
