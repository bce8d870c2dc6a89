"""One stack for all tests under load, which are of the group "load": with traits over purchases, and 50 flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.running import RunningStack, stack_on
from tests.waiting import wait_until

FLAGS = 50
TRAITS = {
    "bought": "events.purchase.count_30d",
    "spent": "events.purchase.amount.sum",
    "lately": "events.purchase.count_1h",
    "dearest": "events.purchase.amount.max_1h",
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, shared: ExitStack) -> RunningStack:
    """A stack of their own."""
    return shared.enter_context(_loaded(tmp_path_factory.mktemp("home")))


@contextmanager
def _loaded(home: Path) -> Iterator[RunningStack]:
    with stack_on(home) as running:
        for key, expression in TRAITS.items():
            running.define("trait", key, expression)
        running.define("flag", "even", "lately % 2 == 0")
        for number in range(FLAGS):
            running.define("flag", f"offer_{number}", f"bought >= {number}")
        wait_until(lambda: not running.traits("nobody")["warming"], "the definitions are ready")
        yield running
