"""Packing leaves few files and every row, whatever the drain is doing, and leaves alone what is packed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import Transaction

from lake.errors import LakeConflict
from lake.lake import Lake
from lake.schemas import AUDIT, EVENTS
from pipelines import sorting
from pipelines.packing import FILES_MAX, SIZES, pack, sort_closed_days
from pipelines.worker import Worker
from tests.pipelines.world import World, purchase

STEPS = ("checked", "read", "before_write", "after_write")
#: Files that may stay in these tests, and one commit more than that.
FEW = 7
COMMITS = FEW + 1


def drained_in_parts(world: World, first: int, parts: int) -> None:
    """Drains so many commits of one purchase."""
    drain = world.drain()
    for number in range(first, first + parts):
        world.ingest([purchase(f"u{number % 4}", number, properties={"amount": number})])
        drain.step()


def files(lake: Lake) -> list[str]:
    """The files of events that the newest version has."""
    return sorted(lake.open(EVENTS).file_uris())


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system whose partition of today has one file too many."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum"})
    drained_in_parts(world, 0, COMMITS)
    return world


def test_the_worker_packs_today_while_the_drain_goes_on(world: World) -> None:
    """The worker packs without a rebuild or maintenance, and leaves every row, seq and value as before."""
    drained_in_parts(world, COMMITS, FILES_MAX + 1 - COMMITS)
    world.rebuild()
    before = world.lake.events().sort("id", "seq").collect()
    upto = world.lake.transaction_versions(None, 4)
    drain = world.drain()
    drain.step()
    assert len(files(world.lake)) == FILES_MAX + 1

    never = pytest.fail
    worker = Worker(world.store, Lake(world.lake.root), world.settings, never, never, never)
    assert worker.look()
    assert not worker.look()

    assert len(files(world.lake)) <= FEW
    assert world.lake.events().sort("id", "seq").collect().equals(before)
    assert world.lake.transaction_versions(None, 4) == upto
    world.ingest([purchase("u0", 100, properties={"amount": 1_000})])
    assert drain.step().rows == 1
    world.rebuild()
    sent = range(0, FILES_MAX + 1, 4)
    assert world.values("u0") == {"orders": len(sent) + 1, "spent": sum(sent) + 1_000}


@pytest.mark.parametrize("step", STEPS)
def test_a_drain_that_meets_packing_commits_every_event_once(world: World, step: str) -> None:
    """Packing that commits at any step of the drain's round costs no event and doubles none."""
    world.ingest(purchase(f"u{user}", 100) for user in range(4))

    def on_step(reached: str) -> None:
        if reached == step:
            assert pack(Lake(world.lake.root), FEW) >= COMMITS

    world.drain(on_step).step()
    drained_in_parts(world, 101, 1)

    for shard, upto in enumerate(world.lake.transaction_versions(None, 4)):
        assert world.seqs(shard) == list(range(1, upto + 1))
    assert world.lake.events().collect().height == COMMITS + 5


def test_a_version_that_a_rebuild_has_pinned_can_still_be_read(world: World) -> None:
    """Files that were packed stay for a day, so an older version can still be read."""
    pinned = world.lake.events_version()
    before = world.lake.events(pinned).sort("id", "seq").collect()

    assert pack(world.lake, FEW) == COMMITS

    assert world.lake.events(pinned).sort("id", "seq").collect().equals(before)
    assert Lake(world.lake.root).events(pinned).sort("id", "seq").collect().equals(before)


def test_few_files_are_left_as_they_are(world: World) -> None:
    """Packing writes nothing while there are few files, so a trickle of events writes each row only a few times."""
    pack(world.lake, FEW)
    version = world.lake.events_version()
    drained_in_parts(world, COMMITS, 3)

    assert pack(world.lake, FEW) == 0
    assert world.lake.events_version() == version + 3


def test_files_of_another_size_are_not_written_again(tmp_path: Path) -> None:
    """Large files are not rewritten for each handful of small ones: files are packed with others of their size."""
    lake = Lake(str(tmp_path / "lake"))
    lake.append(EVENTS, rows(0, 40_000))
    large = files(lake)
    assert Path(large[0].removeprefix("file://")).stat().st_size > SIZES[2]
    for number in range(COMMITS):
        lake.append(EVENTS, rows(20_000 + number, 1))

    assert pack(lake, FEW) == COMMITS
    assert len(files(lake)) <= 1 + FEW and large[0] in files(lake)


@pytest.mark.deep
@pytest.mark.parametrize("count", [1, 60])
def test_however_long_it_goes_on_there_are_few(tmp_path: Path, count: int) -> None:
    """Packed files are packed in their turn, also where two commits of a size fit into no file of that size."""
    lake = Lake(str(tmp_path / "lake"))
    sizes = (0, 8_000, 40_000, 10_000_000)
    most = 0
    for commit in range(300):
        lake.append(EVENTS, rows(commit * count, count))
        if commit % COMMITS == 0:
            pack(lake, FEW, sizes)
            most = max(most, len(files(lake)))

    assert most <= 2 * FEW
    assert sorted(lake.scan(EVENTS).collect()["seq"]) == list(range(300 * count))


def test_every_table_is_packed(tmp_path: Path) -> None:
    """Tables that get a commit for each act of an admin or of a rebuild are packed too."""
    lake = Lake(str(tmp_path / "lake"))
    for number in range(COMMITS):
        lake.append_audit({"at": number})

    assert pack(lake, FEW) == COMMITS
    assert len(lake.open(AUDIT).file_uris()) <= FEW
    assert sorted(lake.audit().collect()["at"]) == list(range(COMMITS))


def rows(first: int, count: int, day: int = 20_000) -> pa.Table:
    """Rows of events of a day, given as days since 1970, with ids that do not compress."""
    chance = random.Random(first)
    made = [
        {
            "ingest_date": day,
            "shard": seq % 4,
            "seq": seq,
            "event_id": chance.randbytes(12).hex(),
            "kind": "track",
            "id": f"user:{chance.randbytes(4).hex()}",
            "ts": seq,
            "received_at": seq,
        }
        for seq in range(first, first + count)
    ]
    columns = [pa.array([row.get(column.name) for row in made], column.type) for column in EVENTS.columns]
    return pa.table(columns, schema=EVENTS.columns)


def test_a_closed_day_is_sorted_once(tmp_path: Path) -> None:
    """A closed day is sorted into as many files as it takes, which are then left alone. Rows that come to it later are
    packed beside them when they are many."""
    lake = Lake(str(tmp_path / "lake"))
    for part in range(3):
        lake.append(EVENTS, rows(10_000 * part, 10_000))
    before = lake.scan(EVENTS).sort("seq").collect()

    assert sort_closed_days(lake, "2024-10-04", file_bytes=300_000) == 0, "it is not over"
    assert sort_closed_days(lake, "2024-10-05", file_bytes=300_000) == 3
    version, sorted_files = lake.events_version(), files(lake)
    assert len(sorted_files) > 3
    assert lake.scan(EVENTS).sort("seq").collect().equals(before)

    lake.append(EVENTS, rows(30_000, 1))
    assert sort_closed_days(lake, "2024-10-05", file_bytes=300_000) == 0
    assert lake.events_version() == version + 1
    for number in range(1, COMMITS):
        lake.append(EVENTS, rows(30_000 + number, 1))
    assert pack(lake, FEW, (0, 20_000, 100_000)) == COMMITS
    assert set(sorted_files) < set(files(lake)) and len(files(lake)) <= len(sorted_files) + FEW


def test_a_closed_day_is_in_the_order_of_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows lie by shard, id and time over all files, in row groups of few rows, so that readers skip the others."""
    monkeypatch.setattr(sorting, "GROUP_ROWS", 1_000)
    lake = Lake(str(tmp_path / "lake"))
    for part in range(3):
        lake.append(EVENTS, rows(2_000 * part, 2_000))

    sort_closed_days(lake, "2024-10-05", file_bytes=50_000)

    paths = lake.open(EVENTS).file_uris()
    places, groups = [], []
    for path in paths:
        with pq.ParquetFile(path) as file:
            places.append(pl.DataFrame(file.read(columns=list(EVENTS.order))))
            groups += [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    places.sort(key=lambda of_file: of_file.row(0))
    assert len(paths) > 1 and sorted(groups) == 4 * [500] + 4 * [1_000]
    assert pl.concat(places).equals(lake.scan(EVENTS).select(EVENTS.order).sort(EVENTS.order).collect())


def test_rows_that_come_while_a_day_is_sorted_are_not_lost(tmp_path: Path) -> None:
    """An append, as by an import, commits between the look and the sorted day's commit: its rows stay, in a file of
    their own. Of two that sort the same day the second changes nothing."""
    lake, other = Lake(str(tmp_path / "lake")), Lake(str(tmp_path / "lake"))
    for part in range(3):
        lake.append(EVENTS, rows(1_000 * part, 1_000))

    def arrange_while(act: Callable[[], None]) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        def arrange(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            found = list(batches)
            act()
            yield from found

        return arrange

    day, note = {"ingest_date": "2024-10-04"}, Transaction("sorted/2024-10-04", 1)
    appending = arrange_while(lambda: other.append(EVENTS, rows(3_000, 10)))
    assert lake.rearrange(EVENTS, day, appending, note) == 3
    assert sorted(lake.scan(EVENTS).collect()["seq"]) == list(range(3_010))

    sorting = arrange_while(lambda: other.rearrange(EVENTS, day, lambda batches: batches, note))
    with pytest.raises(LakeConflict):
        lake.rearrange(EVENTS, day, sorting, note)
    assert sorted(lake.scan(EVENTS).collect()["seq"]) == list(range(3_010))


def test_a_day_that_is_too_large_to_be_sorted_is_packed(tmp_path: Path) -> None:
    """Sorting has a bound on memory. A day with a shard that does not fit is packed as it lies, once, and loses no
    row."""
    lake = Lake(str(tmp_path))
    for number in range(3):
        lake.append(EVENTS, rows(number * 3_000, 3_000))
    before = lake.scan(EVENTS).sort("seq").collect()

    assert sort_closed_days(lake, "2024-10-05", sort_bytes=100_000) == 3
    version = lake.events_version()
    assert sort_closed_days(lake, "2024-10-05", sort_bytes=100_000) == 0

    assert lake.events_version() == version
    (path,) = files(lake)
    assert not pl.read_parquet(path).select("shard").to_series().is_sorted()
    assert lake.scan(EVENTS).sort("seq").collect().equals(before)
