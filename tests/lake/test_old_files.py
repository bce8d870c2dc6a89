"""Files that a table's newest version does not need go after a day: data files, and files of its log."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from lake.lake import Lake
from lake.schemas import AUDIT, RETENTION_HOURS, TABLES


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


def aged(path: Path, hours: float) -> None:
    """Makes a file look as if it had been written so long ago."""
    at = time.time() - hours * 3_600
    os.utime(path, (at, at))


def logs(lake: Lake) -> list[Path]:
    """The files of the audit table's log, by version."""
    return sorted(Path(lake.root, AUDIT.name, "_delta_log").glob("*.json"))


def test_logs_older_than_a_day_are_dropped_and_younger_versions_can_be_read(lake: Lake) -> None:
    """Old logs go after a checkpoint. A version that a reader pinned within the day can still be read."""
    for number in range(20):
        lake.append_audit({"at": number})
    lake.open(AUDIT).create_checkpoint()
    for number in range(20, 40):
        lake.append_audit({"at": number})
    for path in logs(lake)[:30]:
        aged(path, RETENTION_HOURS + 1)

    lake.drop_files(AUDIT)

    assert int(logs(lake)[0].stem) == 20, "the rest is needed for version 30, from the checkpoint before it"
    assert DeltaTable(lake.uri(AUDIT), version=30).to_pyarrow_table().num_rows == 30
    assert sorted(Lake(lake.root).audit().collect()["at"]) == list(range(40))

    for path in logs(lake)[0].parent.iterdir():
        aged(path, RETENTION_HOURS + 1)
    lake.drop_files(AUDIT)
    assert [int(path.stem) for path in logs(lake)] == [40]
    assert Lake(lake.root).audit().collect().height == 40
    lake.append_audit({"at": 40})
    assert Lake(lake.root).audit().collect().height == 41


def test_the_log_forgets_files_that_were_replaced_a_day_ago(lake: Lake) -> None:
    """The tables' properties say so. By default a checkpoint carries each replaced file for a week, tens of thousands a
    day, and each commit pays for it."""
    for table in TABLES:
        properties = lake.open(table).metadata().configuration
        durations = {properties[f"delta.{name}RetentionDuration"] for name in ("deletedFile", "log")}
        assert durations == {"interval 24 hours"}


def test_a_table_that_an_older_version_made_gets_the_properties(lake: Lake) -> None:
    """A table gets the properties once, when it is first opened. A property that somebody has set stays, and so do the
    rows."""
    DeltaTable.create(
        lake.uri(AUDIT), schema=AUDIT.columns, configuration={"delta.logRetentionDuration": "interval 2 days"}
    )
    lake.append_audit({"at": 1})
    properties = lake.open(AUDIT).metadata().configuration
    assert properties["delta.logRetentionDuration"] == "interval 2 days"
    assert properties["delta.deletedFileRetentionDuration"] == "interval 24 hours"
    assert properties["delta.dataSkippingNumIndexedCols"] == "0"

    version = lake.open(AUDIT).version()
    assert Lake(lake.root).open(AUDIT).version() == version
    assert Lake(lake.root).audit().collect()["at"].to_list() == [1]


def test_a_version_that_was_the_newest_seconds_ago_can_be_read(lake: Lake) -> None:
    """A table rests for days, and a reader pins its newest version. The next version does not take its log away,
    however old that is; a day later it goes."""
    for number in range(3):
        lake.append_audit({"at": number})
    for path in [*logs(lake), *Path(lake.root, AUDIT.name).glob("*.parquet")]:
        aged(path, RETENTION_HOURS + 20)
    lake.drop_files(AUDIT)
    pinned = lake.open(AUDIT).version()
    frame = lake.scan(AUDIT, pinned)
    for path in logs(lake):
        aged(path, RETENTION_HOURS + 20)

    lake.append_audit({"at": 3})
    lake.open(AUDIT).optimize.compact()
    lake.drop_files(AUDIT)

    assert frame.collect().height == 3
    assert DeltaTable(lake.uri(AUDIT), version=pinned).to_pyarrow_table().num_rows == 3
    for path in logs(lake):
        aged(path, RETENTION_HOURS + 1)
    lake.drop_files(AUDIT)
    assert int(logs(lake)[0].stem) == lake.open(AUDIT).version()
