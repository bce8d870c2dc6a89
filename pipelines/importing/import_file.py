"""History from files into the lake: CSV, Parquet or JSONL, packed or not.

    files  →  chunks of rows  →  rows of `events`, and of `rejected` with a reason  →  without those that are known
          →  for a chunk a commit to each table

The commits of a chunk carry a transaction named by the file's content and the mapping of its columns. So a run that was
cut off goes on where it stopped, and a rerun adds nothing. Rows that another import brought are withheld
(`known_rows`). A chunk whose rows have many bytes comes in parts, each with commits of its own. Imported rows have no
seq: they are outside the log.

The files of one command are one history: equal rows take places over all of them, and a row with the id of one in an
earlier file is there already. So the name of a file in commits has those of the files before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Transaction

from lake.errors import LakeConflict
from lake.lake import Lake
from lake.schemas import EVENTS, REJECTED, Table
from pipelines.importing.as_sent import stated_ms
from pipelines.importing.by_row import chunk_rows
from pipelines.importing.chunk import BYTES_AT_ONCE, Chunk, ImportRefused
from pipelines.importing.chunks import chunks, look
from pipelines.importing.formats.mapping import require_format
from pipelines.importing.known_rows import KnownRows
from pipelines.importing.made import Refused
from pipelines.importing.report import Imported, Preview, Tally
from pipelines.importing.row_ids import RowIds
from pipelines.importing.terms import AS_SENT, Columns, Reading, Terms, identity_of
from pipelines.importing.times import instants, time_ms
from serving import ids
from serving.refusals import Invalid
from serving.store.logged_event import LogEntry

ROWS_AT_ONCE = 50_000
#: How often a commit is made anew when another import of the same file was first.
ATTEMPTS = 10
#: Ways to read that are told, where the files of a command differ.
WAYS_TOLD_MAX = 3

#: Called with how many rows are done, and of how many where that is known, once a chunk, or a part of one, is in.
#: What it raises ends the import there.
Progress = Callable[[int, int | None], None]


def import_file(
    lake: Lake,
    path: Path | Sequence[Path],
    *,
    user_column: str = AS_SENT.user,
    event_column: str = AS_SENT.event,
    time_column: str = AS_SENT.time,
    id_column: str | None = None,
    anonymous_column: str | None = None,
    kind_column: str | None = None,
    properties_column: str | None = None,
    attribute_columns: tuple[str, ...] = (),
    shift_to_now: bool = False,
    reading: Reading | None = None,
    source: str = "",
    is_dry: bool = False,
    now_ms: int,
    shards: int = ids.SHARDS_DEFAULT,
    progress: Progress = lambda done, total: None,
    begin: Callable[[list[str]], str | None] = lambda identities: None,
    before_commit: Callable[[], None] = lambda: None,
    on_refused: Callable[[Iterable[Refused]], None] = lambda rows: None,
    link: Callable[[list[LogEntry]], None] = lambda events: None,
    rows_at_once: int = ROWS_AT_ONCE,
    bytes_at_once: int = BYTES_AT_ONCE,
) -> Imported:
    """Imports a file, or several of one command; returns when the rows are in the lake. Raises `ImportRefused`,
    `LakeError`, and what `begin` and `before_commit` raise. The first is called once the files are found to be
    readable, with what names each of them and how it is read, and gives the id of the import (12 hexadecimal digits),
    which its rows have; the other before each commit, and before links are made.

    `now_ms` is the receipt of all rows, and no event is later. `shift_to_now` adds one span of time to all, such that
    the latest of all files is `now_ms`. `on_refused` is called with the refused rows of each chunk, whole. Events as
    apps send them (`Reading.as_sent`) need no columns, and rows of columns may become such ones (`Columns.are_bodies`);
    `link` makes the links of those that say that ids belong together. `source` tells equal rows without ids of two
    sources apart. `is_dry`: nothing is begun or written, and the answer says what would go in.
    """
    columns, reading = (
        Columns(
            user_column,
            event_column,
            time_column,
            id_column,
            anonymous_column,
            kind_column,
            properties_column,
            attribute_columns,
        ),
        reading or Reading(),
    )
    paths = [path] if isinstance(path, Path) else list(path)
    total, read_as = _looked(paths, columns, reading)
    shift_ms = now_ms - _latest_of(paths, columns, reading, now_ms) if shift_to_now else 0
    files = list(_named_files(paths, columns, shift_to_now, rows_at_once, reading, source))
    import_id = None if is_dry or not files else begin([file.identity for file in files])
    row_ids = RowIds(source, "" if reading.as_sent else columns.read_for)
    known_rows = KnownRows(lake, to_compare=is_dry)
    tally, preview = Tally(), Preview() if is_dry else None
    done = 0
    # Rows that are named by their places have an id each: only ids that files give may be in several.
    are_ids_shared = len(paths) > 1 and (reading.as_sent or columns.id is not None)
    for file in files:
        path, identity, reading = file.path, file.identity, file.reading
        wanted = () if reading.as_sent else columns.required()
        with closing(chunks(path, wanted, rows_at_once, bytes_at_once, reading)) as parts:
            for chunk in parts:
                terms = Terms(columns, identity, shift_ms, now_ms, shards, reading, row_ids.of(chunk), import_id)
                made = chunk_rows(chunk, terms)
                if len(paths) > 1:
                    made = replace(made, refused=[replace(row, file=path.name) for row in made.refused])
                tally.refuse(made.refused)
                tally.note(made.inexact)
                on_refused(made.refused)
                done += len(chunk.lines)
                is_known = known_rows.among(made.events)
                if are_ids_shared and not file.is_last:
                    known_rows.keep(made.events)
                events = made.events.filter(pa.array(~is_known))
                if preview is not None:
                    if lake.holds_events() and _is_in(lake, EVENTS, identity, chunk, import_id):
                        tally.already += len(made.events)
                    else:
                        tally.accepted += len(events)
                        tally.already += len(made.events) - len(events)
                        preview.add(events)
                        preview.add_at_known_times(events.filter(pa.array(known_rows.at_known_times(events))))
                    progress(done, total)
                    continue
                if made.refused:
                    # Refusals go first, so that a run that is cut off in between repeats neither.
                    rows = [
                        {"received_at": now_ms, "source": path.name, **refused.stored()} for refused in made.refused
                    ]
                    refused = pa.Table.from_pylist(rows, schema=REJECTED.columns)
                    _append(lake, REJECTED, identity, chunk, refused, import_id, before_commit)
                claiming = known_rows.new(made.claiming)
                if claiming and not _is_in(lake, EVENTS, identity, chunk, import_id):
                    before_commit()
                    link(claiming)  # before the events: a run that is cut off in between makes them again
                if _append(lake, EVENTS, identity, chunk, events, import_id, before_commit):
                    tally.accepted += len(events)
                    tally.already += len(made.events) - len(events)
                else:
                    tally.already += len(made.events)
                progress(done, total)
        known_rows.end_file()
    return tally.imported(read_as, preview, import_id, known_rows.imports)


@dataclass(frozen=True)
class _File:
    """A file of a command, the name of its commits, and how it is read."""

    path: Path
    identity: str
    reading: Reading
    is_last: bool


def _named_files(
    paths: Sequence[Path], columns: Columns, shift_to_now: bool, rows_at_once: int, reading: Reading, source: str
) -> Iterator[_File]:
    """The files in order. One behind others is named by these, too: what it adds depends on them."""
    before = ""
    for at, path in enumerate(paths, 1):
        of_file = _of_table(path, reading)
        identity = identity_of(path, columns, shift_to_now, rows_at_once, of_file, source)
        before = blake2b(f"{before} {identity}".encode(), digest_size=16).hexdigest() if before else identity
        yield _File(path, before, of_file, at == len(paths))


def _of_table(path: Path, reading: Reading) -> Reading:
    """How a file is read: one of a format with tables has the table that it is named after, if no other is said."""
    if reading.mapping is not None and reading.mapping.has_tables and not reading.table:
        return replace(reading, table=path.name.partition(".")[0])
    return reading


def _looked(paths: Sequence[Path], columns: Columns, reading: Reading) -> tuple[int | None, str]:
    """How many rows the files have, None where one does not say it, and how they are read, for people.

    All files are looked at before a row of any is in. Raises `ImportRefused`.
    """
    total: int | None = 0
    read_as: dict[str, None] = {}
    for path in paths:
        of_file = _of_table(path, reading)
        looked = look(path, () if reading.as_sent else columns.required(), of_file)
        if of_file.mapping is not None:
            require_format(path, of_file.mapping, looked.names, of_file.table)
        elif not reading.as_sent:
            _require(path, columns, reading, looked.names)
        total = None if total is None or looked.total is None else total + looked.total
        if looked.read_as and len(read_as) < WAYS_TOLD_MAX:
            read_as[looked.read_as] = None
    return total, "; ".join(read_as)


def _require(path: Path, columns: Columns, reading: Reading, names: list[str]) -> None:
    """Raises `ImportRefused` where the file lacks a column that is named."""
    missing = [name for name in columns.required() if name not in names]
    if missing:
        raise ImportRefused(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(names)}: name them by "
            "--user, --event, --time, --id and the like"
        )
    typed = sorted(reading.text | reading.number)
    missing = [name for name in typed if name not in names]
    if missing:
        raise ImportRefused(f"{path.name} has no column {', '.join(missing)} for --text or --number")
    both = sorted(reading.text & reading.number)
    own = sorted(name for name in typed if name in columns.own and name not in columns.attributes)
    if both or own:
        raise ImportRefused(
            f"{', '.join(both or own)}: name a column of properties, by --text or by --number; "
            "ids and names of events are text"
        )


def _append(
    lake: Lake,
    table: Table,
    identity: str,
    chunk: Chunk,
    rows: pa.Table,
    import_id: str | None,
    before_commit: Callable[[], None],
) -> bool:
    """Commits the rows that a chunk, or a part of one, has for a table, unless an earlier run did; whether it did.

    The last part notes the chunk, so a chunk that came whole in an earlier run has no part that is new. Each commit
    notes which import brought the file (`brought_by`).
    """
    app, app_of_parts = _apps(identity, chunk, import_id)
    notes = [Transaction(app, chunk.number) if chunk.is_last_part else Transaction(app_of_parts, chunk.part)]
    if import_id is not None:
        notes.append(Transaction(_by_app(identity), int(import_id, 16)))
    for _ in range(ATTEMPTS):
        before_commit()
        opened = lake.open(table)
        if _has(opened, identity, chunk, import_id):
            return False
        try:
            lake.append_to(opened, rows, notes)
            return True
        except LakeConflict:
            continue
    raise LakeConflict(f"{app}: other imports of the same file were first {ATTEMPTS} times")


def _is_in(lake: Lake, table: Table, identity: str, chunk: Chunk, import_id: str | None) -> bool:
    """Whether an earlier run brought a chunk, or a part of one, into a table."""
    return _has(lake.open(table), identity, chunk, import_id)


def forget_file(lake: Lake, identity: str, import_id: str) -> None:
    """Has the rows of a file come in again, if it was this import that brought them last."""
    opened = lake.open(EVENTS)
    if opened.transaction_version(_by_app(identity)) == int(import_id, 16):
        notes = [Transaction(_app(identity), 0), Transaction(_by_app(identity), 0)]
        lake.append_to(opened, EVENTS.columns.empty_table(), notes)


def _has(opened: DeltaTable, identity: str, chunk: Chunk, import_id: str | None) -> bool:
    app, app_of_parts = _apps(identity, chunk, import_id)
    if (opened.transaction_version(app) or 0) >= chunk.number:
        return True
    is_part = chunk.part > 1 or not chunk.is_last_part
    return is_part and (opened.transaction_version(app_of_parts) or 0) >= chunk.part


def _app(identity: str) -> str:
    return f"import/{identity}"


def _by_app(identity: str) -> str:
    """The name under which the import is noted that brought a file, its id as a number."""
    return f"{_app(identity)}/by"


def _apps(identity: str, chunk: Chunk, import_id: str | None) -> tuple[str, str]:
    """The names under which chunks, and the parts of one, are noted. Releases that cut parts otherwise have another.

    Parts are those of one import: another one begins with the first, also where the other was undone.
    """
    app = _app(identity)
    return app, f"{app}/{chunk.number}/parts" + (f"/{import_id}" if import_id else "")


def _latest_of(paths: Sequence[Path], columns: Columns, reading: Reading, now_ms: int) -> int:
    """The latest time in some files, in UTC ms; `now_ms` where they have none."""
    latest = (_latest_ms(path, columns, _of_table(path, reading)) for path in paths)
    return max((one for one in latest if one is not None), default=now_ms)


def _latest_ms(path: Path, columns: Columns, reading: Reading) -> int | None:
    """The latest time in a file, in UTC ms; None where it has none."""
    latest_ms: int | None = None
    wanted = () if reading.as_sent else columns.required()
    with closing(chunks(path, wanted, ROWS_AT_ONCE, reading=reading)) as parts:
        for chunk in parts:
            left: list[int] = list(range(len(chunk.lines)))
            if chunk.columns is not None and not reading.as_sent:
                times = instants(chunk.columns[columns.time], reading.time_unit)
                is_broken = pl.int_range(len(times), eager=True).is_in(sorted(chunk.broken))
                plain_ms = times.filter(~is_broken).max()
                latest_ms = max(latest_ms or -(2**63), plain_ms) if isinstance(plain_ms, int) else latest_ms
                left = sorted({*times.is_null().arg_true().to_list(), *chunk.broken})
            for row in chunk.rows(left):
                with suppress(Invalid):
                    row_ms = _row_ms(row, columns, reading, chunk)
                    if row_ms is not None:
                        latest_ms = row_ms if latest_ms is None else max(latest_ms, row_ms)
    return latest_ms


def _row_ms(row: dict[str, Any], columns: Columns, reading: Reading, chunk: Chunk) -> int | None:
    """The time of a row, UTC ms; None where an event as apps send it says none. Raises `Invalid`."""
    if reading.as_sent:
        return stated_ms(row, reading, chunk)
    return time_ms(row.get(columns.time), columns.time, reading.time_unit)
