"""Rows come in batches and parts that are bounded by rows and by bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from lake.batches import BATCH_BYTES, PART_ROWS
from lake.lake import Lake
from lake.schemas import EVENTS
from lake.stored_files import StoredFiles
from pipelines.rows import event_rows
from serving.store.logged_event import Accepted, LogEntry

#: Bytes of a large event; the rows of a table, of which the first half is small.
LARGE, ROWS = 30_000, 4_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake that tests read."""
    return lake_of_large_events(tmp_path_factory.mktemp("lake"))


def lake_of_large_events(folder: Path) -> Lake:
    """A lake with a shard of small events, then of large ones."""
    lake = Lake(str(folder))
    notes = ["x" if number < ROWS // 2 else "x" * LARGE for number in range(ROWS)]
    events = [
        Accepted(f"e{number}", "track", "user:ann", name="a", properties={"note": note})
        for number, note in enumerate(notes)
    ]
    lake.append(EVENTS, event_rows([(0, LogEntry(seq, event, seq, seq)) for seq, event in enumerate(events, 1)]))
    return lake


def test_a_batch_is_bounded_by_rows_and_bytes(lake: Lake) -> None:
    """A batch has as many small rows as asked for, and of large ones fewer, so that memory is flat."""
    batches = list(lake.event_batches(lake.events_version(), 2 * PART_ROWS))

    assert sorted(seq for batch in batches for seq in batch["seq"]) == list(range(1, ROWS + 1))
    assert max(map(len, batches)) == 2 * PART_ROWS
    parts = list(lake.batches(EVENTS, {}))
    assert sum(part.num_rows for part in parts) == ROWS
    assert all(part.nbytes <= BATCH_BYTES + PART_ROWS * 3 * LARGE for part in parts)
    assert len(parts) > 2


def test_the_parts_of_a_shard_are_bounded_by_rows_and_bytes(lake: Lake) -> None:
    """A replay takes a shard in parts that leave nothing out; a row that is too large is a part by itself."""
    version = lake.events_version()

    parts = lake.shard_parts(0, 10, ROWS, version, rows_max=900, bytes_max=20 * LARGE)

    assert [after for after, _ in parts] == [10, *(upto for _, upto in parts[:-1])]
    assert parts[-1][1] == ROWS
    assert parts[0] == (10, 910)
    assert max(upto - after for after, upto in parts if after >= ROWS // 2) == 19
    assert lake.shard_parts(0, ROWS - 3, ROWS, version, 900, 1) == [(seq, seq + 1) for seq in range(ROWS - 3, ROWS)]
    assert lake.shard_parts(1, 0, 7, version, 900, 1) == [(0, 7)]


def test_a_partition_is_rewritten_in_the_memory_of_a_batch(tmp_path: Path) -> None:
    """Where memory fails a rewrite begins again with fewer rows at a time, and leaves no file of the tries before. All
    that it has in memory are some batches, however many rows the partition has."""
    lake = lake_of_large_events(tmp_path)
    partition, (before, _) = lake.partitions(EVENTS)[0], lake.size(EVENTS)
    free, greatest, tries = pa.total_allocated_bytes(), 0, 0

    def without_every_tenth(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal greatest, tries
        if batch.nbytes > 2 << 20:
            tries += 1
            raise MemoryError
        greatest = max(greatest, pa.total_allocated_bytes() - free)
        return batch.filter(pa.array([seq.as_py() % 10 != 0 for seq in batch["seq"]]))

    lake.rewrite_once(EVENTS, partition, without_every_tenth)

    assert tries > 1
    assert greatest < 12 << 20 < ROWS // 2 * LARGE, "all rows were in memory"
    assert lake.events().select("seq").collect()["seq"].sort().to_list() == [n for n in range(ROWS + 1) if n % 10]
    assert lake.size(EVENTS)[0] == before * 9 // 10
    lake.drop_files(EVENTS, 0)
    assert lake.missing_files(EVENTS) == []
    names = [path for path in StoredFiles(lake.root).under(EVENTS.name) if path.endswith("parquet")]
    assert len([name for name in names if "_delta_log" not in name]) == len(lake.open(EVENTS).file_uris())
    assert lake.shard_rows(0, 7, 12, lake.events_version())["seq"].to_list() == [8, 9, 11, 12]
