"""Files as people have them: what cannot be read is refused by its line with a reason, and the rest goes in."""

from __future__ import annotations

import codecs
import gzip
import io
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.chunk import BYTES_AT_ONCE, ImportRefused
from pipelines.importing.import_file import import_file
from pipelines.importing.jsonl_file import JsonlFile
from pipelines.importing.report import Imported
from pipelines.importing.terms import Reading

NOW = 1_800_000_000_000
HEADING = b"who,what,when,note\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


def imported(lake: Lake, path: Path, **reading: Any) -> Imported:
    """Imports a file with the columns who, what and when."""
    names = {"user_column": "who", "event_column": "what", "time_column": "when"}
    return import_file(lake, path, **names, reading=Reading(**reading), now_ms=NOW)


def row(number: int, note: bytes = b"fine") -> bytes:
    """A row of the usual file."""
    return b"u%d,order,2024-01-01T00:00:00Z,%s\n" % (number, note)


def written(tmp_path: Path, data: bytes, name: str = "a.csv") -> Path:
    """Writes a file."""
    path = tmp_path / name
    path.write_bytes(data)
    return path


def stored(lake: Lake) -> pl.DataFrame:
    """All rows, by the order of their users."""
    return pl.DataFrame(pl.from_arrow(lake.open(EVENTS).to_pyarrow_table())).sort("id")


def properties(lake: Lake) -> list[dict[str, Any] | None]:
    """The properties of all events, by the order of their users."""
    found = stored(lake)["properties"].to_list()
    return [None if text is None else json.loads(text) for text in found]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (row(9, b"caf\xe9"), "--encoding cp1252 would read it as"),
        (b"u\xff9,order,2024-01-01T00:00:00Z,x\n", "not utf-8"),
        (row(9, b"x" * 131_073), "131,072 characters"),
        (row(9, b"1,2"), "5 cells under 4 names"),
        (b"u9,order\n", "2 cells under 4 names"),
        (row(9, b'5" pipe'), "a quote stands alone"),
        (row(9, b'"pipe'), "a quote is never closed"),
        (row(9, b'"pipe"s'), "a quote stands alone"),
        (b"u9,order,yesterday,x\n", "'yesterday' is no time"),
        (b"u9,order,1700000000,x\n", "--time-unit"),
        (b",order,2024-01-01,x\n", "identifier"),
    ],
)
def test_a_row_that_cannot_be_read_costs_no_other_row(lake: Lake, tmp_path: Path, fault: bytes, says: str) -> None:
    """The line is refused with its number, its text and the reason; all rows before it and behind it go in."""
    path = written(tmp_path, HEADING + b"".join(map(row, range(3))) + fault + b"".join(map(row, range(3, 6))))

    done = imported(lake, path)

    assert done == Imported(accepted=6, rejected=1, already=0)
    (reason,) = done.refused
    assert (reason.rows, reason.samples[0].line) == (1, 5)
    assert says in reason.samples[0].reason
    (kept,) = lake.rejected().collect().to_dicts()
    assert (kept["source"], kept["line"], says in kept["reason"]) == ("a.csv", 5, True)
    assert kept["field"] and kept["remedy"], "`tinycdp rejected` tells reasons apart by these"
    assert imported(lake, path) == Imported(accepted=0, rejected=1, already=6)
    assert lake.rejected().collect().height == 1


def test_a_row_over_several_lines_says_which(lake: Lake, tmp_path: Path) -> None:
    """A cell may have ends of lines. Of a row with too many cells the message names all of its lines."""
    path = written(tmp_path, HEADING + row(1, b'"two\nlines"') + row(2, b'"a\nb\nc",more') + row(3))
    done = imported(lake, path)
    assert (done.accepted, done.rejected) == (2, 1)
    assert "in lines 4 to 6" in done.refused[0].samples[0].reason
    assert properties(lake) == [{"note": "two\nlines"}, {"note": "fine"}]


@pytest.mark.parametrize(
    ("data", "reading"),
    [
        (codecs.BOM_UTF8 + (HEADING + row(1, b"caf\xc3\xa9")), {}),
        ((HEADING + row(1, b"caf\xc3\xa9")).decode().encode("utf-16"), {}),
        (codecs.BOM_UTF16_BE + (HEADING + row(1, b"caf\xc3\xa9")).decode().encode("utf-16-be"), {}),
        ((HEADING + row(1, b"caf\xc3\xa9")).decode().encode("utf-32"), {}),
        (HEADING + row(1, b"caf\xe9"), {"encoding": "cp1252"}),
        (HEADING.replace(b",", b";") + row(1, b"caf\xc3\xa9").replace(b",", b";"), {}),
        (HEADING.replace(b",", b"\t") + row(1, b"caf\xc3\xa9").replace(b",", b"\t"), {}),
        (HEADING.replace(b",", b"|") + row(1, b"caf\xc3\xa9").replace(b",", b"|"), {}),
        (b'"sep=;"\r\n' + HEADING.replace(b",", b";") + row(1, b"caf\xc3\xa9").replace(b",", b";"), {}),
        (HEADING.replace(b",", b"^") + row(1, b"caf\xc3\xa9").replace(b",", b"^"), {"delimiter": "^"}),
        ((HEADING + row(1, b"caf\xc3\xa9")).replace(b"\n", b"\r\n"), {}),
        ((HEADING + row(1, b"caf\xc3\xa9")).replace(b"\n", b"\r"), {}),
    ],
)
def test_a_file_is_read_in_its_own_way(lake: Lake, tmp_path: Path, data: bytes, reading: dict[str, Any]) -> None:
    """A byte order mark decides the encoding, the heading the delimiter; what neither says is said by an option."""
    assert imported(lake, written(tmp_path, data), **reading).accepted == 1
    assert properties(lake) == [{"note": "café"}]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_that_was_found_is_said(lake: Lake, tmp_path: Path, delimiter: str) -> None:
    """A file whose cells hold commas too is read by the delimiter of its heading."""
    data = HEADING.decode().replace(",", delimiter) + delimiter.join(["u1", "order", "2024-01-01", "a,b,c,d,e"])
    done = imported(lake, written(tmp_path, data.encode()))
    assert properties(lake) == [{"note": "a,b,c,d,e"}]
    assert {";": "semicolon", "\t": "tab", "|": "bar"}[delimiter] in done.read_as


def test_a_byte_that_the_encoding_lacks_is_refused_alone(lake: Lake, tmp_path: Path) -> None:
    """cp1252 has no 0x81; the rows around it go in."""
    done = imported(lake, written(tmp_path, HEADING + row(1) + row(2, b"\x81") + row(3)), encoding="cp1252")
    assert (done.accepted, done.rejected, done.refused[0].samples[0].line) == (2, 1, 3)


@pytest.mark.parametrize(
    ("data", "reading", "says"),
    [
        (b"who,what,when,note,note\n", {}, "two columns note"),
        (b"who,what,when,,\n", {}, "columns 4, 5 have no name"),
        (b"", {}, "is empty"),
        (b"\n\n", {}, "is empty"),
        (HEADING.decode().encode("utf-16-le"), {}, "--encoding utf-16-le"),
        (HEADING.decode().encode("utf-16-be"), {}, "--encoding utf-16-be"),
        (HEADING, {"encoding": "klingon"}, "klingon is not known"),
        (HEADING, {"encoding": "base64"}, "base64 is not known"),
        (HEADING, {"delimiter": '"'}, "--delimiter"),
        (b'who,"what,when\nu1,order,2024-01-01\n', {}, "the heading cannot be read"),
        (HEADING, {"text": frozenset({"nope"})}, "no column nope for --text"),
        (HEADING, {"text": frozenset({"who"})}, "ids and names of events are text"),
        (HEADING, {"text": frozenset({"note"}), "number": frozenset({"note"})}, "by --text or by --number"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_says_the_remedy(
    lake: Lake, tmp_path: Path, data: bytes, reading: dict[str, Any], says: str
) -> None:
    """Nothing of it is imported, and the message names what to do."""
    with pytest.raises(ImportRefused, match=says):
        imported(lake, written(tmp_path, data), **reading)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.jsonl.gz"])
def test_a_file_that_was_cut_off_is_refused_before_any_of_it_is_in(lake: Lake, tmp_path: Path, name: str) -> None:
    """The whole file would be another import, and its rows would count twice."""
    whole = HEADING + b"".join(row(number, b"%d" % (number * 7919)) for number in range(20_000))
    if name.startswith("a.jsonl"):
        whole = b'{"who": "u", "what": "order", "when": "2024-01-01"}\n' * 20_000
    packed = gzip.compress(whole) if name.endswith("gz") else pa.Codec("zstd").compress(whole, asbytes=True)
    assert imported(lake, written(tmp_path, packed, f"whole.{name}")).accepted == 20_000
    with pytest.raises(ImportRefused, match="cut off"):
        imported(lake, written(tmp_path, packed[: len(packed) // 2], name))
    assert lake.events().collect().height == 20_000


def test_cells_that_mean_absent_and_numbers_of_every_look(lake: Lake, tmp_path: Path) -> None:
    """An empty cell and a NaN are absent, 1e3 and +5 are numbers, and digits behind a zero are text."""
    data = b"who,what,when,a,b,c,d,e\nu1,order,2024-01-01,,NaN,1e3,+5,007\nu2,order,2024-01-01,nan,-1.5E-2,1e999,+,5.\n"
    imported(lake, written(tmp_path, data))
    assert properties(lake) == [{"c": 1000, "d": 5, "e": "007"}, {"b": -0.015, "c": "1e999", "d": "+", "e": "5."}]


def test_columns_are_forced_to_text_and_to_numbers(lake: Lake, tmp_path: Path) -> None:
    """`--text` keeps all digits, `--number` takes leading zeros and refuses what is no number."""
    data = b"who,what,when,order,zip\nu1,order,2024-01-01,9007199254740993,007\nu2,order,2024-01-01,true,x\n"
    done = imported(lake, written(tmp_path, data), text=frozenset({"order"}), number=frozenset({"zip"}))
    assert properties(lake) == [{"order": "9007199254740993", "zip": 7}]
    assert (done.rejected, done.refused[0].reason) == (1, "zip: write a number, or import the column by --text")
    assert done.inexact == {}


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_whole_numbers_that_no_float_holds_are_warned_of(lake: Lake, tmp_path: Path, name: str) -> None:
    """The property, the line and the digits are told."""
    rows = [{"who": f"u{at}", "what": "order", "when": "2024-01-01", "order": 2**53 - 1 + at} for at in range(4)]
    if name == "a.csv":
        data = b"who,what,when,order\n" + b"".join(f"{','.join(map(str, one.values()))}\n".encode() for one in rows)
        path = written(tmp_path, data)
    elif name == "a.jsonl":
        path = written(tmp_path, "".join(json.dumps(one) + "\n" for one in rows).encode(), name)
    else:
        path = tmp_path / name
        pq.write_table(pa.Table.from_pylist(rows), path)
    (found,) = imported(lake, path).inexact.items()
    assert found[0] == "order"
    assert (found[1].count, found[1].value) == (3, str(2**53))
    assert found[1].line == (3 if name == "a.csv" else 2)
    other = Lake(str(tmp_path / "other"))
    assert imported(other, path, text=frozenset({"order"})).inexact == {}
    assert properties(other) == [{"order": str(2**53 - 1 + at)} for at in range(4)]


@pytest.mark.parametrize(
    ("value", "unit", "original_ms"),
    [
        ("2023-11-14T22:13:20Z", None, 1_700_000_000_000),
        ("2023-11-14T22:13:20.5+02:00", None, 1_699_992_800_500),
        ("20231114T221320Z", None, 1_700_000_000_000),
        ("20231114", None, 1_699_920_000_000),
        ("2023-11-14", None, 1_699_920_000_000),
        ("2023-11-14 22:13:20+00", None, 1_700_000_000_000),
        ("2023-11-14 22:13:20.123456+05:30", None, 1_699_980_200_123),
        ("2023-11-14 22:13:20 UTC", None, 1_700_000_000_000),
        ("2023-11-14 22:13:20.000 +0000", None, 1_700_000_000_000),
        ("1700000000000", None, 1_700_000_000_000),
        ("1700010110000", None, 1_700_010_110_000),
        ("1700000000", "s", 1_700_000_000_000),
        ("1700000000.25", "s", 1_700_000_000_250),
        ("1700000000000000", "us", 1_700_000_000_000),
        ("1700000000000000000", "ns", 1_700_000_000_000),
        ("0", "s", 0),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_times(lake: Lake, tmp_path: Path, name: str, value: str, unit: Any, original_ms: int) -> None:
    """Each form that exports write is the instant that it names."""
    text = f"who,what,when\nu1,order,{value}\n"
    if name == "a.jsonl":
        number = value.replace(".", "", 1).isdigit() and value != "20231114"
        text = f'{{"who": "u1", "what": "order", "when": {value if number else json.dumps(value)}}}\n'
    done = imported(lake, written(tmp_path, text.encode(), name), time_unit=unit)
    assert done.refused == []
    assert stored(lake)["original_ts"].to_list() == [original_ms]


@pytest.mark.parametrize("value", ["1700000000", "0", "-5", "2023", "1700000000000000", "1700000000000000000"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_numbers_that_may_be_another_unit_are_refused_with_the_remedy(
    lake: Lake, tmp_path: Path, name: str, value: str
) -> None:
    """A number that is no time from 1990 on in milliseconds is more likely another unit."""
    path = written(tmp_path, f"who,what,when\nu1,order,{value}\n".encode(), "a.csv")
    if name == "a.jsonl":
        path = written(tmp_path, f'{{"who": "u1", "what": "order", "when": {value}}}'.encode(), name)
    if name == "a.parquet":
        path = tmp_path / name
        pq.write_table(pa.table({"who": ["u1"], "what": ["order"], "when": [int(value)]}), path)
    done = imported(lake, path)
    assert (done.accepted, done.rejected) == (0, 1)
    assert "--time-unit s" in done.refused[0].reason


def test_values_of_parquet(lake: Lake, tmp_path: Path) -> None:
    """Decimals are numbers, durations seconds, dates ISO text, dictionaries their values, and nesting stays."""
    size = 2
    table = pa.table(
        {
            "who": pa.array(["u1", "u2"]).dictionary_encode(),
            "what": pa.array(["order"] * size).dictionary_encode(),
            "when": pa.array([1_700_000_000_000_000_001] * size, pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("12.50"), Decimal("-0.01")], pa.decimal128(10, 2)),
            "units": pa.array([Decimal(7), None], pa.decimal128(38, 0)),
            "day": pa.array([date(2024, 2, 29), None]),
            "at": pa.array([datetime(2024, 2, 29, 1, 2, 3), None], pa.timestamp("ns")),
            "took": pa.array([timedelta(minutes=1.5), None], pa.duration("ns")),
            "kind": pa.array(["a", None]).dictionary_encode(),
            "rate": pa.array([float("nan"), 0.5]),
            "item": pa.array([{"sku": "x", "price": {"net": Decimal("1.5")}}, None]),
            "tags": pa.array([["a", "b"], []]),
            "more": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    assert imported(lake, path) == Imported(2, 0, 0)
    assert properties(lake) == [
        {
            "price": 12.5,
            "units": 7,
            "day": "2024-02-29",
            "at": "2024-02-29T01:02:03",
            "took": 90,
            "kind": "a",
            "item": {"sku": "x", "price": {"net": 1.5}},
            "tags": ["a", "b"],
            "more": {"k": 1},
        },
        {"price": -0.01, "rate": 0.5, "tags": []},
    ]


def test_a_text_of_parquet_that_is_no_text_is_refused_alone(lake: Lake, tmp_path: Path) -> None:
    """Parquet does not check its texts; the row with a byte that is no UTF-8 stays out."""
    notes = pa.array([b"fine", b"caf\xe9", b"good"]).view(pa.string())
    table = pa.table({"who": ["u1", "u2", "u3"], "what": ["order"] * 3, "when": ["2024-01-01"] * 3, "note": notes})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    done = imported(lake, path)
    assert (done.accepted, done.rejected, done.refused[0].samples[0].line) == (2, 1, 2)
    assert "note: byte 0xe9 at place 4" in done.refused[0].samples[0].reason


@pytest.mark.parametrize("line", [b'{"who": "u", "rate": NaN}', b"[1]", b"{", b'{"who": "\xff"}', b"x" * (5 << 20)])
def test_a_bad_line_of_json_costs_no_other_line(lake: Lake, tmp_path: Path, line: bytes) -> None:
    """A line that is no object of JSON is refused, as the API refuses it, and no other."""
    good = b'{"who": "u1", "what": "order", "when": "2024-01-01"}\n'
    done = imported(lake, written(tmp_path, good + line + b"\n" + 2 * good, "a.jsonl"))
    assert (done.accepted, done.rejected, done.refused[0].samples[0].line) == (3, 1, 2)


def test_names_of_json_lines_are_looked_for_in_bounded_memory() -> None:
    """Of rows that are large, fewer are held than of small ones; none of them is lost."""
    line = b'{"note": "%s"}\n' % (b"x" * (1 << 20))
    file = io.BytesIO(40 * line)
    opened = JsonlFile(file, Reading())
    assert (opened.names, file.tell() < BYTES_AT_ONCE + (4 << 20)) == (["note"], True)
    assert sum(len(chunk.lines) for chunk in opened.chunks(50_000, BYTES_AT_ONCE)) == 40


def test_a_dry_run_says_what_would_go_in_and_writes_nothing(lake: Lake, tmp_path: Path) -> None:
    """Events by name, properties by kind, the first and the last time, and what would be refused."""
    rows = [b"u1,order,2024-01-02,5,true", b"u2,order,2024-01-03,x,", b"u3,seen,2024-01-01,,", b"u4,seen,?,,"]
    path = written(tmp_path, b"\n".join([b"who,what,when,price,gift", *rows]))

    def dry() -> Imported:
        names = {"user_column": "who", "event_column": "what", "time_column": "when"}
        return import_file(lake, path, **names, now_ms=NOW, is_dry=True)

    done = dry()
    assert done == Imported(accepted=3, rejected=1, already=0)
    assert done.preview is not None
    assert done.preview.events == {"order": 2, "seen": 1}
    assert done.preview.properties == {"price": {"number": 1, "string": 1}, "gift": {"boolean": 1}}
    assert (done.preview.first_ms, done.preview.last_ms) == (1_704_067_200_000, 1_704_240_000_000)
    assert (stored(lake).height, lake.rejected().collect().height) == (0, 0)
    imported(lake, path)
    assert dry() == Imported(accepted=0, rejected=1, already=3)
