"""History from a file into the lake: CSV, Parquet or JSONL, gzipped or not.

    file  →  chunks of rows as Python values  →  events, or a reason  →  rows of `events` and of `rejected`

Each chunk is one commit with a transaction named by the file's content and the mapping of its columns, so a run that
was cut off goes on where it stopped and a rerun adds nothing. Imported rows have no seq: they are outside the log.
"""

from __future__ import annotations

import csv
import gc
import gzip
import io
import math
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Transaction

from expressions.rules.properties import event_fields, typed
from expressions.rules.values import instant_ms
from lake.errors import LakeConflict
from lake.lake import Lake
from lake.schemas import EVENTS, REJECTED, Table
from pipelines.import_columns import NUMBER, Names, Told, cell_number, instants, plain_rows
from serving import ids
from serving.ingest.accept import Limits, accept
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS
from serving.refusals import Invalid

ROWS_AT_ONCE = 50_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ATTEMPTS = 10
_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}

#: Called with how many rows are done, and of how many where that is known.
Progress = Callable[[int, int | None], None]
_NUMBER = re.compile(NUMBER.removesuffix("$") + r"\Z")


class ImportRefused(ValueError):
    """The file cannot be imported as a whole; the message ends with the remedy."""


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file. `already` were in the lake from an earlier run."""

    accepted: int
    rejected: int
    already: int


@dataclass(frozen=True)
class Columns:
    """Which column says what; all others become properties."""

    user: str
    event: str
    time: str
    id: str | None = None

    def required(self) -> list[str]:
        """The columns that a file must have."""
        return [self.user, self.event, self.time, *([self.id] if self.id else [])]


def import_file(
    lake: Lake,
    path: Path,
    *,
    user_column: str,
    event_column: str,
    time_column: str,
    id_column: str | None = None,
    shift_to_now: bool = False,
    now_ms: int,
    shards: int = ids.SHARDS_DEFAULT,
    progress: Progress = lambda done, total: None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Imported:
    """Imports a file; returns when its rows are in the lake. Raises `ImportRefused`, `LakeError`.

    `now_ms` is the receipt of all rows, and no event is later. `shift_to_now` adds one span of time to all, such that
    the latest is `now_ms`.
    """
    columns = Columns(user_column, event_column, time_column, id_column)
    identity = _identity(path, columns, shift_to_now, rows_at_once)
    total, first_names = _shape(path)
    missing = [name for name in columns.required() if name not in first_names]
    if missing:
        raise ImportRefused(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(first_names)}: name them by "
            "--user, --event, --time and --id"
        )
    shift_ms = now_ms - _latest_ms(path, columns, now_ms) if shift_to_now else 0
    accepted = rejected = already = 0
    done = 0
    chunk = 0
    with closing(_chunks(path, columns.required(), rows_at_once)) as chunks:
        for some in chunks:
            chunk += 1
            good, bad = _read(some, columns, identity, shift_ms, now_ms, shards)
            # What is refused first: a run that is cut off in between repeats neither.
            refused = [{"received_at": now_ms, "source": path.name, **row} for row in bad]
            reasons = pa.Table.from_pylist(refused, schema=REJECTED.columns)
            rejected += len(bad) if _append(lake, REJECTED, identity, chunk, reasons) else 0
            if _append(lake, EVENTS, identity, chunk, good):
                accepted += len(good)
            else:
                already += len(good)
            done += len(some.lines)
            progress(done, total)
    return Imported(accepted, rejected, already)


def _append(lake: Lake, table: Table, identity: str, chunk: int, rows: pa.Table) -> bool:
    """Commits a chunk's rows of a table, unless an earlier run did."""
    app = f"import/{identity}"
    for _ in range(ATTEMPTS):
        opened = lake.open(table)
        if (opened.transaction_version(app) or 0) >= chunk:
            return False
        try:
            lake.append_to(opened, rows, [Transaction(app, chunk)])
            return True
        except LakeConflict:
            continue
    raise LakeConflict(f"{app}: other imports of the same file were first {ATTEMPTS} times")


def _identity(path: Path, columns: Columns, shift_to_now: bool, rows_at_once: int) -> str:
    """Names this file read this way, by its content: a copy under another name is the same."""
    digest = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    digest.update(repr((columns, shift_to_now, rows_at_once)).encode())
    return digest.hexdigest()


# ── rows to events ───────────────────────────────────────────────────────────────────────────────────────────────


def _read(
    chunk: Chunk, columns: Columns, identity: str, shift_ms: int, now_ms: int, shards: int
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Rows of `events` in the order of the file, and what is refused."""
    plain, is_plain = EVENTS.columns.empty_table(), np.zeros(len(chunk.lines), dtype=bool)
    if chunk.columns is not None:
        names = Names(columns.user, columns.event, columns.time, columns.id)
        told = Told(identity, shift_ms, now_ms, shards)
        plain, is_plain = plain_rows(chunk.columns, chunk.lines, names, told, are_cells=chunk.are_cells)
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    at_good: list[int] = []
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    skipped = {columns.user, columns.event, columns.time, columns.id}
    left = np.flatnonzero(~is_plain).tolist()
    for at, row in zip(left, chunk.rows(left), strict=True):
        line = chunk.lines[at]
        try:
            good.append(_event(line, row, columns, skipped, identity, shift_ms, now_ms, shards, today))
            at_good.append(at)
        except Invalid as refusal:
            text = msgspec.json.encode(row, enc_hook=str)[:4_096].decode("utf-8", "replace")
            bad.append({"line": line, "code": refusal.code, "reason": refusal.message, "event": text})
    if not good:
        return plain, bad
    both = pa.concat_tables([plain, pa.Table.from_pylist(good, schema=EVENTS.columns)])
    order = np.argsort(np.concatenate([np.flatnonzero(is_plain), np.array(at_good, dtype=np.int64)]), kind="stable")
    return both.take(pa.array(order)), bad


def _event(
    line: int,
    row: dict[str, Any],
    columns: Columns,
    skipped: set[str | None],
    identity: str,
    shift_ms: int,
    now_ms: int,
    shards: int,
    today: date,
) -> dict[str, Any]:
    """A row of `events`. Raises `Invalid` with what is wrong with the row."""
    if row.get("__error__"):
        raise Invalid(row["__error__"])
    time = row.get(columns.time)
    if time is None or time == "":
        raise Invalid(f"{columns.time}: there is no time", {"field": columns.time})
    given_ms = _time_ms(time, columns.time)
    properties = {name: _plain(value) for name, value in row.items() if name not in skipped}
    properties = {name: value for name, value in properties.items() if value is not None and value != ""}
    event = accept(
        {
            "userId": _id_text(row.get(columns.user)),
            "event": row.get(columns.event),
            "messageId": str(row[columns.id]) if columns.id and row.get(columns.id) not in (None, "") else "-",
            "properties": properties,
        },
        Limits(),
        "track",
    )
    event_id = event.event_id
    if event_id == "-":
        event_id = blake2b(f"{identity}:{line}".encode(), digest_size=12).hexdigest()
    fields = event_fields(properties)
    return {
        "ingest_date": today,
        "shard": ids.shard_of(event.id, shards),
        "seq": None,
        "event_id": event_id,
        "kind": event.kind,
        "id_kind": "user",
        "id": event.id,
        "user_id": event.user_id,
        "anonymous_id": None,
        "name": event.name,
        "ts": min(max(given_ms + shift_ms, INSTANT_MIN_MS), now_ms),
        "original_ts": given_ms,
        "received_at": now_ms,
        "properties": msgspec.json.encode(properties).decode() if properties else None,
        "props": [(name, typed(value)._asdict()) for name, value in fields.items()],
        "traits": None,
        "context": None,
    }


def _id_text(value: Any) -> Any:
    """An id as text: a whole number without a fraction, since 7.0 is how some files hold 7."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value


def _plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO text, numbers that are none as null."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            raise Invalid(f"{value} is no number that can be stored; leave the cell empty")
        case bytes():
            return value.decode("utf-8", "replace")
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _time_ms(value: Any, name: str) -> int:
    """A time as UTC milliseconds: ISO 8601 text, a timestamp or a date, or epoch milliseconds."""
    match value:
        case bool():
            pass
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (aware - _EPOCH) // timedelta(milliseconds=1)
        case date():
            return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * 1000
        case int() | float() if math.isfinite(value) and INSTANT_MIN_MS <= value <= INSTANT_MAX_MS:
            return math.floor(value)
        case str():
            found = instant_ms(value.strip())
            if found is None and value.strip().lstrip("-").isdigit() and len(value.strip()) >= 10:
                found = int(value)
            if found is not None and INSTANT_MIN_MS <= found <= INSTANT_MAX_MS:
                return found
    raise Invalid(f"{name}: {value!r} is no time; use ISO 8601, as 1998-07-01T00:00:00Z, or epoch milliseconds")


def _latest_ms(path: Path, columns: Columns, now_ms: int) -> int:
    latest: int | None = None
    with closing(_chunks(path, columns.required(), ROWS_AT_ONCE)) as chunks:
        for chunk in chunks:
            left: list[int] = list(range(len(chunk.lines)))
            if chunk.columns is not None:
                times = instants(chunk.columns[columns.time])
                found = times.filter(~pl.int_range(len(times), eager=True).is_in(sorted(chunk.broken))).max()
                latest = max(latest or -(2**63), found) if isinstance(found, int) else latest
                left = sorted({*times.is_null().arg_true().to_list(), *chunk.broken})
            for row in chunk.rows(left):
                with suppress(Invalid):
                    one = _time_ms(row.get(columns.time), columns.time)
                    latest = one if latest is None else max(latest, one)
    return now_ms if latest is None else latest


# ── files to rows ────────────────────────────────────────────────────────────────────────────────────────────────


def _format(path: Path) -> tuple[str, bool]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    gzipped = bool(suffixes) and suffixes[-1] == ".gz"
    last = suffixes[-2] if gzipped and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    found = _FORMATS.get(last)
    if found is None:
        raise ImportRefused(f"{path.name}: use a file named .csv, .parquet or .jsonl, .gz behind it if it is gzipped")
    return found, gzipped


def _opened(path: Path, gzipped: bool) -> BinaryIO:
    return gzip.open(path, "rb") if gzipped else open(path, "rb")  # type: ignore[return-value]


def _shape(path: Path) -> tuple[int | None, list[str]]:
    """How many rows there are, where the file says it, and the names of its columns."""
    kind, gzipped = _format(path)
    if kind == "parquet" and not gzipped:
        try:
            metadata = pq.read_metadata(path)
            return metadata.num_rows, list(pq.read_schema(path).names)
        except pa.ArrowInvalid as error:
            raise ImportRefused(f"{path.name} is no Parquet file: {error}") from error
    names: dict[str, None] = {}
    with closing(_rows(path)) as rows:
        for row in islice(rows, 1_000):
            names.update(dict.fromkeys(row))
    return None, list(names)


@dataclass(frozen=True)
class Chunk:
    """Some rows: the line of each, and a way to read some of them as Python values.

    `columns` are there where the file has them as such; of CSV they are cells of text, and `broken` rows have no cells
    that count. A line counts from 1; in CSV the heading is line 1.
    """

    lines: Sequence[int]
    rows: Callable[[Sequence[int]], Iterable[dict[str, Any]]]
    columns: dict[str, pl.Series] | None = None
    are_cells: bool = False
    broken: Collection[int] = ()


def _chunks(path: Path, as_text: Collection[str], rows_at_once: int) -> Generator[Chunk, None, None]:
    """The rows of a file, so many at a time. Cells of `as_text` stay text."""
    kind, gzipped = _format(path)
    with _opened(path, gzipped) as file:
        match kind:
            case "csv":
                yield from _csv_chunks(file, "\t" if ".tsv" in path.name.lower() else ",", as_text, rows_at_once)
            case "jsonl":
                yield from _jsonl_chunks(file, rows_at_once)
            case _:
                yield from _parquet_chunks(io.BytesIO(file.read()) if gzipped else file, path.name, rows_at_once)


def _rows(path: Path, as_text: Collection[str] = ()) -> Generator[dict[str, Any], None, None]:
    with closing(_chunks(path, as_text, 1_000)) as chunks:
        for chunk in chunks:
            yield from chunk.rows(range(len(chunk.lines)))


def _csv_chunks(
    file: BinaryIO, delimiter: str, as_text: Collection[str], rows_at_once: int
) -> Generator[Chunk, None, None]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter)
        heading = next(reader, [])
        found = ((reader.line_num, cells) for cells in reader if cells)
        while True:
            with _without_cycles():
                some = list(islice(found, rows_at_once))
                chunk = _csv_chunk(heading, some, as_text) if some else None
            if chunk is None:
                return
            yield chunk


@contextmanager
def _without_cycles() -> Generator[None, None, None]:
    """Nothing here refers to itself, and looking for what does, among so many new lists, would double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _csv_chunk(heading: list[str], some: list[tuple[int, list[str]]], as_text: Collection[str]) -> Chunk:
    reads = [str if name in as_text else _cell for name in heading]

    def rows(wanted: Sequence[int]) -> Iterator[dict[str, Any]]:
        for at in wanted:
            cells = some[at][1]
            if len(cells) == len(heading):
                yield {name: read(cell) for name, read, cell in zip(heading, reads, cells, strict=True)}
            else:
                yield {"__error__": f"{len(cells)} cells under {len(heading)} names"}

    lines, found = zip(*some, strict=True)
    size = len(heading)
    broken = [] if set(map(len, found)) == {size} else [at for at, cells in enumerate(found) if len(cells) != size]
    columns: dict[str, pl.Series] | None = None
    if len(set(heading)) == size:
        whole = list(found)
        for at in broken:
            whole[at] = [""] * size
        with suppress(UnicodeEncodeError):  # what is no UTF-8 has to be refused row by row
            columns = {
                name: pl.Series(name, column, dtype=pl.String)
                for name, column in zip(heading, zip(*whole, strict=True), strict=True)
            }
    return Chunk(lines, rows, columns, are_cells=True, broken=broken)


def _cell(cell: str) -> Any:
    """A cell of text as what it says: a number, true or false, else text. "007" and "1e5" stay text, as ids do."""
    if cell in ("true", "false"):
        return cell == "true"
    return cell_number(cell) if _NUMBER.match(cell) else cell


def _jsonl_chunks(file: BinaryIO, rows_at_once: int) -> Generator[Chunk, None, None]:
    found = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    while some := list(islice(found, rows_at_once)):
        read = [_jsonl_row(line) for _, line in some]
        yield Chunk([number for number, _ in some], partial(_chosen, read))


def _chosen(rows: list[dict[str, Any]], wanted: Sequence[int]) -> Iterator[dict[str, Any]]:
    return (rows[at] for at in wanted)


def _jsonl_row(line: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {"__error__": f"no JSON: {error}"}
    return row if isinstance(row, dict) else {"__error__": "no JSON object"}


def _parquet_chunks(file: BinaryIO, name: str, rows_at_once: int) -> Generator[Chunk, None, None]:
    try:
        parquet = pq.ParquetFile(file)
        first = 1
        held: list[pa.RecordBatch] = []
        for batch in parquet.iter_batches(rows_at_once):
            held.append(batch)
            while sum(map(len, held)) >= rows_at_once:
                whole = pa.Table.from_batches(held)
                yield _parquet_chunk(whole.slice(0, rows_at_once), first)
                first += rows_at_once
                held = whole.slice(rows_at_once).to_batches()
        if sum(map(len, held)):
            yield _parquet_chunk(pa.Table.from_batches(held), first)
    except pa.ArrowInvalid as error:
        raise ImportRefused(f"{name} is no Parquet file: {error}") from error


def _parquet_chunk(table: pa.Table, first: int) -> Chunk:
    def rows(wanted: Sequence[int]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = table.take(pa.array(wanted, pa.int64())).to_pylist()
        return found

    columns: dict[str, pl.Series] | None = None
    with suppress(pl.exceptions.PolarsError, ValueError, NotImplementedError):  # a type that Polars does not have
        columns = {name: pl.Series(name, pl.from_arrow(table[name])) for name in table.column_names}
    return Chunk(range(first, first + len(table)), rows, columns)
