"""The files that a command names, and what several of them share."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.lake import Lake
from pipelines.importing.chunk import ImportRefused
from pipelines.importing.found_files import found_files
from pipelines.importing.import_file import import_file
from pipelines.importing.report import Imported
from tests.pipelines.importing.test_import_file import Cut, CutLake

NOW = 1_800_000_000_000
DAY_MS = 86_400_000
HEAD = "who,what,when\n"
ROW = "ada,buy,1700000000000\n"


def imported(lake: Lake, paths: list[Path], day: int = 0, **more: Any) -> Imported:
    """Imports files with the columns who, what and when on some day."""
    at = NOW + day * DAY_MS
    return import_file(lake, paths, user_column="who", event_column="what", time_column="when", now_ms=at, **more)


def written(folder: Path, **files: str) -> list[Path]:
    """Writes CSVs with rows; returns where."""
    paths = []
    for name, rows in files.items():
        paths.append(folder / f"{name}.csv")
        paths[-1].write_text(HEAD + rows)
    return paths


def ids_of(lake: Lake) -> list[str]:
    """The ids of the rows that the lake has."""
    ids: list[str] = lake.events().collect()["event_id"].to_list()
    return ids


def test_names_are_files_folders_and_patterns(tmp_path: Path) -> None:
    """Each file once, folders in order of paths, without what is hidden or of no format; a name that is a pattern is
    the file itself where there is one."""
    for name in ("b.csv", "a.jsonl.gz", "day=1/part.parquet", "day=1/_SUCCESS", ".tmp/c.csv", ".d.csv", "x[1].csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "b.csv")

    def found(*names: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in found_files([str(tmp_path / name) for name in names])]

    assert found("") == ["a.jsonl.gz", "b.csv", "x[1].csv", "day=1/part.parquet"]
    assert found("*.csv") == ["b.csv", "x[1].csv"]
    assert found("**/part*", "b.csv", "*.csv") == ["day=1/part.parquet", "b.csv", "x[1].csv"]
    assert found("x[1].csv") == ["x[1].csv"]


@pytest.mark.parametrize("name", ["none.csv", "*.parquet", "empty"])
def test_a_name_without_files_is_refused(tmp_path: Path, name: str) -> None:
    """A pattern that fits nothing is more likely a slip than a wish for nothing."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(ImportRefused, match=r"name a file, a folder|no file to import") as refused:
        found_files([str(tmp_path / name)])
    assert name in str(refused.value)


def test_equal_rows_take_their_places_over_all_files(tmp_path: Path) -> None:
    """Three pieces with one equal row are three events, two of them with the same content; later pieces add what is
    new, in whatever order they stand, and also where one stands before those that were there."""
    lake = Lake(str(tmp_path / "lake"))
    other = "grace,buy,1700000000000\n"
    a, b, c = written(tmp_path, a=ROW, b=ROW, c=ROW + other)

    assert imported(lake, [a, b]) == Imported(2, 0, 0)
    assert imported(lake, [a, b], 1) == Imported(0, 0, 2)
    assert imported(lake, [c, b, a], 2, is_dry=True) == Imported(2, 0, 2)
    assert imported(lake, [c, b, a], 2) == Imported(2, 0, 2)
    assert imported(lake, [a, c, b], 3, rows_at_once=1) == Imported(0, 0, 4)
    (whole,) = written(tmp_path, whole=ROW * 3 + other)
    assert imported(lake, [whole], 4) == Imported(0, 0, 4)
    assert len(set(ids_of(lake))) == len(ids_of(lake)) == 4


def test_pieces_of_a_file_are_the_file(tmp_path: Path) -> None:
    """However rows are cut into files of several kinds, what is in the lake is the same."""
    chance = random.Random(16)
    rows = [{"who": f"u{chance.randrange(4)}", "what": "buy", "when": 1_700_000_000_000} for _ in range(60)]
    pl.DataFrame(rows).write_csv(tmp_path / "whole.csv")
    whole = Lake(str(tmp_path / "whole"))
    imported(whole, [tmp_path / "whole.csv"])

    pieces = []
    chance.shuffle(rows)
    for at in range(0, 60, 20):
        pieces.append(tmp_path / f"{at}.{('csv', 'jsonl', 'parquet')[at // 20]}")
        frame = pl.DataFrame(rows[at : at + 20])
        (frame.write_csv, frame.write_ndjson, frame.write_parquet)[at // 20](pieces[-1])
    lake = Lake(str(tmp_path / "pieces"))
    assert imported(lake, pieces, rows_at_once=7) == Imported(60, 0, 0)
    assert sorted(ids_of(lake)) == sorted(ids_of(whole))


def test_an_id_of_an_earlier_file_is_there_already(tmp_path: Path) -> None:
    """Overlapping exports in one command: a dry run says the same."""
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("who,what,when,no\nada,buy,1700000000000,1\nada,buy,1700000001000,2\n")
    b.write_text("who,what,when,no\nada,buy,1700000001000,2\nada,buy,1700000002000,3\n")
    lake = Lake(str(tmp_path / "lake"))
    assert imported(lake, [a, b], id_column="no", is_dry=True) == Imported(3, 0, 1)
    assert imported(lake, [a, b], id_column="no") == Imported(3, 0, 1)
    assert sorted(ids_of(lake)) == ["1", "2", "3"]


def test_several_files_that_were_cut_off_go_on(tmp_path: Path) -> None:
    """Wherever a run stops, the next one brings what is missing, and nothing twice."""
    files = written(tmp_path, a=ROW * 3, b=ROW * 3 + "grace,buy,never\n", c=ROW * 2)
    whole = Lake(str(tmp_path / "whole"))
    assert imported(whole, files, rows_at_once=2) == Imported(8, 1, 0)
    for commits in range(1, 5):
        url = str(tmp_path / f"lake{commits}")
        with pytest.raises(Cut):
            imported(CutLake(url, "events", commits), files, rows_at_once=2)
        lake = Lake(url)
        done = imported(lake, files, rows_at_once=2)
        assert (done.accepted + done.already, done.rejected) == (8, 1)
        assert sorted(ids_of(lake)) == sorted(ids_of(whole))


def test_a_refused_row_names_its_file(tmp_path: Path) -> None:
    """Line 2 of which file, else."""
    files = written(tmp_path, a=ROW, b="ada,buy,never\n")
    done = imported(Lake(str(tmp_path / "lake")), files)
    (reason,) = done.refused
    assert [(sample.file, sample.line) for sample in reason.samples] == [("b.csv", 2)]


def test_one_file_without_a_column_stops_all_before_a_row_is_in(tmp_path: Path) -> None:
    """It names the file."""
    (good,) = written(tmp_path, good=ROW)
    bad = tmp_path / "bad.csv"
    bad.write_text("who,what\nada,buy\n")
    lake = Lake(str(tmp_path / "lake"))
    with pytest.raises(ImportRefused, match=r"bad\.csv has no column when"):
        imported(lake, [good, bad])
    assert not lake.holds_events() or not ids_of(lake)
