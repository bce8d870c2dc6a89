"""Delta tables under one root: opened, appended to, rewritten by partition, and freed of old files.

A writer checks and writes through the same open table object. By URI the table would be loaded anew after the check,
and a duplicate committed.

A write leaves its data file behind when its commit is refused. Where another writer was first, strays are dropped at
once, but no more than once a minute. Where the log takes no commits, the next write first commits nothing. So this
costs one file and not one each second, and it goes with the first write that succeeds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from .batches import BATCH_BYTES, BATCH_ROWS, PART_ROWS, batches_of
from .damaged_logs import BROKEN_LOOKED_AT_MAX, READ_LOOKED_AT_MAX, damage_told, damaged_log_files
from .data_files import FILE_BYTES, drop_data_files, write_data_files
from .errors import LakeConflict, LakeDamaged, LakeError, LakeUnreachable
from .halving import halving
from .old_files import PURGED, drop_logs, drop_replaced, drop_strays, fence_of, missing_files, put_fence
from .other_releases import all_columns, updated, widened
from .schemas import RETENTION_HOURS, TABLES, Table
from .storage import holds_table
from .stored_files import StoredFiles
from .transactions import transactions_between

#: How often a write is made anew when other writers were first.
ATTEMPTS = 10
#: Files of refused commits are dropped no more often: it takes two looks at all files of the table, and makes others
#: who are writing write anew.
CLEAN_S = 60.0

#: Makes of some rows of a table the rows that take their place.
Change = Callable[[pa.RecordBatch], pa.RecordBatch]
#: Makes of the batches of a partition those that take their place.
Arrange = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


class Tables:
    """The tables under one root. Safe for use by several threads; every write is one commit."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.storage_options = dict(storage_options or {})
        self._tables: dict[str, DeltaTable] = {}
        self._numbered: dict[tuple[str, str], tuple[int, int]] = {}
        self._lock = threading.RLock()
        #: The addresses of tables whose log took no commit the last time; of those where a commit of ours was refused;
        #: and when, by `monotonic`, strays were dropped for that.
        self._failed: set[str] = set()
        self._refused: set[str] = set()
        self._cleaned_s: dict[str, float] = {}

    def uri(self, table: Table) -> str:
        """The address of a table."""
        return f"{self.root}/{table.name}"

    def open(self, table: Table) -> DeltaTable:
        """The table at its newest version, created where it is absent."""
        with self._lock:
            opened = self._tables.get(table.name)
            try:
                if opened is None:
                    opened = self._tables[table.name] = updated(self._created(table), table)
                opened.update_incremental()
            except (DeltaError, OSError) as error:
                self._tables.pop(table.name, None)
                raise LakeUnreachable(f"{self.uri(table)}: {error}") from error
            return opened

    def _created(self, table: Table) -> DeltaTable:
        """The table, created where it is absent.

        Of several who create it at once one does. Delta would let the others create it once more, in its next version
        and under another id, by which it would be another lake (`Lake.id`).
        """
        try:
            return DeltaTable.create(
                self.uri(table),
                schema=table.columns,
                mode="ignore",
                partition_by=list(table.partition) or None,
                storage_options=self.storage_options or None,
                configuration=table.configuration(),
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except CommitFailedError:
            if not holds_table(self.root, table.name):
                raise
            return DeltaTable(self.uri(table), storage_options=self.storage_options or None)

    # ── read ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def scan(self, table: Table, version: int | None = None) -> pl.LazyFrame:
        """All rows of a table, as of a version."""
        version = self.at(table, version).version()
        options = self.storage_options or None
        if StoredFiles(self.root).folder is None:
            return pl.scan_delta(self.uri(table), version=version, storage_options=options)
        return pl.scan_delta(_LocalTable(self.uri(table), version=version, storage_options=options))

    def at(self, table: Table, version: int | None) -> DeltaTable:
        """The table at a version; None is the newest."""
        opened = self.open(table)
        if version is None or version == opened.version():
            return opened
        try:
            return DeltaTable(self.uri(table), version=version, storage_options=self.storage_options or None)
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{self.uri(table)}: {error}") from error

    def size(self, table: Table) -> tuple[int, int]:
        """Rows and bytes of a table's newest version, from its log. A table by `is_latest` counts the latest rows."""
        adds = pl.DataFrame(self.open(table).get_add_actions(flatten=True))
        if "is_latest" in table.partition and len(adds):
            adds = adds.filter(pl.col("partition.is_latest"))
        return int(adds["num_records"].sum()), int(adds["size_bytes"].sum())

    def partitions(self, table: Table) -> list[dict[str, str]]:
        """The partitions that have rows, as column -> value. A table without any has one partition, without columns."""
        partitions = self.open(table).partitions()
        return partitions if table.partition else [{}]

    def batches(self, table: Table, partition: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """The rows of a partition at the newest version, batch by batch: our columns, then those of a newer release."""
        opened = self.open(table)
        return _batches(all_columns(opened, table), _dataset(opened, partition))

    # ── write ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def append(self, table: Table, rows: pa.Table, transactions: Sequence[Transaction] = ()) -> None:
        """Adds rows and transactions in one commit. Raises `LakeConflict` if another writer was first.

        Without transactions appends conflict only with fences and changes of columns, and are made anew.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._lock:
                    return self.append_to(self.open(table), rows, transactions)
            except LakeConflict:
                if transactions or attempt == ATTEMPTS - 1:
                    raise

    def append_to(self, opened: DeltaTable, rows: pa.Table, transactions: Sequence[Transaction] = ()) -> None:
        """Appends through a table object that the caller has checked, at the version of that check."""
        with self.writing(opened):
            write_deltalake(
                opened,
                widened(rows, opened),
                mode="append",
                commit_properties=CommitProperties(app_transactions=list(transactions)) if transactions else None,
            )

    @contextmanager
    def writing(self, opened: DeltaTable) -> Iterator[None]:
        """A write through an open table. Raises `LakeConflict` where others were first, else `LakeUnreachable`."""
        uri = opened.table_uri
        try:
            if uri in self._failed:
                # Through an object of its own: the caller has checked `opened` at its version, and commits after that.
                nothing = DeltaTable(uri, storage_options=self.storage_options or None)
                write_deltalake(nothing, pa.schema(nothing.schema().to_arrow()).empty_table(), mode="append")
            yield
        except CommitFailedError as error:
            self._refused.add(uri)
            self._drop_refused(opened)
            raise LakeConflict(str(error)) from error
        except (DeltaError, OSError) as error:
            self._failed.add(uri)
            self._refused.add(uri)
            raise LakeUnreachable(f"{uri}: {error}") from error
        self._failed.discard(uri)
        self._drop_refused(opened)

    def _drop_refused(self, opened: DeltaTable) -> None:
        """Drops the strays of a table that takes commits, if it refused one of ours."""
        uri, now_s = opened.table_uri, time.monotonic()
        if uri not in self._refused or now_s - self._cleaned_s.get(uri, -CLEAN_S) < CLEAN_S:
            return
        self._cleaned_s[uri] = now_s
        name = uri.rstrip("/").rpartition("/")[2]
        with suppress(LakeError, DeltaError, OSError):  # the outcome of the write stands; maintenance drops them later
            table = next(table for table in TABLES if table.name == name)
            drop_strays(opened, table, StoredFiles(self.root), older_than_hours=0)
            self._refused.discard(uri)

    def append_once(
        self,
        table: Table,
        app: str,
        numbered: Sequence[tuple[int, Mapping[str, Any]]],
        by: Sequence[str],
        purged: str | None = None,
    ) -> None:
        """Adds those of some numbered rows, in order of number, that are not in yet; all in one commit.

        The commit's transaction under the name `app` says up to which number rows are in, so of two who add the same
        rows one comes second, looks again and finds them. A Redis that was brought back from a backup may give numbers
        out again: below the transaction rows are looked for by the columns `by`. Raises `LakeConflict` when other
        writers were first, `ATTEMPTS` times, or when the table was purged since it was `purged`.
        """
        for _ in range(ATTEMPTS):
            with self._lock:
                opened = self.open(table)
                _require_unpurged(opened, purged)
                upto = self._numbered_upto(opened, table, app)
                before = [row for number, row in numbered if number <= upto]
                rows = [*self._lacking(table, before, by), *(row for number, row in numbered if number > upto)]
                if not rows:
                    return
                version, last = opened.version(), max(upto, numbered[-1][0])
                try:
                    data = pa.Table.from_pylist([dict(row) for row in rows], schema=table.columns)
                    self.append_to(opened, data, [Transaction(app, last)])
                except LakeConflict:
                    continue  # another writer was first: look again
                if opened.version() == version + 1:  # the version has our commit and no other
                    self._numbered[table.name, app] = opened.version(), last
                return
        raise LakeConflict(f"{self.uri(table)}: others were first {ATTEMPTS} times")

    def _numbered_upto(self, opened: DeltaTable, table: Table, app: str) -> int:
        """The number that the transaction `app` of an open table says.

        To ask the table reads all of its log. So where others wrote since the last look, their versions are read alone.
        """
        version, upto = self._numbered.get((table.name, app), (None, 0))
        if version != opened.version():
            between = None
            if version is not None and version < opened.version():
                between = transactions_between(StoredFiles(self.root), table, version, opened.version())
            upto = between.get(app, upto) if between is not None else opened.transaction_version(app) or 0
            self._numbered[table.name, app] = opened.version(), upto
        return upto

    def _lacking(
        self, table: Table, rows: Sequence[Mapping[str, Any]], by: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """Those of some rows that no row of the table equals in the columns `by`."""
        if not rows:
            return ()
        there = set(self.scan(table).select(by).collect().iter_rows())
        return [row for row in rows if tuple(row[name] for name in by) not in there]

    def purged(self, table: Table) -> str | None:
        """What tells the last purge at once of a table from others; None before the first.

        Ask before you read what rows are computed from, and give it when they are written.
        """
        return fence_of(self.open(table), PURGED)

    def note_purge(self, table: Table) -> None:
        """Has rows refused that were computed before, since they may name people whom a purge is about to take out."""
        with self._lock:
            opened = self.open(table)
            try:
                put_fence(opened, table, PURGED)
            except (DeltaError, OSError) as error:
                raise LakeUnreachable(f"{opened.table_uri}: {error}") from error

    def append_build(self, table: Table, rows: pl.DataFrame, purged: str | None) -> None:
        """Adds the rows of a build to a table by `is_latest`, beside the latest rows.

        Raises `LakeConflict` when the table was purged since it was `purged`.
        """
        marked = _marked(table, rows, is_latest=False)
        self._write_build(table, purged, lambda opened: self.append_to(opened, marked))

    def replace_latest(
        self, table: Table, version: int, build: int, make_rows: Callable[[], pl.DataFrame], purged: str | None
    ) -> pl.DataFrame | None:
        """Puts the rows of a build in the place of the latest rows of a table by `is_latest`; returns the rows.

        `version` is the version of `events` that the build read. Rows of a later version, or of a greater build of the
        same one, stay: None then. The commit's transactions say which build's the latest rows are, so of two builds one
        comes second and looks again. `make_rows` may read the latest rows, and is called anew then. Raises
        `LakeConflict` when the table was purged since it was `purged`.
        """
        apps = ("latest/version", "latest/build")
        transactions = [Transaction(app, number) for app, number in zip(apps, (version, build), strict=True)]
        written: pl.DataFrame | None = None

        def write(opened: DeltaTable) -> None:
            nonlocal written
            if tuple(opened.transaction_version(app) or 0 for app in apps) > (version, build):
                written = None
                return
            written = make_rows()
            with self.writing(opened):
                write_deltalake(
                    opened,
                    widened(_marked(table, written, is_latest=True), opened),
                    mode="overwrite",
                    predicate="is_latest = true",
                    commit_properties=CommitProperties(app_transactions=transactions),
                )

        self._write_build(table, purged, write)
        return written

    def _write_build(self, table: Table, purged: str | None, write: Callable[[DeltaTable], None]) -> None:
        """Writes to a table, unless it was purged since, and anew when others were first."""
        for _ in range(ATTEMPTS):
            with self._lock:
                opened = self.open(table)
                _require_unpurged(opened, purged)
                try:
                    return write(opened)
                except LakeConflict:
                    continue  # another build, or a purge, was first: look again
        raise LakeConflict(f"{self.uri(table)}: others were first {ATTEMPTS} times")

    def rewrite(self, table: Table, partition: Mapping[str, str], change: Change) -> int:
        """Puts what `change` makes of a partition's rows in their place, if it changes any; returns how many rows went.

        Raises `LakeConflict` when other writers were first, `ATTEMPTS` times.
        """
        for _ in range(ATTEMPTS):
            gone, is_changed = 0, False
            for batch in self.batches(table, partition):
                after = change(batch)
                gone += batch.num_rows - after.num_rows
                is_changed = is_changed or not after.equals(batch)
            if not is_changed:
                return 0
            try:
                self.rewrite_once(table, partition, change)
                return gone
            except LakeConflict:
                continue  # somebody wrote there meanwhile: look again
        raise LakeConflict(f"{table.name}: others were first {ATTEMPTS} times")

    def rewrite_once(self, table: Table, partition: Mapping[str, str], change: Change) -> None:
        """Rewrites a partition in one commit, batch by batch, whether or not that changes anything.

        Where memory fails it begins again with half as many rows at a time. Raises `LakeConflict` if another writer was
        first.
        """
        halving(lambda part_rows: self._rewrite_in_parts(table, partition, change, part_rows), PART_ROWS)

    def _rewrite_in_parts(self, table: Table, partition: Mapping[str, str], change: Change, part_rows: int) -> None:
        """Rewrites a partition; in memory is one batch, of as many bytes as `part_rows` rows of the largest events."""
        with self._lock:
            self._replace(self.open(table), table, partition, lambda batches: map(change, batches), part_rows)

    def rearrange(
        self,
        table: Table,
        partition: Mapping[str, str],
        arrange: Arrange,
        transaction: Transaction,
        file_bytes: int = FILE_BYTES,
    ) -> int:
        """Writes the rows of a partition anew in the order that `arrange` gives them, in one commit with a transaction.

        Each of its batches becomes a row group. Returns how many files were replaced. What `arrange` raises changes
        nothing. Raises `LakeConflict` if another writer was first.
        """
        with self._lock:
            opened = self.open(table)
            filters = [(column, "=", value) for column, value in partition.items()]
            replaced = len(opened.file_uris(file_pruning_predicate=filters or None))
            self._replace(opened, table, partition, arrange, PART_ROWS, [transaction], file_bytes)
            return replaced

    def _replace(
        self,
        opened: DeltaTable,
        table: Table,
        partition: Mapping[str, str],
        make: Arrange,
        part_rows: int,
        transactions: Sequence[Transaction] = (),
        file_bytes: int = FILE_BYTES,
    ) -> None:
        """Puts what `make` makes of a partition's batches in their place, a row group for each batch."""
        files = StoredFiles(self.root)
        with self.writing(opened):
            columns, bytes_max = all_columns(opened, table), BATCH_BYTES * part_rows // PART_ROWS
            batches = batches_of(_dataset(opened, partition), columns.names, BATCH_ROWS, bytes_max, part_rows)
            made = make(batch.cast(columns) for batch in batches)
            added = write_data_files(files, table, partition, columns, made, file_bytes)
            try:
                opened.create_write_transaction(
                    [*added],
                    "overwrite",
                    opened.schema(),
                    list(table.partition) or None,
                    [(column, "=", value) for column, value in partition.items()] or None,
                    commit_properties=CommitProperties(app_transactions=list(transactions)) if transactions else None,
                )
            except CommitFailedError:
                drop_data_files(files, table, added)
                raise

    def drop_files(self, table: Table, older_than_hours: float = RETENTION_HOURS) -> int:
        """Deletes files that were replaced so many hours ago, strays that were written so long ago (`lake.old_files`),
        and logs that no version of the last day needs; returns how many files.

        Safe beside every writer, with 0 hours too: where there are strays, a commit that is on its way is refused, and
        its writer writes anew. Raises `LakeConflict` when others changed the table again and again.
        """
        with self._lock:
            opened = self.open(table)
            files = StoredFiles(self.root)
            try:
                dropped = drop_replaced(opened, older_than_hours) + drop_strays(opened, table, files, older_than_hours)
                opened.create_checkpoint()
                drop_logs(opened, table, files)
                return dropped
            except CommitFailedError as error:
                raise LakeConflict(str(error)) from error
            except (DeltaError, OSError) as error:
                raise LakeUnreachable(f"{opened.table_uri}: {error}") from error

    def missing_files(self, table: Table) -> list[str]:
        """The paths, below the table, of files that its newest version names and that are not there."""
        return missing_files(self.open(table), table, StoredFiles(self.root))

    def log_damage(self, table: Table) -> list[str]:
        """The files of a table's log that are no log, by their paths below the root.

        Raises `LakeUnreachable` for a table that does not open for another reason.
        """
        files = StoredFiles(self.root)
        try:
            self.open(table)
        except LakeUnreachable:
            damaged = damaged_log_files(files, table, BROKEN_LOOKED_AT_MAX)
            if damaged:
                return damaged
            raise
        return damaged_log_files(files, table, READ_LOOKED_AT_MAX)

    def require_whole_log(self, table: Table) -> None:
        """Raises `LakeDamaged` where the table cannot be read because files of its log are no log. It is not made."""
        try:
            if holds_table(self.root, table.name):
                self.open(table)
        except LakeUnreachable:
            damaged = damaged_log_files(StoredFiles(self.root), table, BROKEN_LOOKED_AT_MAX)
            if damaged:
                raise LakeDamaged(damage_told(table.name, damaged)) from None
            raise

    def forget_missing(self, table: Table) -> int:
        """Takes the files that are not there out of the table, with their rows; returns how many files."""
        with self._lock:
            opened = self.open(table)
            try:
                return len(opened.repair()["files_removed"])
            except CommitFailedError as error:
                raise LakeConflict(str(error)) from error
            except (DeltaError, OSError) as error:
                raise LakeUnreachable(f"{opened.table_uri}: {error}") from error


class _LocalTable(DeltaTable):
    """A table on this machine whose files have their names as they are: Polars takes addresses for names."""

    def file_uris(self, *args: Any, **more: Any) -> list[str]:
        return [unquote(uri) for uri in super().file_uris(*args, **more)]


def _require_unpurged(opened: DeltaTable, purged: str | None) -> None:
    if fence_of(opened, PURGED) != purged:
        raise LakeConflict(f"{opened.table_uri}: people were purged from it meanwhile: make the rows anew")


def _marked(table: Table, rows: pl.DataFrame, *, is_latest: bool) -> pa.Table:
    marked = rows.with_columns(pl.lit(is_latest).alias("is_latest")).select(*table.columns.names)
    return marked.to_arrow().cast(table.columns)


def _dataset(opened: DeltaTable, partition: Mapping[str, str]) -> Any:
    files = [(column, "=", value) for column, value in partition.items()]
    return opened.to_pyarrow_dataset(file_pruning_predicate=files or None)


def _batches(columns: pa.Schema, dataset: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a dataset.

    Asks nothing of tables: a writer takes the rows in a thread of its own, in which tables cannot answer.
    """
    for batch in batches_of(dataset, columns.names):
        yield batch.cast(columns)
