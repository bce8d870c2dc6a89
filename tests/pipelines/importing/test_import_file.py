"""Files of history: every format gives the same rows, a bad row stays out, and a rerun adds nothing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.lake import Lake
from pipelines.importing.chunk import ImportRefused
from pipelines.importing.chunks import chunks
from pipelines.importing.import_file import import_file
from pipelines.importing.report import Imported
from pipelines.importing.terms import Columns, Reading, identity_of
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS
from serving.times import rfc3339

NOW = 1_800_000_000_000
ROWS: list[dict[str, Any]] = [
    {
        "who": f"u{number % 7}",
        "what": "order",
        "when": 1_700_000_000_000 + number,
        "price": number / 4,
        "gift": number % 2 == 0,
    }
    for number in range(40)
]


class Cut(Exception):
    """The process was killed here."""


class CutLake(Lake):
    """A lake whose process is killed just before it commits to a table for the n-th time."""

    def __init__(self, root: str, table: str, at: int) -> None:
        super().__init__(root)
        self.table, self.left = table, at

    def append_to(self, opened: Any, rows: Any, transactions: Any = ()) -> None:
        """Commits, or is killed."""
        if f"/{self.table}" in opened.table_uri:
            self.left -= 1
            if self.left == 0:
                raise Cut
        super().append_to(opened, rows, transactions)


def imported(lake: Lake, path: Path, **more: Any) -> Imported:
    """Imports a file with the columns who, what and when."""
    return import_file(lake, path, user_column="who", event_column="what", time_column="when", now_ms=NOW, **more)


def rows(lake: Lake) -> list[dict[str, Any]]:
    """The rows of an import, without ids that depend on the file."""
    return lake.events().drop("event_id").sort("ts", "id").collect().to_dicts()


def written(folder: Path, name: str) -> Path:
    """Writes the rows in the format that the name says; returns where."""
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    heading = ",".join(ROWS[0])
    cells = "".join(",".join(json.dumps(value).strip('"') for value in row.values()) + "\n" for row in ROWS)
    match name.removesuffix(".gz"):
        case "a.jsonl":
            data = lines.encode()
        case "a.csv":
            data = f"{heading}\n{cells}".encode()
        case _:
            pl.DataFrame(ROWS).write_parquet(path.with_suffix("") if name.endswith(".gz") else path)
            data = (path.with_suffix("") if name.endswith(".gz") else path).read_bytes()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl.gz", "a.parquet", "a.parquet.gz"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    """CSV, Parquet and JSONL, gzipped or not, give the same events with the same typed properties."""
    plain, other = Lake(str(tmp_path / "plain")), Lake(str(tmp_path / "other"))
    imported(plain, written(tmp_path, "a.jsonl"))

    assert imported(other, written(tmp_path, name)) == Imported(accepted=40, rejected=0, already=0)
    assert rows(other) == rows(plain)


@pytest.mark.parametrize(("table", "at"), [("events", 1), ("events", 2), ("events", 4), ("rejected", 1)])
def test_an_import_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path, table: str, at: int) -> None:
    """A rerun completes an import that was killed before any of its commits; good and bad rows are there once."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row | ({"when": "once"} if row["price"] == 5 else {})) + "\n" for row in ROWS))
    root = str(tmp_path / "lake")
    with pytest.raises(Cut):
        imported(CutLake(root, table, at), path, rows_at_once=10)

    imported(Lake(root), path, rows_at_once=10)

    assert Lake(root).events().select("ts").collect().height == 39
    assert Lake(root).rejected().select("line").collect()["line"].to_list() == [21]
    assert imported(Lake(root), path, rows_at_once=10) == Imported(accepted=0, rejected=1, already=39)


LARGE_ROWS = [ROWS[0] | {"when": 1_700_000_000_000 + number} for number in range(1_200)]


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_chunk_of_many_bytes_is_imported_in_parts(tmp_path: Path, name: str) -> None:
    """A chunk whose rows have many bytes comes in parts, so that no more of them is in memory. A run that is cut off
    between these goes on there, and one that knows larger parts, as of a release before, adds nothing."""
    path = tmp_path / name
    frame = pl.DataFrame(LARGE_ROWS)
    {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}[name](path)
    parts = [(part.number, part.part, part.is_last_part, len(part.lines)) for part in chunks(path, (), 1_100, 1)]
    assert parts == [(1, 1, False, 512), (1, 2, False, 512), (1, 3, True, 76), (2, 1, True, 100)]
    assert [len(chunk.lines) for chunk in chunks(path, (), 1_100)] == [1_100, 100]

    for at in (1, 2, 3, 4):
        root = str(tmp_path / f"lake{at}")
        with pytest.raises(Cut):
            imported(CutLake(root, "events", at), path, rows_at_once=1_100, bytes_at_once=1)
        assert Lake(root).events().collect().height == [0, 512, 1_024, 1_100][at - 1]
        done = imported(Lake(root), path, rows_at_once=1_100, bytes_at_once=1)
        assert done.accepted + done.already == 1_200
        assert Lake(root).events().collect()["event_id"].n_unique() == Lake(root).events().collect().height == 1_200
        assert imported(Lake(root), path, rows_at_once=1_100) == Imported(0, 0, 1_200)

    with pytest.raises(Cut):
        imported(CutLake(root := str(tmp_path / "whole"), "events", 2), path, rows_at_once=1_100)
    assert imported(Lake(root), path, rows_at_once=1_100, bytes_at_once=1) == Imported(100, 0, 1_100)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"when": None}, "when"),
        ({"when": "yesterday"}, "yesterday"),
        ({"who": ""}, "userId"),
        ({"what": ""}, "Event name"),
    ],
)
def test_a_bad_row_stays_out_and_says_why(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """The line of a bad row and the reason are kept; all other rows go in."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [ROWS[0], ROWS[1] | change, ROWS[2]]))
    lake = Lake(str(tmp_path / "lake"))

    assert imported(lake, path) == Imported(accepted=2, rejected=1, already=0)
    (refused,) = lake.rejected().collect().to_dicts()
    assert (refused["line"], refused["source"]) == (2, "a.jsonl")
    assert says in refused["reason"]


def test_a_file_without_a_column_is_refused_with_those_it_has(tmp_path: Path) -> None:
    """A file that lacks a column is not imported, and the message names the columns that it has."""
    path = tmp_path / "a.csv"
    path.write_text("user,what,when\nu1,order,2024-01-01\n")

    with pytest.raises(ImportRefused, match="no column who; it has user, what, when"):
        imported(Lake(str(tmp_path / "lake")), path)


def test_equal_rows_without_an_id_are_distinct_and_with_one_they_are_not(tmp_path: Path) -> None:
    """Two purchases of the same thing at the same time are two; the same id twice is one event."""
    path = tmp_path / "a.jsonl"
    path.write_text((json.dumps(ROWS[0] | {"order": "o1"}) + "\n") * 2)
    without, by_id = Lake(str(tmp_path / "without")), Lake(str(tmp_path / "by_id"))
    imported(without, path)
    imported(by_id, path, id_column="order")

    assert without.events().collect()["event_id"].n_unique() == 2
    assert by_id.events().collect()["event_id"].unique().to_list() == ["o1"]


def test_a_shift_moves_all_times_alike(tmp_path: Path) -> None:
    """After a shift the latest event is now, and the distances between events stay."""
    lake = Lake(str(tmp_path / "lake"))
    imported(lake, written(tmp_path, "a.csv"), shift_to_now=True)

    times = lake.events().collect()["ts"].sort().to_list()
    assert times[-1] == NOW
    assert [later - times[0] for later in times] == list(range(40))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_times_that_no_calendar_has_are_refused(tmp_path: Path, name: str) -> None:
    """Times go from the year 1 to 6429, as at the API. A row beyond is refused, so every event has a time as text."""
    times = [INSTANT_MIN_MS, INSTANT_MIN_MS - 1, -100_000_000_000_000, INSTANT_MAX_MS, INSTANT_MAX_MS + 1]
    frame = pl.DataFrame({"who": "u", "what": "order", "when": times, "price": 1})
    path = tmp_path / name
    {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}[name](path)
    lake = Lake(str(tmp_path / "lake"))

    assert imported(lake, path, reading=Reading(time_unit="ms")) == Imported(accepted=2, rejected=3, already=0)
    assert [rfc3339(ts_ms) for ts_ms in lake.events().collect()["ts"].sort()] == [
        "0001-01-01T00:00:00.000Z",
        "2027-01-15T08:00:00.000Z",
    ]


@pytest.mark.parametrize(
    ("id_column", "shift_to_now", "identity"),
    [
        (None, False, "e09221354160c43ef0e05a50a9284028"),
        (None, True, "69f4099eac3617e87c865aee735d7791"),
        ("id", False, "db533d0fb1f890e82f3ca8ec8e289fe0"),
    ],
)
def test_the_identity_of_an_import_is_the_same_in_every_release(
    tmp_path: Path, id_column: str | None, shift_to_now: bool, identity: str
) -> None:
    """Lakes hold the identity. With another one a file that was imported before an update would go in again."""
    path = tmp_path / "a.csv"
    path.write_text("who,what,when\nada,buy,2024-01-01\n")

    assert identity_of(path, Columns("who", "what", "when", id_column), shift_to_now, 50_000) == identity
