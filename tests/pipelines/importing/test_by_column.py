"""An import makes of many rows at once what it makes of each by itself."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.importing.by_row import chunk_rows
from pipelines.importing.chunks import chunks
from pipelines.importing.row_ids import RowIds
from pipelines.importing.terms import Columns, Reading, Terms
from tests.chance import part_of_examples

NOW = 1_800_000_000_000
COLUMNS = Columns("who", "what", "when", "key")
WITHOUT_ID = Columns("who", "what", "when")

texts = st.text(alphabet=string.ascii_letters + " é😀\"\\,\n\x00\x1f\x7f\x85\u2028'{}[]:-", max_size=6)
digits = st.one_of(
    st.from_regex(r"\A-{0,2}[0-9]{0,3}\.?[0-9]{0,4}\Z"),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=7).map(str),
    st.sampled_from(
        [
            "007",
            "1e5",
            "-1E-3",
            "+5",
            "+.5",
            "1e999",
            "9007199254740993",
            "+9007199254740993",
            "NaN",
            "nan",
            "-0",
            "-0.0",
            "0.0001",
            "0.00001",
            "1.50",
            "5.00",
            ".5",
            "5.",
            "-",
            ".",
            "+1",
            "1_0",
        ]
    ),
)
cells = st.one_of(st.sampled_from(["", "true", "false", "True", "null"]), digits, texts)
times = st.one_of(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.isoformat()),
    st.sampled_from(
        [
            "1998-07-01",
            "19980701",
            "19980701T101112.5Z",
            "1998-07-01 10:11:12+02",
            "1998-07-01 10:11:12.123 -0330",
            "1998-07-01 10:11:12 UTC",
            "1998-W27-3",
            "1700000000",
            "1700000000.25",
            "+1700000000123",
            "NaN",
            "1998-07-01T00:00:00Z",
            "1998-07-01T23:59:59.5Z",
            "1998-07-01T23:59:60Z",
            "1998-02-30T10:00:00.123Z",
            "1960-02-29T10:00:00.999Z",
            "1998-07-01 10:11",
            "1998-07-01T10:11:12.123456+02:00",
            "1998-02-30",
            "0000-01-01",
            " 1998-07-01 ",
            "yesterday",
            "",
            "-123456789",
            "1700000000123",
            "999999999999999",
            "140737488355328",
            "-140737488355327",
        ]
    ),
    st.integers(-(2**48), 2**48).map(str),
    texts,
)
ids = st.one_of(st.sampled_from(["u1", "u2", "", " ", "\u3000", "x" * 256, "x" * 257, "-"]), texts, digits)
csv_rows = st.lists(
    st.one_of(
        st.tuples(ids, ids, times, ids, cells, cells, cells).map(list),
        st.tuples(st.just("u"), st.just("bought"), st.just("1998-07-01"), st.just(""), cells, cells, cells).map(list),
        st.lists(texts, max_size=3),
    ),
    max_size=12,
)


def ids_by_line(lines: Iterable[int]) -> list[str]:
    """An id for each line."""
    return [f"line-{line}" for line in lines]


READINGS = (
    Reading(),
    Reading(time_unit="s", text=frozenset({"a", "c.d"})),
    Reading(time_unit="us", number=frozenset({"a", "b", "c.d"})),
)


def read(path: Path, columns: Columns, shift_ms: int = 5) -> None:
    """Asserts that each chunk gives the same rows and refusals as a whole and row by row."""
    for reading in READINGS:
        for chunk in chunks(path, columns.required(), 5, reading=reading):
            assert chunk.columns is not None
            in_rows = replace(chunk, columns=None)
            terms = Terms(columns, "file", shift_ms, NOW, 16, reading, RowIds("").of(chunk), "i1")
            together = chunk_rows(chunk, terms)
            one_by_one = chunk_rows(in_rows, replace(terms, made_ids=RowIds("").of(in_rows)))
            assert together.refused == one_by_one.refused
            assert set(together.events["import_id"].to_pylist()) <= {"i1"}
            assert repr(together.events.to_pylist()) == repr(one_by_one.events.to_pylist())
            assert together.events.schema == one_by_one.events.schema
            assert together.inexact == one_by_one.inexact


@part_of_examples(4)  # each is read in three ways
@given(rows=csv_rows)
@example(rows=[["u", "bought", "1998-07-01", "", "-0", "-0.0", "0.10"]])
def test_csv(tmp_path_factory: Any, rows: list[list[str]]) -> None:
    """Cells of CSV agree: numbers, booleans and texts of every look, with line breaks and quotes inside, and rows with
    too many cells or too few."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["who", "what", "when", "key", "a", 'b "q"', "c.d"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.getvalue().encode())
    read(path, COLUMNS)
    read(path, WITHOUT_ID)


floats = st.one_of(
    st.floats(),
    st.integers(-(10**6), 10**6).map(float),
    st.integers(-(10**9), 10**9).map(lambda cents: cents / 100),
    st.sampled_from([0.0, -0.0, 1e15, 1e16, 1e-3, 1e-5, 123456789012345.6, 0.1 + 0.2]),
)
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.one_of(texts, digits, st.sampled_from(["", "u1", "-"]))),
    (pa.large_string(), texts),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.int32(), st.integers(-1_000, 1_000)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), floats),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    (pa.timestamp("us"), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),
    (pa.timestamp("ms", "UTC"), st.integers(0, 2**41).map(lambda ms: datetime.fromtimestamp(ms // 1000, UTC))),
    (pa.decimal128(12, 3), st.decimals(-(10**6), 10**6, places=3)),
    (pa.decimal128(20, 0), st.decimals(-(10**18), 10**18, places=0)),
    (pa.duration("ns"), st.integers(-(10**15), 10**15)),
    (pa.timestamp("ns"), st.integers(0, 2**60)),
    (pa.time64("us"), st.times()),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["u1", "bought", "5", ""])),
    (pa.binary(), st.binary(max_size=3)),
    (pa.null(), st.none()),
    (pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=2)),
    (pa.struct([("x", pa.int64())]), st.fixed_dictionaries({"x": st.integers(0, 3)})),
]
SIMPLE = KINDS[:-2]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Columns of any type, nulls among them; ids, names and times mostly of a type that makes sense."""
    size = draw(st.integers(0, 8))
    usual = {
        "who": [*KINDS[:4], KINDS[5]],
        "what": [(pa.string(), st.sampled_from(["bought", "seen", "", " "]))] * 4 + [KINDS[2]],
        "when": [KINDS[2], KINDS[5], KINDS[8], KINDS[9], KINDS[10], (pa.string(), times)],
        "key": KINDS[:6],
    }
    columns = {}
    for name in ("who", "what", "when", "key", "a", "b"):
        rare = KINDS if draw(st.integers(0, 9)) == 0 else SIMPLE
        kind, values = draw(st.sampled_from(usual.get(name, rare)))
        columns[name] = pa.array(draw(st.lists(st.none() | values, min_size=size, max_size=size)), kind)
    return pa.table(columns)


@part_of_examples(4)  # each is read in three ways
@given(table=tables())
def test_parquet(tmp_path_factory: Any, table: pa.Table) -> None:
    """Columns of Parquet agree, of every type."""
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    pq.write_table(table, path)
    read(path, COLUMNS)
    read(path, WITHOUT_ID)


def test_nearly_all_rows_of_a_usual_file_are_read_together(tmp_path: Path) -> None:
    """Only the one strange row of a usual file is read by itself, so it does not make its neighbours slow."""
    path = tmp_path / "a.csv"
    rows = [{"who": f"u{n}", "what": "buy", "when": "1998-07-01T00:00:00Z", "paid": f"{n}.50"} for n in range(50)]
    pl.DataFrame([*rows, {**rows[0], "when": "never"}]).write_csv(path)

    (chunk,) = chunks(path, WITHOUT_ID.required(), 100)
    read_alone: list[int] = []

    def noted(places: Any) -> Any:
        read_alone.extend(places)
        return chunk.rows(places)

    made = chunk_rows(replace(chunk, rows=noted), Terms(WITHOUT_ID, "file", 0, NOW, 16, Reading(), ids_by_line))
    assert read_alone == [50]
    assert (len(made.events), [refused.line for refused in made.refused]) == (50, [52])


@pytest.mark.parametrize("is_by_column", [True, False])
def test_rows_for_which_memory_is_too_small_are_read_in_pieces(tmp_path: Path, is_by_column: bool) -> None:
    """Where memory fails the rows of a chunk are read in halves, quarters …, and become what they are all at once: bad
    rows and rows with too few cells too. A row that is too large by itself fails."""
    path = tmp_path / "a.csv"
    lines = [f"u{n},{'' if n % 7 == 3 else 'bought'},2024-01-01T00:00:00Z,k{n},{n}" for n in range(40)]
    lines = [line if n % 5 == 4 else f"{line},true" for n, line in enumerate(lines)]
    path.write_text("\n".join(["who,what,when,key,x,y", *lines]))
    terms = Terms(COLUMNS, "file", 0, NOW, 16, Reading(), ids_by_line)
    (whole,) = chunks(path, COLUMNS.required(), 100)
    whole = whole if is_by_column else replace(whole, columns=None)
    asked: list[int] = []

    def rows(places: Sequence[int]) -> Iterable[dict[str, Any]]:
        asked.append(len(places))
        if len(places) > room:
            raise MemoryError
        return whole.rows(places)

    room = 3
    made = chunk_rows(replace(whole, rows=rows), terms)
    assert asked[0] > room >= asked[-1], "it began with all rows"
    expected = chunk_rows(whole, terms)
    assert made.events.equals(expected.events) and made.refused == expected.refused
    assert (len(made.events), len(made.refused)) == (27, 13)
    room = 0
    with pytest.raises(MemoryError):
        chunk_rows(replace(whole, rows=rows), terms)
