"""The lake: what is asked of each of our tables. Knows storage, not meaning.

A version of `events` is a barrier. It says which rows it holds, and how far each shard's log is in: that was committed
as a transaction together with the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from .batches import NARROW_PART_ROWS, PART_ROWS, batches_of
from .errors import LakeUnreachable
from .schemas import API_KEYS, AUDIT, DEFINITIONS, EVENTS, IMPORTS, REJECTED, RUNS, Table
from .storage import fix, fixed, holds_table
from .stored_files import LOG_FOLDER, StoredFiles
from .tables import Tables
from .transactions import transactions_between

#: The columns of an event that executions read.
FRAME_COLUMNS = ("shard", "seq", "event_id", "kind", "id", "name", "ts", "received_at", "props")

#: The columns of an event as it was logged. `props` says the same as `properties` and `traits`, in more bytes.
SHARD_COLUMNS = tuple(name for name in EVENTS.columns.names if name != "props")


#: The name under which a transaction says up to which version changes of definitions are in.
DEFINITIONS_APP = "definitions"


def log_app(shard: int) -> str:
    """The name under which a transaction says how far a shard's log is in."""
    return f"log/{shard}"


class Lake(Tables):
    """The tables of one system. Safe for use by several threads; every write is one commit."""

    _id: str | None = None
    _was_gone = False

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def reach(self) -> None:
        """Looks for the table of events, without loading or making it. Raises `LakeUnreachable` if it is not there."""
        if not holds_table(self.root, EVENTS.name):
            raise LakeUnreachable(f"{self.uri(EVENTS)}: no table is there")

    def open(self, table: Table) -> DeltaTable:
        """The table at its newest version, created where it is absent.

        Raises `LakeUnreachable` too where the lake whose id is known has gone, as with a volume that was unmounted:
        nothing is made in its place. Whose lake comes back there is read anew.
        """
        folder = StoredFiles(self.root).folder
        if self._id is not None and folder is not None:
            if not (folder / EVENTS.name / LOG_FOLDER).is_dir():
                with self._lock:
                    self._tables.clear()
                self._was_gone = True
                raise LakeUnreachable(f"{self.root}: the lake that was here is gone")
            if self._was_gone:
                self._id, self._was_gone = None, False
                self.id()
        return super().open(table)

    def id(self) -> str:
        """The id of this lake, by which it is told from others: Delta's id of the table of events.

        It stays when the lake is copied, moved or restored, and for as long as the table is there.
        """
        if self._id is None:
            self._id = str(self.open(EVENTS).metadata().id)
        return self._id

    def id_if_there(self) -> str | None:
        """The same; None where there is no table of events, or no folder. Makes none. Raises `LakeUnreachable`."""
        if self._id is None:
            folder = StoredFiles(self.root).folder
            if (folder is not None and not folder.exists()) or not holds_table(self.root, EVENTS.name):
                return None
        return self.id()

    def events_version(self) -> int:
        """The newest version of `events`."""
        return self.open(EVENTS).version()

    def events(self, version: int | None = None) -> pl.LazyFrame:
        """The frame of events that executions read, as of a version."""
        return self.scan(EVENTS, version).select(*FRAME_COLUMNS)

    def event_batches(self, version: int, rows: int, columns: Sequence[str] = FRAME_COLUMNS) -> Iterator[pl.DataFrame]:
        """The same rows, so many at a time at most, in no order; with some of the columns, where not all are needed.

        One batch and its file's buffers are in memory, however many rows there are, and however large.
        """
        dataset = self.at(EVENTS, version).to_pyarrow_dataset()
        try:
            part_rows = PART_ROWS if "props" in columns else NARROW_PART_ROWS
            for batch in batches_of(dataset, columns, rows, part_rows=part_rows):
                yield pl.from_arrow(batch)  # type: ignore[misc]  # a batch becomes a frame
        except (pa.ArrowException, OSError) as error:
            raise LakeUnreachable(f"{self.uri(EVENTS)}: {error}") from error

    def imported_batches(self, version: int, rows: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of those files that have imported rows, which have no seq, among them; some at a time, no order."""
        opened = self.at(EVENTS, version)
        adds = pl.DataFrame(opened.get_add_actions(flatten=True))
        if "null_count.seq" in adds.columns:
            adds = adds.filter(pl.col("null_count.seq").fill_null(1) > 0)
        try:
            for batch in batches_of(opened.to_pyarrow_dataset(), columns, rows, paths=adds["path"].to_list()):
                yield pl.from_arrow(batch)  # type: ignore[misc]  # a batch becomes a frame
        except (pa.ArrowException, OSError) as error:
            raise LakeUnreachable(f"{self.uri(EVENTS)}: {error}") from error

    def newest_batches(self, rows: int, files: int, columns: Sequence[str] = FRAME_COLUMNS) -> Iterator[pl.DataFrame]:
        """So many rows of those that were received last, from so many files at most: what a look at the lake may cost.

        Files are taken by the day of receipt, then by when they were written, the newest first. Where a file has more
        rows than are left, its first ones are taken.
        """
        opened = self.open(EVENTS)
        adds = pl.DataFrame(opened.get_add_actions(flatten=True))
        newest = adds.sort("partition.ingest_date", "modification_time", descending=True).head(files)
        needed = newest.filter(pl.col("num_records").cum_sum().shift(1, fill_value=0) < rows)
        left = rows
        try:
            for batch in batches_of(opened.to_pyarrow_dataset(), columns, paths=needed["path"].to_list()):
                yield pl.from_arrow(batch.slice(0, left))  # type: ignore[misc]  # a batch becomes a frame
                left -= batch.num_rows
                if left <= 0:
                    return
        except (pa.ArrowException, OSError) as error:
            raise LakeUnreachable(f"{self.uri(EVENTS)}: {error}") from error

    def transaction_versions(self, version: int | None, shards: int) -> list[int]:
        """For each shard the seq up to which its log is in, as of a version of `events`."""
        opened = self.at(EVENTS, version)
        return [opened.transaction_version(log_app(shard)) or 0 for shard in range(shards)]

    def transactions_since(self, known: int, seqs: Mapping[int, int], version: int) -> dict[int, int] | None:
        """The same by shard, where those as of the version `known` are `seqs`; reads only the logs of later versions.

        None where these are too many, or gone.
        """
        numbers = transactions_between(StoredFiles(self.root), EVENTS, known, version)
        return None if numbers is None else {shard: numbers.get(log_app(shard), seq) for shard, seq in seqs.items()}

    def holds_events(self) -> bool:
        """Whether any event is in the lake."""
        return bool(self.open(EVENTS).file_uris())

    def shard_rows(
        self, shard: int, after: int, upto: int, version: int | None = None, columns: Sequence[str] = SHARD_COLUMNS
    ) -> pl.DataFrame:
        """The logged rows of a shard with after < seq <= upto, in order of seq, as of a version; without `props`."""
        return self._shard(shard, after, upto, version).select(*columns).sort("seq").collect()

    def shard_parts(
        self, shard: int, after: int, upto: int, version: int, rows_max: int, bytes_max: int
    ) -> list[tuple[int, int]]:
        """The same rows in parts, (after, upto), of so many rows and bytes of JSON at most, but of one row at least."""
        size = pl.sum_horizontal(pl.col("properties", "traits", "context").str.len_bytes().fill_null(0))
        rows = self._shard(shard, after, upto, version).select("seq", size.alias("size")).sort("seq")
        parts: list[tuple[int, int]] = []
        last, count, total = after, 0, 0
        for seq, row_bytes in rows.collect(engine="streaming").iter_rows():
            if count and (count == rows_max or total + row_bytes > bytes_max):
                parts.append((after, last))
                after, count, total = last, 0, 0
            last, count, total = seq, count + 1, total + row_bytes
        return [*parts, (after, upto)]

    def _shard(self, shard: int, after: int, upto: int, version: int | None) -> pl.LazyFrame:
        is_inside = (pl.col("shard") == shard) & (pl.col("seq") > after) & (pl.col("seq") <= upto)
        return self.scan(EVENTS, version).filter(is_inside)

    def last_received_ms(self, until_ms: int = 2**63 - 1) -> int:
        """The latest receipt of any event up to an instant, in UTC ms; 0 where there is none."""
        receipts = self.scan(EVENTS).select("received_at").filter(pl.col("received_at") <= until_ms)
        return int(receipts.select(pl.col("received_at").max()).collect().item() or 0)

    # ── definitions, and the settings that are fixed for good ────────────────────────────────────────────────────────

    def append_definitions(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Adds versions of definitions to the history, and what was done to the audit log, each in one commit.

        `changes` have a `definition` (kind, key, version, expression …) and an `action`, in order of version. A version
        counts once, however often and by however many it is given.
        """
        history = [(change["definition"]["version"], _version_row(change["definition"])) for change in changes]
        acts = [(change["definition"]["version"], _act_row(**change)) for change in changes]
        self.append_once(DEFINITIONS, DEFINITIONS_APP, history, by=("kind", "key", "version"))
        self.append_once(AUDIT, DEFINITIONS_APP, acts, by=("at", "author", "action", "kind", "key", "details"))

    def definitions(self, keys: Collection[str] | None = None) -> list[dict[str, Any]]:
        """Every version of every definition, or of those with these keys, as it was given, in order of version."""
        rows = self.scan(DEFINITIONS)
        if keys is not None:
            rows = rows.filter(pl.col("key").is_in(list(keys)))
        bodies = rows.sort("version").select("body").collect().get_column("body").to_list()
        return [msgspec.json.decode(body) for body in bodies]

    def fixed(self) -> dict[str, str]:
        """The fixed settings of the system whose lake this is, by name; empty where nobody noted them."""
        return fixed(self.root)

    def fix(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Notes settings for good, unless somebody has; returns the settings that are noted."""
        self.open(EVENTS)
        return fix(self.root, settings)

    # ── rebuilds ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def latest(self, table: Table) -> pl.LazyFrame:
        """The rows of the newest full rebuild, of `traits` or `memberships`.

        Rows of people who were deleted since are still there: their readers leave them out.
        """
        return self.scan(table).filter("is_latest")

    def append_run(self, row: Mapping[str, Any]) -> None:
        """Notes what a rebuild did."""
        self._append_row(RUNS, row)

    def runs(self) -> pl.LazyFrame:
        """A row for each rebuild."""
        return self.scan(RUNS)

    def sizes(self) -> pl.LazyFrame:
        """build, as_of and sizes of each full rebuild that noted them."""
        is_noted = (pl.col("kind") == "full") & pl.col("sizes").is_not_null()
        return self.runs().filter(is_noted).select("build", "as_of", "sizes")

    def last_run(self) -> dict[str, Any] | None:
        """The newest full rebuild."""
        runs = self.runs().filter(pl.col("kind") == "full").sort("build").tail(1).collect()
        return runs.row(0, named=True) if len(runs) else None

    def last_build(self) -> int:
        """The greatest number of any rebuild; 0 if there was none."""
        greatest = self.runs().select(pl.col("build").max()).collect().item()
        return int(greatest or 0)

    # ── refused events, keys, imports, and what admins did ───────────────────────────────────────────────────────────

    def append_rejected(self, numbered: Sequence[tuple[int, Mapping[str, Any]]], purged: str | None = None) -> None:
        """Keeps refused events with their reasons, each once, by their numbers in the stream that they come from.

        Raises `LakeConflict` when the table was purged since it was `purged`.
        """
        if numbered:
            complete = [(number, {name: row.get(name) for name in REJECTED.columns.names}) for number, row in numbered]
            self.append_once(REJECTED, REJECTED.name, complete, REJECTED.columns.names, purged)

    def rejected(self) -> pl.LazyFrame:
        """Refused events."""
        return self.scan(REJECTED)

    def append_rejected_marks(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Notes that refused events were sent again, in one commit."""
        self.append(REJECTED, pa.Table.from_pylist([dict(row) for row in rows], schema=REJECTED.columns))

    def append_api_key(self, row: Mapping[str, Any]) -> None:
        """Notes that an admin made a key, or revoked it."""
        self._append_row(API_KEYS, row)

    def api_keys(self) -> list[dict[str, Any]]:
        """Every row of every key, in order of `created_at`."""
        return self.scan(API_KEYS).sort("created_at").collect().to_dicts()

    def append_import(self, row: Mapping[str, Any]) -> None:
        """Notes that an import began, or that its rows are in."""
        self._append_row(IMPORTS, row)

    def imports(self) -> pl.LazyFrame:
        """The rows of imports."""
        return self.scan(IMPORTS)

    def append_audit(self, *rows: Mapping[str, Any]) -> None:
        """Notes what an admin did, in one commit."""
        self.append(AUDIT, pa.Table.from_pylist([dict(row) for row in rows], schema=AUDIT.columns))

    def audit(self) -> pl.LazyFrame:
        """A row for each act of an admin."""
        return self.scan(AUDIT)

    def _append_row(self, table: Table, row: Mapping[str, Any]) -> None:
        self.append(table, pa.Table.from_pylist([dict(row)], schema=table.columns))


def _version_row(body: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the history of definitions."""
    return {
        "kind": body["kind"],
        "key": body["key"],
        "version": body["version"],
        "expression": body["expression"],
        "deleted": bool(body.get("deleted", False)),
        "author": body.get("author", ""),
        "updated_at": body.get("updated_ms", 0),
        "body": msgspec.json.encode(body).decode(),
    }


def _act_row(definition: Mapping[str, Any], action: str) -> dict[str, Any]:
    """The row of the audit log about a version of a definition."""
    return {
        "at": definition.get("updated_ms", 0),
        "author": definition.get("author", ""),
        "action": action,
        "kind": definition["kind"],
        "key": definition["key"],
        "details": msgspec.json.encode({"version": definition["version"]}).decode(),
    }
