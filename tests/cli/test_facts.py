"""The known counts of real purchases, by a user's commands: import the file, save the rules, count as of a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli import up
from serving.settings import Settings
from tests.facts import CDNOW, COUNTED, FACTS
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("facts")


@pytest.fixture(scope="module")
def purchases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack with all 69,659 purchases at their own times, and a segment for each fact."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
    stack = up.start(settings, with_prefect=False)
    running = RunningStack(stack, settings)
    try:
        for key, rule in COUNTED.items():
            running.define("segment", key, rule)
        file = str(CDNOW / "purchases.parquet")
        done = running.json("import", file, "--user", "user_id", "--event", "event", "--time", "timestamp")
        assert done == {"accepted": FACTS["events"], "rejected": 0, "already": 0}
        yield running
    finally:
        running.http.close()
        up.stop(settings, stack)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fact", COUNTED)
def test_users_counts_what_is_known(purchases: RunningStack, fact: str) -> None:
    """`tinycdp users FACT --at … --count` prints the number that was counted without TinyCDP."""
    printed = purchases.tinycdp("users", fact, "--at", FACTS["as_of"], "--count").stdout

    assert int(printed) == FACTS[fact]
