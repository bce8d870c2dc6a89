"""The lake: Delta tables in a folder or an object store. Knows storage, not meaning.

A version of `events` is a barrier: it says which rows it holds, and, through the transactions that were committed with
them, how far each shard's log is in. Writers check and write through the same open table object; the other way, by URI,
loads a newer table after the check and commits a duplicate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from .errors import LakeConflict, LakeUnreachable
from .schemas import API_KEYS, AUDIT, DEFINITIONS, EVENTS, MEMBERSHIPS, REJECTED, RUNS, TRAITS, Table
from .storage import fix, fixed, holds_table
from .stored import Stored

ATTEMPTS = 10
#: Files that no newest version needs are kept this long: for readers that pinned an older one, and for writers, whose
#: files stand in no version until they commit. A writer commits within seconds, and within minutes at the worst.
#: So long a version's log is kept too: nobody reads an older one.
RETENTION_HOURS = 24
#: The columns that executions read of an event.
FRAME_COLUMNS = ("shard", "seq", "event_id", "kind", "id", "name", "ts", "received_at", "props")


def log_app(shard: int) -> str:
    """Under which name a shard's log is committed."""
    return f"log/{shard}"


class Lake:
    """The tables under one root. Safe for use by several threads; every write is one commit."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.storage_options = dict(storage_options or {})
        self._tables: dict[str, DeltaTable] = {}
        self._lock = threading.RLock()

    # ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────

    def uri(self, table: Table) -> str:
        """Where a table is."""
        return f"{self.root}/{table.name}"

    def open(self, table: Table) -> DeltaTable:
        """The table at its newest version, created where it is absent."""
        with self._lock:
            held = self._tables.get(table.name)
            try:
                if held is None:
                    held = DeltaTable.create(
                        self.uri(table),
                        schema=table.columns,
                        mode="ignore",
                        partition_by=list(table.partition) or None,
                        storage_options=self.storage_options or None,
                        configuration=_configuration(table),
                    )
                    held = self._tables[table.name] = _as_known(held, table)
                held.update_incremental()
            except (DeltaError, OSError) as error:
                self._tables.pop(table.name, None)
                raise LakeUnreachable(f"{self.uri(table)}: {error}") from error
            return held

    def reach(self) -> None:
        """Looks for the table of events, without loading or making it. Raises `LakeUnreachable` if it is not there."""
        if not holds_table(self.root, EVENTS.name):
            raise LakeUnreachable(f"{self.uri(EVENTS)}: no table is there")

    def append(self, table: Table, rows: pa.Table, transactions: Sequence[Transaction] = ()) -> None:
        """Adds rows in one commit, with transactions of the same commit. Raises `LakeConflict` if another was first.

        Without transactions appends never conflict.
        """
        with self._lock:
            self.append_to(self.open(table), rows, transactions)

    def append_to(self, opened: DeltaTable, rows: pa.Table, transactions: Sequence[Transaction] = ()) -> None:
        """The same through a table object that the caller has checked, at the version that it was checked at."""
        try:
            write_deltalake(
                opened,
                _widened(rows, opened),
                mode="append",
                commit_properties=CommitProperties(app_transactions=list(transactions)) if transactions else None,
            )
        except CommitFailedError as error:
            raise LakeConflict(str(error)) from error
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{opened.table_uri}: {error}") from error

    def size(self, table: Table) -> tuple[int, int]:
        """Rows and bytes of a table's newest version, from its log; of tables by `is_latest` those that are."""
        adds = pl.DataFrame(self.open(table).get_add_actions(flatten=True))
        if "is_latest" in table.partition and len(adds):
            adds = adds.filter(pl.col("partition.is_latest"))
        return int(adds["num_records"].sum()), int(adds["size_bytes"].sum())

    def partitions(self, table: Table) -> list[dict[str, str]]:
        """The partitions that have rows, as column -> value; one without columns for a table that has none."""
        found = self.open(table).partitions()
        return found if table.partition else [{}]

    def batches(self, table: Table, partition: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """The rows of a partition as they are now, some at a time: our columns, then any that it has more."""
        opened = self.open(table)
        return _batches(_columns(opened, table), self._dataset(opened, partition))

    def rewrite(
        self, table: Table, partition: Mapping[str, str], change: Callable[[pa.RecordBatch], pa.RecordBatch]
    ) -> None:
        """Puts what `change` makes of a partition's rows in their place, batch by batch, in one commit.

        The table's log names the partition and nothing else. Raises `LakeConflict` if another writer was first.
        """
        with self._lock:
            opened = self.open(table)
            is_inside = [f"{column} = '{value}'" for column, value in partition.items()]
            try:
                columns = _columns(opened, table)
                changed = (change(one) for one in _batches(columns, self._dataset(opened, partition)))
                write_deltalake(
                    opened,
                    pa.RecordBatchReader.from_batches(columns, changed),
                    mode="overwrite",
                    predicate=" and ".join(is_inside) or None,
                )
            except CommitFailedError as error:
                raise LakeConflict(str(error)) from error
            except (DeltaError, OSError) as error:
                raise LakeUnreachable(f"{opened.table_uri}: {error}") from error

    def drop_files(self, table: Table, older_than_hours: int = RETENTION_HOURS, *, strays: bool = True) -> int:
        """Deletes files that no newest version needs since so many hours, and older logs; answers how many files.

        `strays`: those too that stand in no version, so long after they were written: what a writer left that was cut
        off, or came second. With 0 hours nobody else may write then. Without, only those go that are a day old: the log
        tells files that were replaced before that from strays no more.
        """
        with self._lock:
            opened = self.open(table)
            try:
                opened.create_checkpoint()
                dropped = opened.vacuum(older_than_hours, False, enforce_retention_duration=False, full=strays)
                if not strays:
                    dropped += opened.vacuum(RETENTION_HOURS, False, full=True)
                opened.cleanup_metadata()
                staged = Stored(self.root).drop_staged(older_than_hours, table.name) if strays else 0
                return len(dropped) + staged
            except CommitFailedError as error:
                raise LakeConflict(str(error)) from error
            except (DeltaError, OSError) as error:
                raise LakeUnreachable(f"{opened.table_uri}: {error}") from error

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def events_version(self) -> int:
        """The newest version of `events`."""
        return self.open(EVENTS).version()

    def events(self, version: int | None = None) -> pl.LazyFrame:
        """The frame of events that executions read, as of a version."""
        return self.scan(EVENTS, version).select(*FRAME_COLUMNS)

    def event_batches(self, version: int, rows: int) -> Iterator[pl.DataFrame]:
        """The same rows, so many at a time and in no order: in the memory of some batches, however many there are.

        Polars' own scan keeps as many row groups in memory as it finds room for, a dataset's one or two; so files are
        read by themselves, and of each the pages of so many rows.
        """
        dataset = self._at(EVENTS, version).to_pyarrow_dataset()
        try:
            for fragment in dataset.get_fragments():
                with pq.ParquetFile(fragment.filesystem.open_input_file(fragment.path)) as file:
                    for batch in file.iter_batches(rows, columns=list(FRAME_COLUMNS), use_threads=False):
                        if batch.num_rows:
                            yield pl.from_arrow(batch)  # type: ignore[misc]  # a batch becomes a frame
        except (pa.ArrowException, OSError) as error:
            raise LakeUnreachable(f"{self.uri(EVENTS)}: {error}") from error

    def transaction_versions(self, version: int | None, shards: int) -> list[int]:
        """For each shard the seq up to which its log is in, as of a version of `events`."""
        opened = self._at(EVENTS, version)
        return [opened.transaction_version(log_app(shard)) or 0 for shard in range(shards)]

    def fixed(self) -> dict[str, str]:
        """What is fixed of the system whose lake this is, by name of the setting; nothing where nobody noted it."""
        return fixed(self.root)

    def fix(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Notes settings where nobody has, once and for all; answers what is noted."""
        self.open(EVENTS)
        return fix(self.root, settings)

    def holds_events(self) -> bool:
        """Whether any event is in the lake."""
        return bool(self.open(EVENTS).file_uris())

    def shard_rows(self, shard: int, after: int, upto: int, version: int | None = None) -> pl.DataFrame:
        """The logged rows of a shard with after < seq <= upto, in order of seq, as of a version."""
        wanted = (pl.col("shard") == shard) & (pl.col("seq") > after) & (pl.col("seq") <= upto)
        return self.scan(EVENTS, version).filter(wanted).sort("seq").collect()

    def last_received_ms(self) -> int:
        """The latest receipt of any event; 0 in an empty lake."""
        found = self.scan(EVENTS, None).select(pl.col("received_at").max()).collect().item()
        return int(found or 0)

    # ── the other tables ─────────────────────────────────────────────────────────────────────────────────────────

    def append_definition(self, body: Mapping[str, Any]) -> None:
        """Adds a version of a definition to the history; `body` has kind, key, version, expression … ."""
        row = {
            "kind": body["kind"],
            "key": body["key"],
            "version": body["version"],
            "expression": body["expression"],
            "deleted": bool(body.get("deleted", False)),
            "author": body.get("author", ""),
            "updated_at": body.get("updated_ms", 0),
            "body": msgspec.json.encode(body).decode(),
        }
        self.append(DEFINITIONS, pa.Table.from_pylist([row], schema=DEFINITIONS.columns))

    def definitions(self) -> list[dict[str, Any]]:
        """Every version of every definition, as it was given, in order of version."""
        rows = self.scan(DEFINITIONS, None).sort("version").select("body").collect()
        return [msgspec.json.decode(body) for body in rows.get_column("body").to_list()]

    def write_traits(self, rows: pl.DataFrame, *, is_latest: bool) -> None:
        """Adds a run's trait values; latest ones take the place of those before."""
        self._write_run(TRAITS, rows, is_latest)

    def write_memberships(self, rows: pl.DataFrame, *, is_latest: bool) -> None:
        """Adds a run's memberships; latest ones take the place of those before."""
        self._write_run(MEMBERSHIPS, rows, is_latest)

    def traits(self) -> pl.LazyFrame:
        """The trait values of the newest full rebuild, without those of people who were deleted since."""
        return self._standing(self.scan(TRAITS, None).filter("is_latest"))

    def memberships(self) -> pl.LazyFrame:
        """The memberships of the newest full rebuild, without those of people who were deleted since."""
        return self._standing(self.scan(MEMBERSHIPS, None).filter("is_latest"))

    def _standing(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rows of a rebuild less those of ids with a delete that its seqs do not cover.

        A rebuild that was cut off before it noted its seqs is taken to have covered none.
        """
        deletes = (
            self.scan(EVENTS, None)
            .filter(pl.col("kind") == "delete")
            .group_by("id")
            .agg(pl.col("shard").first(), pl.col("seq").max().alias("deleted_seq"))
            .collect()
        )
        if deletes.is_empty():
            return rows
        runs = self.scan(RUNS, None).select("build", "seqs")
        marked = rows.join(deletes.lazy(), on="id", how="left").join(runs, on="build", how="left")
        covered = pl.col("seqs").list.get(pl.col("shard"), null_on_oob=True).fill_null(-1)
        kept = pl.col("deleted_seq").is_null() | (pl.col("deleted_seq") <= covered)
        return marked.filter(kept).drop("shard", "deleted_seq", "seqs")

    def append_api_key(self, row: Mapping[str, Any]) -> None:
        """Notes that an admin made a key, or revoked it."""
        self.append(API_KEYS, pa.Table.from_pylist([dict(row)], schema=API_KEYS.columns))

    def api_keys(self) -> list[dict[str, Any]]:
        """Every row of every key, in the order of writing as far as times tell."""
        return self.scan(API_KEYS, None).sort("created_at").collect().to_dicts()

    def append_audit(self, row: Mapping[str, Any]) -> None:
        """Notes what an admin did."""
        self.append(AUDIT, pa.Table.from_pylist([dict(row)], schema=AUDIT.columns))

    def audit(self) -> pl.LazyFrame:
        """What admins did."""
        return self.scan(AUDIT, None)

    def append_run(self, row: Mapping[str, Any]) -> None:
        """Notes what a rebuild did."""
        self.append(RUNS, pa.Table.from_pylist([dict(row)], schema=RUNS.columns))

    def last_run(self) -> dict[str, Any] | None:
        """The newest full rebuild."""
        runs = self.scan(RUNS, None).filter(pl.col("kind") == "full").sort("build").tail(1).collect()
        return runs.row(0, named=True) if len(runs) else None

    def last_build(self) -> int:
        """The greatest number that any rebuild had; 0 if there was none."""
        found = self.scan(RUNS, None).select(pl.col("build").max()).collect().item()
        return int(found or 0)

    def append_rejected(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps refused events with their reasons."""
        if rows:
            shaped = [{name: row.get(name) for name in REJECTED.columns.names} for row in rows]
            self.append(REJECTED, pa.Table.from_pylist(shaped, schema=REJECTED.columns))

    def rejected(self) -> pl.LazyFrame:
        """Refused events."""
        return self.scan(REJECTED, None)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _write_run(self, table: Table, rows: pl.DataFrame, is_latest: bool) -> None:
        shaped = rows.with_columns(pl.lit(is_latest).alias("is_latest")).select(*table.columns.names)
        narrow = shaped.to_arrow().cast(table.columns)
        for _ in range(ATTEMPTS):
            with self._lock:
                opened = self.open(table)
                try:
                    data = _widened(narrow, opened)
                    if is_latest:
                        write_deltalake(opened, data, mode="overwrite", predicate="is_latest = true")
                    else:
                        write_deltalake(opened, data, mode="append")
                    return
                except CommitFailedError:
                    continue  # another rebuild replaced them first: this one is the later
                except (DeltaError, OSError) as error:
                    raise LakeUnreachable(f"{self.uri(table)}: {error}") from error
        raise LakeConflict(f"{self.uri(table)}: other rebuilds were first {ATTEMPTS} times")

    def _dataset(self, opened: DeltaTable, partition: Mapping[str, str]) -> Any:
        files = [(column, "=", value) for column, value in partition.items()]
        return opened.to_pyarrow_dataset(file_pruning_predicate=files or None)

    def _at(self, table: Table, version: int | None) -> DeltaTable:
        opened = self.open(table)
        if version is None or version == opened.version():
            return opened
        try:
            return DeltaTable(self.uri(table), version=version, storage_options=self.storage_options or None)
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{self.uri(table)}: {error}") from error

    def scan(self, table: Table, version: int | None = None) -> pl.LazyFrame:
        """All rows of a table, as of a version."""
        opened = self._at(table, version)
        return pl.scan_delta(self.uri(table), version=opened.version(), storage_options=self.storage_options or None)


def _batches(columns: pa.Schema, rows: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a dataset. Asks nothing of tables: a writer takes them in a thread in which those cannot answer."""
    for one in rows.to_batches():
        if one.num_rows:
            yield one.select(columns.names).cast(columns)


# ── tables that another version made ─────────────────────────────────────────────────────────────────────────────────


def _as_known(opened: DeltaTable, table: Table) -> DeltaTable:
    """A table with all columns and properties that we know: one that an older version made gets those it lacks, the
    columns empty in its rows. A property that somebody has set stays.

    A commit of its own, at which other writers' commits conflict: once, when the first process of a version opens it.
    """
    held = {one.name for one in opened.schema().fields}
    columns = [one for one in Schema.from_arrow(table.columns).fields if one.name not in held]
    known = opened.metadata().configuration
    properties = {name: value for name, value in _configuration(table).items() if name not in known}
    try:
        if columns:
            opened.alter.add_columns(columns)
        if properties:
            opened.alter.set_table_properties(properties)
    except CommitFailedError:
        opened.update_incremental()
        return _as_known(opened, table)  # another was first: perhaps it did the same
    return opened


def _columns(opened: DeltaTable, table: Table) -> pa.Schema:
    """Our columns, then those that a newer version added: we do not know them, and keep them."""
    stored = pa.schema(opened.schema().to_arrow())
    return pa.schema([*table.columns, *[one for one in stored if one.name not in table.columns.names]])


def _widened(rows: pa.Table, opened: DeltaTable) -> pa.Table:
    """Rows with the columns that a newer version added, empty."""
    if len(opened.schema().fields) == rows.num_columns:
        return rows
    for one in pa.schema(opened.schema().to_arrow()):
        if one.name not in rows.column_names:
            rows = rows.append_column(one, pa.nulls(rows.num_rows, one.type))
    return rows


def _configuration(table: Table) -> dict[str, str]:
    kept = [name for name in ("shard", "seq", "ts") if name in table.columns.names]
    return {
        "delta.dataSkippingStatsColumns" if kept else "delta.dataSkippingNumIndexedCols": ",".join(kept) or "0",
        # The log's own files, a day of which are tens of thousands, and what it says of files that were replaced: each
        # look at a table and each checkpoint pays for them.
        "delta.logRetentionDuration": f"interval {RETENTION_HOURS} hours",
        "delta.deletedFileRetentionDuration": f"interval {RETENTION_HOURS} hours",
        # A checkpoint lists all of those, and is kept as long: each hundred commits, it would take gigabytes a day.
        "delta.checkpointInterval": "500",
    }
