"""A stack of its own for each module of tests that kill parts of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli import up
from serving.settings import Settings
from tests.running import RunningStack
from tests.waiting import wait_until

DEFINITIONS = {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"}


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A whole stack as `tinycdp up --no-prefect` runs it, with two traits that are ready; its parts may be killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYCDP_DRAIN_INTERVAL_S", "0.1")
        settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
        found = up.start(settings, with_prefect=False)
    running = RunningStack(found, settings)
    try:
        for key, expression in DEFINITIONS.items():
            running.define("trait", key, expression)
        wait_until(lambda: not running.traits("nobody")["warming"], "the definitions are ready")
        yield running
    finally:
        running.http.close()
        up.stop(settings, found)
