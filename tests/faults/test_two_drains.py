"""Two drains, one of them paused for longer than its lease: the lake has each event once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import polars as pl
import pytest

from lake.lake import Lake
from tests.faults.load import load
from tests.faults.parts import await_drained, pid_of
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")


def rows_of(stack: RunningStack) -> int:
    """The number of events in the lake."""
    return int(Lake(stack.stack.lake_uri).events().select(pl.len()).collect().item())


@pytest.mark.deep
@pytest.mark.timeout(180)
def test_a_drain_that_wakes_after_another_took_over_doubles_nothing(victim: RunningStack) -> None:
    """A paused drain may be anywhere in its round: the lake refuses what it would commit late."""
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(victim.settings.home),
        "TINYCDP_REDIS_URL": victim.stack.redis_url,
        "TINYCDP_LAKE_URI": victim.stack.lake_uri,
    }
    paused = pid_of(victim, "drain")
    assert paused is not None
    other = subprocess.Popen([sys.executable, "-m", "cli.main", "drain"], env=environment)
    try:
        with load(victim, "drained") as sent:
            sent.await_more(200)
            os.kill(paused, signal.SIGSTOP)
            sent.await_more(200)
            upto = len(sent.acknowledged)
            wait_until(lambda: rows_of(victim) >= upto, "the other one drains, when the lease has run out")
            os.kill(paused, signal.SIGCONT)
            sent.await_more(200)
    finally:
        os.kill(paused, signal.SIGCONT)
        other.terminate()
        other.wait(timeout=60)

    await_drained(victim)
    assert_lake_is_exact(victim.stack.lake_uri)
    assert_all_counted(victim, sent)
    assert_in_lake(victim.stack.lake_uri, sent)
