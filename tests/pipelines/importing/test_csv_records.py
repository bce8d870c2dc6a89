"""The rows of a CSV are found whatever stands in it, and whole blocks give what one row at a time gives."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.importing.csv_records import (
    CELL_CHARACTERS_MAX,
    FINE,
    LONE_QUOTE,
    LONG_CELL,
    LONG_ROW,
    NOT_TEXT,
    OPEN_QUOTE,
    ROW_BYTES_MAX,
    records,
)
from tests.chance import part_of_examples


class Row(NamedTuple):
    """A row: the line in which it begins, its text, its cells and its fault."""

    line: int
    text: bytes
    cells: int
    fault: int


def found(data: bytes, *, has_quotes: bool = True, block_bytes: int = 1 << 20) -> list[Row]:
    """The rows of a file that is read in blocks."""
    file = io.BytesIO(data)
    return [
        Row(int(part.lines[at]), part.text(at), int(part.cells[at]), int(part.faults[at]))
        for part in records(file.read, ",", has_quotes=has_quotes, block_bytes=block_bytes)
        for at in range(len(part))
    ]


def one_by_one(data: bytes) -> list[Row]:
    """The rows, found by looking at one character after the other."""
    if data and not data.endswith(b"\n"):
        data += b"\n"
    rows, start = [], 0
    while start < len(data):
        at, cells, state, fault = start, 1, "begin", FINE
        while True:
            character = data[at : at + 1]
            rest = data[at : at + 2]
            if state == "quoted":
                if not character:
                    fault = OPEN_QUOTE
                    break
                if rest == b'""':
                    at += 1
                elif character == b'"':
                    state = "closed"
            elif character == b"\n":
                break
            elif character == b",":
                cells, state = cells + 1, "begin"
            elif state == "closed":
                if rest != b"\r\n":
                    fault = LONE_QUOTE
                    break
            elif character == b'"':
                if state == "plain":
                    fault = LONE_QUOTE
                    break
                state = "quoted"
            else:
                state = "plain"
            at += 1
        if fault != FINE:
            at, cells = data.index(b"\n", start), 1
        text = data[start:at].removesuffix(b"\r")
        try:
            text.decode()
        except UnicodeDecodeError:
            fault = NOT_TEXT
        if text:
            rows.append(Row(data.count(b"\n", 0, start) + 1, text, cells, fault))
        start = at + 1
    return rows


files = st.lists(
    st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b'"a,b\nc"', b'x"y', "é".encode(), b"\xe9"]),
    max_size=30,
).map(b"".join)


@part_of_examples(2)
@given(data=files, block_bytes=st.integers(1, 12))
@example(data=b'a,"b\nc,d\ne,"f\n', block_bytes=3)
@example(data=b'a"\r', block_bytes=1)
@example(data=b'"a"\r', block_bytes=100)
def test_blocks_give_what_one_character_after_the_other_gives(data: bytes, block_bytes: int) -> None:
    """Every row, its line, its cells and its fault are the same, however the file is cut into blocks."""
    expected = one_by_one(data)
    assert found(data) == expected
    assert found(data, block_bytes=block_bytes) == expected


@part_of_examples(4)
@given(rows=st.lists(st.lists(st.text('ab,"\n\ré', max_size=5), min_size=2, max_size=4), max_size=8))
def test_what_a_csv_writer_writes_has_no_faults(rows: list[list[str]]) -> None:
    """The rows of a well-formed file are all fine, with as many cells as were written."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    rows_found = found(text.getvalue().encode(), block_bytes=7)
    assert [(row.cells, row.fault) for row in rows_found] == [(len(row), FINE) for row in rows]
    assert [next(csv.reader(io.StringIO(row.text.decode(), newline=""))) for row in rows_found] == rows


def test_a_quote_that_is_never_closed_costs_its_own_line() -> None:
    """The rows behind it go in: a reader that believes the quote swallows them all."""
    lines = [b"u%d,order,%d" % (n, n) for n in range(20_000)]
    lines[3] = b'u3,"order,3'
    rows = found(b"\n".join(lines))
    assert [(row.line, row.fault) for row in rows if row.fault] == [(4, OPEN_QUOTE)]
    assert len(rows) == 20_000


@pytest.mark.parametrize("block_bytes", [1 << 20, 1 << 22])
@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"u,order," + b"x" * CELL_CHARACTERS_MAX, FINE),
        (b"u,order," + b"x" * (CELL_CHARACTERS_MAX + 1), LONG_CELL),
        (b"u,order," + "é".encode() * CELL_CHARACTERS_MAX, FINE),
        (b'u,"' + b"y\n" * CELL_CHARACTERS_MAX, OPEN_QUOTE),
        (b"u,order," + b"x," * (ROW_BYTES_MAX // 2 + 1), LONG_ROW),
        (b"u,order," + b"x" * (3 * ROW_BYTES_MAX), LONG_ROW),
    ],
)
def test_long_cells_and_rows_have_a_bound(row: bytes, fault: int, block_bytes: int) -> None:
    """A cell of more characters, and a row of more bytes, is refused, and the rows around it stand."""
    rows = found(b"u1,order,1\n" + row + b"\nu2,order,2\n", block_bytes=block_bytes)
    assert [(one.line, one.fault) for one in rows if one.fault] == ([(2, fault)] if fault else [])
    assert (rows[0].text, rows[-1].text) == (b"u1,order,1", b"u2,order,2")
    assert rows[-1].line == row.count(b"\n") + 3


def test_without_quotes_a_quote_is_a_character() -> None:
    """Exports of some databases quote nothing."""
    assert [(row.text, row.fault) for row in found(b'5" pipe,"\n"a,b\n', has_quotes=False)] == [
        (b'5" pipe,"', FINE),
        (b'"a,b', FINE),
    ]
