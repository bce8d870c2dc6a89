"""One export: everybody once, however many files people are in, in memory that does not grow."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.exports import filled_lake, measure_export
from lake.lake import Lake
from pipelines.purge.purge import purge
from serving.definitions.catalogue import encode
from serving.history import Source
from serving.lookups.export_job import ROWS_AT_ONCE, Order, Progress, export
from serving.lookups.job_process import Outrun
from serving.lookups.member_order import MemberOrder
from tests.pipelines.test_deletes import delete
from tests.pipelines.world import World

FILE = "segment_buyers_2026-01-01.csv"


def order_of(world: World, key: str = "buyers", rows_at_once: int = ROWS_AT_ONCE) -> Order:
    """An export of a segment, now."""
    source = Source(world.lake.root, world.store.undrained_deletes())
    return Order(source, encode(world.catalogue), key, world.store.now_ms(), FILE, rows_at_once)


def exported(world: World, rows_at_once: int, key: str = "buyers") -> tuple[list[dict[str, str]], list[Progress]]:
    """The rows of a file, by user id, and the progress that the export reported."""
    reports: list[Progress] = []
    order = order_of(world, key, rows_at_once)
    export(order, reports.append)
    with (Path(world.lake.root) / "exports" / FILE).open(newline="", encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["user_id"]), reports


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """People with one id and several, some of whom bought enough only with all their ids together."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("segment", {"buyers": "events.purchase.count >= 2"})
    events: list[dict[str, Any]] = []
    for user in range(30):
        events += [bought(f"{user}-1", userId=f"u{user}"), bought(f"{user}-2", deviceId=f"d{user}")]
        if user % 3:
            events.append({"type": "identify", "userId": f"u{user}", "deviceId": f"d{user}", "messageId": f"i{user}"})
    world.ingest(events)
    world.drain().step()
    return world


def bought(number: str, **ids: Any) -> dict[str, Any]:
    """A purchase by the person whom these ids name."""
    return {"type": "track", "event": "purchase", "messageId": number, **ids}


def test_everybody_is_exported_once_however_many_slices_there_are(world: World) -> None:
    """All ids of a person are in one file, so a person who is a member by all ids together is one, in one row."""
    whole, at_once = exported(world, 1_000)
    slices, reports = exported(world, 5)

    assert len(at_once) < len(reports)
    for row in (*whole, *slices):
        row.pop("updated_at"), row.pop("since")
    assert whole == slices
    assert [(row["user_id"], row["device_id"]) for row in slices] == sorted(
        (f"u{user}", f"d{user}") for user in range(30) if user % 3
    )
    rows = world.lake.events().collect().height
    assert (reports[0].done, reports[-1]) == (0, Progress(2 * rows, 2 * rows, 20))
    assert [report.done for report in reports] == sorted(report.done for report in reports)


def test_an_export_for_which_memory_is_too_small_is_written_with_less_at_a_time(world: World) -> None:
    """Where memory fails the file is written anew, with half as many rows at a time, and is the same. Where a part of
    it that is small enough fails too, it fails, and no file is left."""
    done, tries, room = 0, 0, 15

    def full(progress: Progress) -> None:
        nonlocal done, tries
        tries += progress.done == 0
        if progress.done - max(done, progress.of // 2) > room:  # so many rows of people were evaluated at once
            raise MemoryError
        done = progress.done

    whole, _ = exported(world, 1_000)
    export(order_of(world, rows_at_once=160), full)
    with (Path(world.lake.root) / "exports" / FILE).open(newline="", encoding="utf-8") as file:
        halved = sorted(csv.DictReader(file), key=lambda row: row["user_id"])
    for row in (*whole, *halved):
        row.pop("updated_at"), row.pop("since")
    assert whole == halved
    assert tries > 2

    tries, room = 0, 0
    (Path(world.lake.root) / "exports" / FILE).unlink()
    with pytest.raises(MemoryError):
        export(order_of(world, rows_at_once=1_000), full)
    assert tries == 7, "from 1,000 down to 15"
    assert list((Path(world.lake.root) / "exports").iterdir()) == []


@pytest.mark.parametrize("rows_at_once", [5, 1_000])
def test_who_came_last_comes_first(world: World, rows_at_once: int) -> None:
    """Members are ordered by the time of their first event, newest first, then by id, in any number of files."""
    now_ms = world.store.now_ms()
    for user in ("zoe", "abe", "eve"):
        world.ingest([bought(f"{user}-{at}", userId=user, timestamp=now_ms - 10**9) for at in range(2)])
    world.ingest([bought(f"old-{at}", userId="old", timestamp="1969-12-31T23:59:59.995Z") for at in range(2)])
    world.drain().step()
    exported(world, rows_at_once)
    with (Path(world.lake.root) / "exports" / FILE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert [row["user_id"] for row in rows][-4:] == ["abe", "eve", "zoe", "old"]
    assert len(rows) == 24


def test_members_of_any_number_are_sorted_some_at_a_time() -> None:
    """The order is that of one sort of all members, whatever order they come in; parts are of about the same size."""
    chance = random.Random(0)
    members = pl.DataFrame(
        {
            "id": [f"user:{n}" for n in range(20_000)],
            "created_at": [chance.choice((-7, 0, n, n)) for n in range(20_000)],
        }
    ).sample(fraction=1.0, shuffle=True, seed=0)
    with MemberOrder(at_once=1_000) as ordered:
        for at in range(0, 20_000, 3_000):
            ordered.add(members[at : at + 3_000])
        parts = list(ordered.take())

    assert pl.concat(parts).equals(members.sort("created_at", "id", descending=[True, False]))
    assert len(parts) == 20 and max(map(len, parts)) < 2_000


def test_since_is_when_a_rebuild_saw_it_first_else_the_export(world: World) -> None:
    """A member is in the file whether or not a rebuild has seen the membership."""
    world.rebuild()
    (row, *_), _ = exported(world, 1_000)
    world.ingest([bought("new-1", userId="zoe"), bought("new-2", userId="zoe")])
    world.drain().step()
    rows, _ = exported(world, 1_000)

    assert rows[0]["since"] == row["since"] < rows[0]["updated_at"]
    assert rows[-1]["user_id"] == "zoe"
    assert rows[-1]["since"] == rows[-1]["updated_at"]


def test_an_export_that_fails_leaves_the_file_of_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier file is as it was, and there is no other."""
    before, _ = exported(world, 1_000)
    with pytest.raises(KeyError):
        exported(world, 1_000, "unknown")

    folder = Path(world.lake.root) / "exports"
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert len((folder / FILE).read_text().splitlines()) == len(before) + 1


def gone_while_it_ran(world: World, rounds: int) -> Callable[[Progress], None]:
    """A progress function that, so many times, deletes and purges somebody once all rows were looked at."""
    left = list(range(rounds))

    def progress(report: Progress) -> None:
        if report.done == report.of and left:
            delete(world, f"user:u{left.pop()}")
            while world.drain().step().rows:
                pass
            if not left:
                purge(world.store, world.lake)

    return progress


def test_a_file_that_was_outrun_by_a_delete_is_made_again(world: World) -> None:
    """Somebody who was deleted and purged meanwhile is in no file that is left."""
    order = order_of(world)
    export(order, gone_while_it_ran(world, 2))
    text = (Path(world.lake.root) / "exports" / FILE).read_text()

    assert '"u2"' in text and '"u1"' not in text
    assert len(text.splitlines()) == 1 + 19


def test_an_export_gives_up_when_somebody_is_deleted_each_time(world: World) -> None:
    """The export fails with `Outrun` and leaves no file."""
    order = order_of(world)
    with pytest.raises(Outrun):
        export(order, gone_while_it_ran(world, 30))
    assert list((Path(world.lake.root) / "exports").iterdir()) == []


@pytest.mark.deep
def test_memory_does_not_grow_with_the_number_of_members(tmp_path: Path) -> None:
    """Eight times the members take little more, where all of them at once would take hundreds of megabytes.

    D-34: an export was all in memory.
    """
    few, many = filled_lake(tmp_path / "few", 5_000), filled_lake(tmp_path / "many", 40_000)

    def peak(lake: Lake, rows_at_once: int) -> float:
        measured = measure_export(lake, tmp_path, rows_at_once)
        assert measured.progress[-1].done == measured.progress[-1].of
        return measured.peak_mb

    small, large, whole = peak(few, 8_000), peak(many, 8_000), peak(many, 1_000_000)

    assert large - small < (whole - small) / 2
