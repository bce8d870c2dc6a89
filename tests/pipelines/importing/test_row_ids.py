"""Rows without an id are known again in another file by their source, their values and their place among equal rows."""

from __future__ import annotations

import gzip
import random
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.importing.chunks import chunks
from pipelines.importing.row_ids import RowIds

ROWS: list[dict[str, Any]] = [
    {"who": "ada", "what": "buy", "when": "2024-01-01", "paid": 2.5, "item": "pen"},
    {"who": "ada", "what": "buy", "when": "2024-01-01", "paid": 2.5, "item": "pen"},
    {"who": "ada", "what": "buy", "when": "2024-01-01", "paid": 3.0, "item": ""},
    {"who": "bob", "what": "buy", "when": "2024-01-02", "paid": None, "item": "pen"},
    {"who": "bob", "what": "buy", "when": "2024-01-02", "paid": 2.5, "item": "1:a2:bc"},
]


def named(folder: Path, name: str, rows: list[dict[str, Any]], source: str = "", rows_at_once: int = 2) -> list[str]:
    """The ids of the rows of a file, written in the format that the name says."""
    path, frame = folder / name, pl.DataFrame(rows, infer_schema_length=None)
    match name.removesuffix(".gz").rpartition(".")[2]:
        case "csv":
            path.write_text(frame.write_csv())
        case "jsonl":
            path.write_text(frame.write_ndjson())
        case _:
            frame.write_parquet(path)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    ids = RowIds(source)
    return [id for chunk in chunks(path, ["who"], rows_at_once) for id in ids.of(chunk)(chunk.lines)]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.parquet.gz"])
def test_the_order_of_rows_and_columns_and_packing_change_no_id(tmp_path: Path, name: str) -> None:
    """All rows have ids of their own, equal rows too. In any order, in chunks of any size and packed or not they are
    the same ones, and one line more is one id more."""
    ids = named(tmp_path, name.removesuffix(".gz"), ROWS)
    assert len(set(ids)) == len(ROWS)

    dice = random.Random(7)
    for _ in range(3):
        order = dice.sample(sorted(ROWS[0]), len(ROWS[0]))
        others = [{column: row[column] for column in order} for row in dice.sample(ROWS, len(ROWS))]
        assert sorted(named(tmp_path, name, others, rows_at_once=dice.randint(1, 9))) == sorted(ids)
    assert set(named(tmp_path, name, [ROWS[0], *ROWS])) > set(ids)
    assert len(set(named(tmp_path, name, [ROWS[0], *ROWS])) - set(ids)) == 1


def test_another_source_has_other_ids(tmp_path: Path) -> None:
    """Equal rows of two shops are two events: their sources tell them apart."""
    assert not {*named(tmp_path, "a.csv", ROWS, "north")} & {*named(tmp_path, "a.csv", ROWS, "south")}


def test_a_gap_in_a_column_of_whole_numbers_changes_no_other_row(tmp_path: Path) -> None:
    """Programs write a column of whole numbers as floats where a row lacks one. A column that is empty in a row is none
    for it, so a new column changes no row of before."""
    rows = [{"who": "ada", "paid": 7}, {"who": "bob", "paid": 8}]
    gap = [{"who": who, "paid": paid, "new": None} for who, paid in (("ada", 7.0), ("bob", 8.0), ("cy", None))]

    assert set(named(tmp_path, "a.parquet", gap)) > set(named(tmp_path, "a.parquet", rows))


def test_ids_are_the_same_in_every_release(tmp_path: Path) -> None:
    """Lakes hold them: with others all rows of a file that was imported before an update would go in again."""
    row = b"4:item3:pen4:paid3:2.54:what3:buy4:when10:2024-01-013:who3:ada"
    salt = blake2b(b"shop", digest_size=16).digest()
    row_hash = blake2b(row, digest_size=16, salt=salt).digest()

    expected = [row_hash.hex()[:24], blake2b(row_hash + b"1", digest_size=12).hexdigest()]
    assert named(tmp_path, "a.csv", ROWS[:2], "shop") == expected
