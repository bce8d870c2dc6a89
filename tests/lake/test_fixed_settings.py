"""The file of the settings that are fixed for good, beside the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.errors import LakeDamaged
from lake.lake import Lake
from lake.storage import FIXED

SETTINGS = {"shards": "16", "time_zone": "Europe/Berlin"}


def test_the_first_note_stands(tmp_path: Path) -> None:
    """Who comes second is told what is noted."""
    lake = Lake(str(tmp_path))

    assert lake.fix(SETTINGS) == SETTINGS
    assert lake.fix({"shards": "4"}) == lake.fixed() == SETTINGS


@pytest.mark.parametrize("damage", [b"", b'{"shards":"16","time_', b"\x00" * 20, b"\xff{}", b"[]", b'{"shards":16}'])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, damage: bytes) -> None:
    """A file that a full disk cut off stops what needs it, in one line that says what to do; then all goes on."""
    lake = Lake(str(tmp_path))
    lake.fix(SETTINGS)
    (tmp_path / FIXED).write_bytes(damage)

    for read in (lake.fixed, lambda: lake.fix(SETTINGS)):
        with pytest.raises(LakeDamaged, match=r"system\.json is damaged .*backup.*TINYCDP_SHARDS") as error:
            read()
        assert "\n" not in str(error.value)

    (tmp_path / FIXED).unlink()
    assert lake.fix(SETTINGS) == SETTINGS
