"""An event that a file of history and the log both have counts alike live and in the batch, to the millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from expressions.batch.frames import event_frame
from expressions.rules.repeats import REPEAT_MS
from pipelines.importing.import_file import import_file
from pipelines.publish import Recent
from serving.ids import event_hash
from serving.store.layout import recent_entry
from serving.store.scripts.ingest import Outcome
from tests.clocks import last_receipt_is_the_clock
from tests.pipelines.world import World, purchase

HOUR_MS = 3_600_000
SHARDS = 2


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> Iterator[World]:
    """A recovered system that counts orders, whose clock is the last receipt."""
    with last_receipt_is_the_clock():
        world = World(redis_url, tmp_path, shards=SHARDS)
        world.recover()
        world.define("trait", {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum"})
        yield world


def imported(world: World, folder: Path, received_ms: int) -> None:
    """Imports a file with an order of ann's, received at a time."""
    path = folder / "history.csv"
    path.write_text("user,event,time,id,amount\nann,purchase,2020-01-01T00:00:00Z,order-1,10\n")
    import_file(
        world.lake, path, user_column="user", event_column="event", time_column="time", id_column="id",
        now_ms=received_ms, shards=SHARDS,
    )  # fmt: skip


def sent(world: World, at_ms: int) -> Outcome:
    """Sends the same order from her app, received at a time to come; returns how it was taken."""
    for shard in range(SHARDS):
        world.store.resume(shard, 0, at_ms)
    event = purchase("ann", 1, properties={"amount": 1}) | {"messageId": "order-1"}
    receipts = world.ingest([event])
    assert receipts.received_ms == at_ms
    return receipts.outcomes[0]


def orders(world: World) -> tuple[float, float]:
    """The number of ann's orders, and their sum."""
    values = world.values("ann")
    return values["orders"], values["spent"]


@pytest.mark.parametrize(("later_ms", "is_new"), [(REPEAT_MS - 1, False), (REPEAT_MS, True)])
def test_an_import_that_a_base_counts_is_repeated_for_24_hours(
    world: World, tmp_path: Path, later_ms: int, is_new: bool
) -> None:
    """A repeat within 24 hours of an import that a base counts is a duplicate. A later one is a new event for good: no
    rebuild drops either."""
    now_ms = world.store.now_ms() + HOUR_MS
    imported(world, tmp_path, now_ms - later_ms)
    world.rebuild()

    assert sent(world, now_ms).duplicate is not is_new
    expected = (2, 11) if is_new else (1, 10)
    assert orders(world) == expected
    world.drain().step()
    assert orders(world) == expected
    world.rebuild()
    assert orders(world) == expected


@pytest.mark.parametrize(("later_ms", "is_new"), [(REPEAT_MS - 1, False), (REPEAT_MS, True)])
def test_so_is_one_that_no_base_counts_yet(world: World, tmp_path: Path, later_ms: int, is_new: bool) -> None:
    """Ingest takes a repeat of an import that no base counts yet. The first base that counts the import decides by the
    same 24 hours, however much of the log it covers."""
    now_ms = world.store.now_ms() + HOUR_MS
    imported(world, tmp_path, now_ms - later_ms)

    assert not sent(world, now_ms).duplicate
    assert orders(world) == (1, 1)
    expected = (2, 11) if is_new else (1, 10)
    world.rebuild()
    assert orders(world) == expected
    world.drain().step()
    world.rebuild()
    assert orders(world) == expected


def test_a_copy_that_gave_way_to_an_import_is_none_to_measure_by(world: World, tmp_path: Path) -> None:
    """A base took a repeat of an import out of the tail. A copy 24 h after the import is new, live and in the batch: it
    is not measured against that repeat."""
    now_ms = world.store.now_ms() + HOUR_MS
    imported(world, tmp_path, now_ms - 23 * HOUR_MS)
    assert not sent(world, now_ms).duplicate
    world.rebuild()

    assert not sent(world, now_ms + HOUR_MS).duplicate
    assert orders(world) == (2, 11)
    world.drain().step()
    world.rebuild()
    assert orders(world) == (2, 11)
    assert sent(world, now_ms + 25 * HOUR_MS - 1) == Outcome(2, duplicate=True)


def test_an_import_of_what_was_logged_is_no_news(world: World, tmp_path: Path) -> None:
    """An import of a logged event never counts, however late it comes. A repeat is measured against the logged copy."""
    now_ms = world.store.now_ms() + HOUR_MS
    sent(world, now_ms)
    world.drain().step()
    imported(world, tmp_path, now_ms + 23 * HOUR_MS)
    world.rebuild()

    assert orders(world) == (1, 1)
    assert sent(world, now_ms + 24 * HOUR_MS) == Outcome(2)
    assert orders(world) == (2, 2)


def test_of_an_event_the_newest_copy_is_remembered() -> None:
    """Of an import and a copy 24 h after it the copy is remembered, since repeats are measured against it. A link is no
    event."""
    row = {"id": "user:ann", "event_id": "a", "kind": "track", "name": "x", "ts": 1}
    rows = [
        {**row, "seq": 7, "received_at": REPEAT_MS + 5},
        {**row, "seq": None, "received_at": 5},
        {**row, "seq": 8, "received_at": REPEAT_MS + 6, "kind": "link", "name": "user:bob"},
    ]
    for order in (rows, rows[::-1]):
        events: pl.LazyFrame = event_frame(order)
        recent = Recent(events, as_of_ms=REPEAT_MS + 5, undrained_ms=10).everyone()
        assert recent == {"user:ann": recent_entry(event_hash("a"), REPEAT_MS + 5, 7)}
