"""A copy of a lake is a version of each table, whole, however the lake changes while it is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import Transaction

from lake.copies import copy_lake
from lake.errors import LakeConflict
from lake.lake import Lake, log_app
from lake.schemas import AUDIT, EVENTS, Table
from lake.stored_files import StoredFiles
from tests.small_s3 import SmallS3


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with acts in its audit log."""
    lake = Lake(str(tmp_path / "lake"))
    for number in range(6):
        lake.append_audit({"at": number})
    return lake


def acts(root: Path | str) -> list[int]:
    """When the acts of a lake were, in order."""
    return sorted(Lake(str(root)).audit().collect()["at"].to_list())


def data_files(root: Path, table: Table) -> set[str]:
    """The names of a table's data files."""
    return {path.name for path in (root / table.name).rglob("*.parquet") if "_delta_log" not in path.parts}


@pytest.mark.parametrize("checkpoint_at", [(), (2,), (2, 4)])
def test_a_copy_reads_and_grows_as_the_lake_did(lake: Lake, tmp_path: Path, checkpoint_at: tuple[int, ...]) -> None:
    """The copy has the newest version and its transactions, with checkpoints and without, and takes the next commit."""
    seqs = lake.open(EVENTS).to_pyarrow_table()
    for upto in range(1, 6):
        lake.append(EVENTS, seqs, [Transaction(log_app(3), upto)])
        if upto in checkpoint_at:
            lake.open(EVENTS).create_checkpoint()
    lake.fix({"shards": "4"})

    files = copy_lake(lake.root, StoredFiles(str(tmp_path / "copy")))

    copy = Lake(str(tmp_path / "copy"))
    assert copy.events_version() == lake.events_version()
    assert copy.transaction_versions(None, 4) == [0, 0, 0, 5]
    assert acts(copy.root) == [0, 1, 2, 3, 4, 5]
    assert copy.fixed() == {"shards": "4"}
    copy.append_audit({"at": 6})
    assert acts(copy.root) == [0, 1, 2, 3, 4, 5, 6]
    assert all((tmp_path / "copy" / path).exists() for path in files)


def test_what_is_written_meanwhile_is_in_the_copy_whole_or_not_at_all(lake: Lake, tmp_path: Path) -> None:
    """A version is pinned once: later commits, and a later checkpoint, are not half in the copy."""

    def write(path: str) -> None:
        lake.append_audit({"at": 100})
        lake.open(AUDIT).create_checkpoint()

    copy_lake(lake.root, StoredFiles(str(tmp_path / "copy")), on_file=write)

    assert acts(tmp_path / "copy") == [0, 1, 2, 3, 4, 5]
    assert len(data_files(tmp_path / "copy", AUDIT)) == 6


def test_a_table_whose_files_a_purge_drops_meanwhile_is_copied_at_its_newest_version(
    lake: Lake, tmp_path: Path
) -> None:
    """Nothing of what the purge dropped stays in the copy."""
    copied: list[str] = []

    def purge(path: str) -> None:
        copied.append(path)
        if len(copied) == 3:
            lake.open(AUDIT).optimize.compact()
            lake.drop_files(AUDIT, 0)

    files = copy_lake(lake.root, StoredFiles(str(tmp_path / "copy")), on_file=purge)

    assert acts(tmp_path / "copy") == [0, 1, 2, 3, 4, 5]
    assert data_files(tmp_path / "copy", AUDIT) == data_files(Path(lake.root), AUDIT)
    assert len(data_files(tmp_path / "copy", AUDIT)) == 1
    assert sum(path.endswith(".parquet") and "_delta_log" not in path for path in files) == 1


def test_a_table_that_loses_files_again_and_again_is_said(lake: Lake, tmp_path: Path) -> None:
    """The copy is not tried for ever."""

    def purge(path: str) -> None:
        if path.endswith(".parquet"):
            (Path(lake.root) / path).rename(tmp_path / Path(path).name)

    with pytest.raises(LakeConflict, match="audit: files were dropped"):
        copy_lake(lake.root, StoredFiles(str(tmp_path / "copy")), on_file=purge)


def test_exports_and_strays_are_left_out(lake: Lake, tmp_path: Path) -> None:
    """Only what a version of a table names is copied."""
    for name in ("exports/people.csv", "audit/part-stray.parquet"):
        path = Path(lake.root, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"ada")

    files = copy_lake(lake.root, StoredFiles(str(tmp_path / "copy")))

    assert not any("people.csv" in path or "stray" in path for path in files)


def test_a_lake_in_an_object_store_is_copied_to_a_folder_and_back(object_store: SmallS3, tmp_path: Path) -> None:
    """The files are the same, wherever they are."""
    lake = Lake(f"s3://{object_store.bucket}/lake")
    lake.append_audit({"at": 1})

    copy_lake(lake.root, StoredFiles(str(tmp_path / "copy")))
    copy_lake(str(tmp_path / "copy"), StoredFiles(f"s3://{object_store.bucket}/back"))

    assert acts(tmp_path / "copy") == acts(f"s3://{object_store.bucket}/back") == [1]
