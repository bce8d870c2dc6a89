"""Stacks whose parts may be broken, one for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import up
from serving.settings import Settings
from tests.running import RunningStack
from tests.waiting import wait_until

DEFINITIONS = {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"}


@contextmanager
def breakable(home: Path, environment: Mapping[str, str], **settings: Any) -> Iterator[RunningStack]:
    """Runs a whole stack as `tinycdp up --no-prefect` does, with two traits that are ready."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TINYCDP_DRAIN_INTERVAL_S": "0.1", **environment}.items():
            patch.setenv(name, value)
        used = Settings(home=home, port=0, **settings)
        running = RunningStack(stack := up.start(used, with_prefect=False), used)
        try:
            for key, expression in DEFINITIONS.items():
                running.define("trait", key, expression)
            wait_until(lambda: not running.traits("nobody")["warming"], "the definitions are ready")
            yield running
        finally:
            running.http.close()
            up.stop(used, stack)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose parts may be killed."""
    with breakable(tmp_path_factory.mktemp("home"), {}) as running:
        yield running
