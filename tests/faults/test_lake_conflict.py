"""Everybody writes the table of events at once: appends, compaction, a purge, and new columns of a newer version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from deltalake import Field
from deltalake.exceptions import CommitFailedError
from deltalake.schema import PrimitiveType

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.maintain import maintain
from pipelines.purge.purge import purge
from serving.people.deletion import delete_person
from tests.faults.conflicting import SHARDS, STOP, tomorrow
from tests.faults.victims import ROOT
from tests.pipelines.world import World, purchase
from tests.waiting import wait_until

STAYING = [f"u{number}" for number in range(8)]
LEAVING = [f"leaver{number}" for number in range(6)]
#: The columns that a newer version adds, one by one.
LATER = ("later", "later_still")
#: Rounds of purchases. While somebody buys, those who rewrite the table may come second again and again.
BUYS_MAX = 40


@contextmanager
def writers(redis_url: str, folder: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A process for each writer; none is left behind."""
    started = {
        writer: subprocess.Popen(
            [sys.executable, "-m", "tests.faults.conflicting", writer, redis_url, str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for writer in ("drain", "compact", "purge")
    }
    try:
        yield started
    finally:
        for process in started.values():
            process.kill()
            process.communicate()


def add_column(root: str, name: str) -> None:
    """Adds a column, as a newer release does when it first opens the table; again where others were first."""
    for _ in range(100):
        try:
            Lake(root).open(EVENTS).alter.add_columns([Field(name, PrimitiveType("string"))])
            return
        except CommitFailedError:
            continue
    raise AssertionError(f"the column {name} could not be added")


@pytest.mark.deep
@pytest.mark.timeout(180)
def test_all_who_write_one_table_at_once_finish_and_lose_no_row(redis_url: str, tmp_path: Path) -> None:
    """Each writer pauses between its look and its commit until another has committed. All writers end well. Every event
    of people who stay is there once, live and in the lake; of people who left there is none; the new columns are there.
    """
    world = World(redis_url, tmp_path, shards=SHARDS)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    numbers = count()
    bought: Counter[str] = Counter()

    def buy(*users: str) -> None:
        world.ingest(purchase(user, next(numbers)) for user in users)
        bought.update(users)

    for user in LEAVING:  # files enough to compact
        buy(user, *STAYING)
        world.drain().step()
    leaving, columns = list(LEAVING), list(LATER)
    with writers(redis_url, tmp_path) as running:
        version = world.lake.events_version()
        for _ in range(BUYS_MAX):
            if not columns and all(running[writer].poll() is not None for writer in ("compact", "purge")):
                break
            buy(*STAYING)
            if leaving:
                user = leaving.pop(0)
                world.store.follow(delete_person(world.store.operations, f"user:{user}", f"delete-{user}"))
            elif columns:
                add_column(world.lake.root, columns.pop(0))

            def is_further(version: int = version) -> bool:
                return world.lake.events_version() > version or running["purge"].poll() is not None

            wait_until(is_further, "somebody commits")
            version = world.lake.events_version()
        for writer in ("compact", "purge"):  # nobody disturbs these any more
            running[writer].wait(timeout=60)
        Path(tmp_path, STOP).touch()
        output = {writer: process.communicate(timeout=60)[0] for writer, process in running.items()}
        statuses = {writer: process.returncode for writer, process in running.items()}

    assert statuses == dict.fromkeys(statuses, 0), output
    assert any("conflict" in text for text in output.values()), "they met"
    while world.drain().step().rows:
        pass
    purge(world.store, world.lake, tomorrow(world))
    maintain(world.lake, tomorrow(world))
    rows = world.lake.scan(EVENTS).filter(pl.col("kind") == "track").select("id", "event_id", *LATER).collect()
    assert Counter(rows["id"]) == {f"user:{user}": bought[user] for user in STAYING}
    assert not rows["event_id"].is_duplicated().any()
    world.rebuild()
    assert {user: world.values(user)["orders"] for user in STAYING} == {user: bought[user] for user in STAYING}
    assert [world.values(user)["orders"] for user in LEAVING] == [0] * len(LEAVING)
