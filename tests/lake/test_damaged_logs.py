"""Files of a table's log are told damaged where they are, and not where somebody writes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lake.damaged_logs import READ_LOOKED_AT_MAX, damaged_log_files
from lake.lake import Lake
from lake.schemas import AUDIT
from lake.stored_files import StoredFiles


class CheckpointMeanwhile(StoredFiles):
    """The files of a lake in which somebody makes a checkpoint just after they were listed for the first time."""

    lake: Lake | None = None

    def under(self, prefix: str = "") -> Iterator[str]:
        """The files as they were before the checkpoint."""
        yield from list(super().under(prefix))
        if self.lake is not None:
            self.lake.open(AUDIT).create_checkpoint()
            self.lake = None


def test_a_checkpoint_that_is_made_meanwhile_is_no_damage(tmp_path: Path) -> None:
    """The note names a checkpoint that was not there when the files were listed. It is there by now, or it is told."""
    lake = Lake(str(tmp_path / "lake"))
    lake.append_audit({"at": 1})
    lake.open(AUDIT).create_checkpoint()
    lake.append_audit({"at": 2})
    files = CheckpointMeanwhile(lake.root)
    files.lake = lake
    log = Path(lake.root, AUDIT.name, "_delta_log")
    before = set(log.glob("*.checkpoint*"))

    assert damaged_log_files(files, AUDIT, READ_LOOKED_AT_MAX) == []

    (made,) = set(log.glob("*.checkpoint*")) - before
    made.unlink()
    assert damaged_log_files(files, AUDIT, READ_LOOKED_AT_MAX) == [f"{AUDIT.name}/_delta_log/_last_checkpoint"]
