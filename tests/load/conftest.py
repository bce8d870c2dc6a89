"""One stack for all tests under load, which are of the group "load": with traits over purchases, and 50 flags."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli import up
from serving.settings import Settings
from tests.running import RunningStack
from tests.waiting import wait_until

FLAGS = 50
TRAITS = {
    "bought": "events.purchase.count_30d",
    "spent": "events.purchase.amount.sum",
    "lately": "events.purchase.count_1h",
    "dearest": "events.purchase.amount.max_1h",
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of their own."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
    found = up.start(settings, with_prefect=False)
    running = RunningStack(found, settings)
    try:
        for key, expression in TRAITS.items():
            running.define("trait", key, expression)
        running.define("flag", "even", "lately % 2 == 0")
        for number in range(FLAGS):
            running.define("flag", f"offer_{number}", f"bought >= {number}")
        wait_until(lambda: not running.traits("nobody")["warming"], "the definitions are ready")
        yield running
    finally:
        running.http.close()
        up.stop(settings, found)
