"""Jobs whose process is ended from outside."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import pytest

from serving.lookups.job_process import run_job
from serving.refusals import Unavailable
from tests.serving.lookups.ended_job import Order

JOB = "tests.serving.lookups.ended_job"


def lines_of(order: Order) -> list[bytes]:
    """What a job reports."""
    lines: list[bytes] = []
    asyncio.run(run_job(JOB, order, lines.append))
    gc.collect()  # a stream that was not closed warns when it is collected, and a warning fails the test
    return lines


def test_a_job_whose_process_is_killed_is_begun_once_more(tmp_path: Path) -> None:
    """It reports from its beginning."""
    assert lines_of(Order(str(tmp_path / "begun"), times=1)) == [b'{"begun":2}\n']


@pytest.mark.deep
def test_a_job_that_is_killed_again_says_so(tmp_path: Path) -> None:
    """The reason names the signal, and whoever asked may try again."""
    with pytest.raises(Unavailable, match="its process was ended by signal 9, 2 times") as refused:
        lines_of(Order(str(tmp_path / "begun"), times=2))
    gc.collect()
    assert refused.value.retry_after_s


def test_a_job_without_a_program_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system has no memory or no process left."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(Unavailable, match="its process could not be started"):
        lines_of(Order(str(tmp_path / "begun"), times=0))
