"""The list of imports: what is noted of each, and what it says of one that was cut off."""

from __future__ import annotations

from pathlib import Path

from cli.imports import imports_body, imports_text
from lake.lake import Lake
from pipelines.importing.noted_imports import Note, noted_imports
from pipelines.importing.report import Imported

NOW = 1_800_000_000_000


def test_an_import_is_listed_from_its_beginning_on(tmp_path: Path) -> None:
    """It is under way until its rows are in; then it says what became of them. The newest is the first."""
    lake = Lake(str(tmp_path / "lake"))
    assert noted_imports(lake, 9) == [] and imports_text([]) == "no import is noted"

    older = Note(lake, ["a.csv", "b.csv"], {"user": "who"}, "north", NOW)
    older.begin()
    older.begin()
    (row,) = noted_imports(lake, 9)
    assert (row["state"], row["files"], row["mapping"], row["at"]) == (
        "begun",
        ["a.csv", "b.csv"],
        {"user": "who"},
        NOW,
    )
    assert "under way, or cut off" in imports_text([row]) and "a.csv, b.csv of north" in imports_text([row])

    newer = Note(lake, ["c.csv"], {}, "", NOW + 1)
    older.end(Imported(3, 2, 1))
    newer.end(Imported(0, 0, 7))
    rows = noted_imports(lake, 9)
    assert [(one["files"], one["state"], one["accepted"], one["already"], one["rejected"]) for one in rows] == [
        (["c.csv"], "done", 0, 7, 0),
        (["a.csv", "b.csv"], "done", 3, 1, 2),
    ]
    assert rows[1]["id"] == row["id"] and noted_imports(lake, 1) == rows[:1]
    assert "3 imported, 1 were there, 2 rejected" in imports_text(rows)
    assert imports_body(rows)["imports"][1]["at"] == "2027-01-15T08:00:00.000Z"


def test_a_name_of_a_file_steers_no_terminal(tmp_path: Path) -> None:
    """Files come from elsewhere, and so do their names: what does not print is written as JSON has it."""
    lake = Lake(str(tmp_path / "lake"))
    Note(lake, ["\x1b[2J\n.csv"], {}, "\x07", NOW).end(Imported(1, 0, 0))

    assert imports_text(noted_imports(lake, 9)).isprintable()
