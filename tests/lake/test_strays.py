"""Files that stand in no version of a table: of writers who were cut off or refused, and of those who are at work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import Transaction

from lake.errors import LakeConflict, LakeError, LakeUnreachable
from lake.lake import Lake
from lake.old_files import fence_of
from lake.schemas import AUDIT, EVENTS, TABLES, Table
from tests.small_s3 import SmallS3


def rows(table: Table, count: int = 2) -> pa.Table:
    """Some rows of a table, of one partition."""
    values = {"ingest_date": 20_000, "is_latest": True, "deleted": False, "seqs": [1], "props": []}
    row = {name: values.get(name) for name in table.columns.names}
    return pa.Table.from_pylist([row] * count, schema=table.columns)


def compact(lake: Lake, table: Table) -> None:
    """Makes one file of all of a table's."""
    opened = lake.open(table)
    with lake.writing(opened):
        opened.optimize.compact()


#: What a writer may be at, and how many rows are there after it, of two files of two rows.
WRITES: dict[str, tuple[Callable[[Lake, Table], object], int]] = {
    "append": (lambda lake, table: lake.append_to(lake.open(table), rows(table)), 6),
    "append with a transaction": (lambda lake, table: lake.append(table, rows(table), [Transaction("a", 1)]), 6),
    "rewrite": (lambda lake, table: lake.rewrite_once(table, lake.partitions(table)[0], lambda batch: batch), 4),
    "compact": (compact, 4),
}


class StoppedWriter:
    """A write in a thread, which stands still before one of its requests until it is told to go on: 0 is the one that
    writes its file, 1 looks at the table's log again, and 2 writes the commit."""

    def __init__(self, store: SmallS3, write: Callable[[], object], before_request: int = 2) -> None:
        self.raised: LakeError | None = None
        self._write, self._may_go_on, stands = write, threading.Event(), threading.Event()
        requests: list[str] = []

        def before(method: str, key: str) -> None:
            if method == "PUT" or requests:
                requests.append(method)
            if len(requests) == before_request + 1:
                store.heal()
                stands.set()
                self._may_go_on.wait(30)

        store.before = before
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert stands.wait(30)

    def go_on(self) -> None:
        """Lets it commit; returns when it has, or was refused."""
        self._may_go_on.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            self._write()
        except LakeError as error:
            self.raised = error


def data_files(store: SmallS3, table: Table) -> set[str]:
    """The data files that lie under a table."""
    return {key for key in store.keys(".parquet") if f"/{table.name}/" in key and "_delta_log" not in key}


def named_files(lake: Lake, table: Table) -> int:
    """How many files the newest version of a table has."""
    return len(lake.open(table).file_uris())


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("kind", WRITES)
def test_a_file_that_is_about_to_be_committed_may_go_and_breaks_no_table(object_store: SmallS3, kind: str) -> None:
    """Old files are dropped at once while a writer stands between its file and its commit, in every table. The commit
    is refused, the table names no file that is gone, and the writer's next try succeeds."""
    root = f"s3://{object_store.bucket}/lake"
    lake = Lake(root)
    write, after = WRITES[kind]
    for table in TABLES:
        for _ in range(2):
            lake.append(table, rows(table))
        writer = StoppedWriter(object_store, partial(write, Lake(root), table))
        assert len(data_files(object_store, table)) > named_files(lake, table)
        lake.drop_files(table, 0)
        assert len(data_files(object_store, table)) == named_files(lake, table)
        writer.go_on()

        assert isinstance(writer.raised, LakeConflict)
        assert lake.missing_files(table) == []
        assert lake.scan(table).collect().height == 4
        write(Lake(root), table)
        assert lake.missing_files(table) == []
        assert lake.scan(table).collect().height == after


@pytest.mark.parametrize("kind", WRITES)
def test_old_files_may_be_dropped_at_any_instant_of_a_write(object_store: SmallS3, kind: str) -> None:
    """Old files are dropped before the writer's file is there, before it looks at the log again, and before it commits.
    The writer commits or is refused, and the table never names a file that is gone."""
    outcomes = []
    for number in range(3):
        lake = Lake(f"s3://{object_store.bucket}/lake{number}")
        for _ in range(2):
            lake.append(EVENTS, rows(EVENTS))
        write, after = WRITES[kind]
        writer = StoppedWriter(object_store, partial(write, Lake(lake.root), EVENTS), number)
        lake.drop_files(EVENTS, 0)
        writer.go_on()

        assert lake.missing_files(EVENTS) == []
        assert lake.scan(EVENTS).collect().height == (4 if writer.raised else after)
        outcomes.append(type(writer.raised))
    assert outcomes == [type(None), LakeConflict, LakeConflict]


def test_a_file_that_is_committed_before_the_fence_stays(object_store: SmallS3) -> None:
    """A stray is looked at again after the fence: one that was committed while the fence was put up is none."""
    root = f"s3://{object_store.bucket}/lake"
    lake = Lake(root)
    lake.append(AUDIT, rows(AUDIT))
    writer = StoppedWriter(object_store, lambda: Lake(root).append(AUDIT, rows(AUDIT)))

    def before(method: str, key: str) -> None:
        if method == "PUT" and "_delta_log/" in key:
            object_store.heal()
            writer.go_on()  # before the commit of the fence

    object_store.before = before
    lake.drop_files(AUDIT, 0)

    assert writer.raised is None and fence_of(lake.open(AUDIT)) is not None
    assert lake.missing_files(AUDIT) == [] and lake.audit().collect().height == 4


def test_without_strays_nobody_is_refused(tmp_path: Path) -> None:
    """Where no file is a stray the table is not fenced, so maintenance makes no writer write anew."""
    lake = Lake(str(tmp_path / "lake"))
    for _ in range(3):
        lake.append(AUDIT, rows(AUDIT))
    compact(lake, AUDIT)
    opened = Lake(lake.root).open(AUDIT)

    assert lake.drop_files(AUDIT, 0) == 3
    lake.append_to(opened, rows(AUDIT))

    assert fence_of(lake.open(AUDIT)) is None
    assert lake.audit().collect().height == 8


def test_a_log_that_refuses_every_commit_costs_one_file(object_store: SmallS3) -> None:
    """A store that takes data and refuses commits gets one file, however often the write is tried again. The first
    write that succeeds takes that file away."""
    lake = Lake(f"s3://{object_store.bucket}/lake")
    lake.append(EVENTS, rows(EVENTS))
    object_store.before = lambda method, key: 403 if method == "PUT" and "_delta_log/" in key else None
    for _ in range(20):
        with pytest.raises(LakeUnreachable):
            lake.append(EVENTS, rows(EVENTS), [Transaction("log/0", 1)])
    assert len(data_files(object_store, EVENTS)) == named_files(lake, EVENTS) + 1

    object_store.heal()
    lake.append(EVENTS, rows(EVENTS), [Transaction("log/0", 1)])

    assert len(data_files(object_store, EVENTS)) == named_files(lake, EVENTS) == 2
    assert lake.scan(EVENTS).collect().height == 4


def test_a_commit_that_came_second_leaves_no_file(tmp_path: Path) -> None:
    """Where another writer was first, the file of the refused commit goes at once; and within a minute after that with
    the next purge, since it makes every writer of the table write anew."""
    lake, others = (Lake(str(tmp_path / "lake")) for _ in range(2))
    opened = lake.open(AUDIT)
    others.append(AUDIT, rows(AUDIT), [Transaction("a", 1)])
    for left in (0, 1):
        with pytest.raises(LakeConflict):
            lake.append_to(opened, rows(AUDIT), [Transaction("a", 1)])
        assert len(list(Path(lake.root, AUDIT.name).glob("*.parquet"))) == named_files(lake, AUDIT) + left
        opened = lake.open(AUDIT)
        others.append(AUDIT, rows(AUDIT), [Transaction("a", 2)])

    lake.drop_files(AUDIT, 0)
    assert len(list(Path(lake.root, AUDIT.name).glob("*.parquet"))) == named_files(lake, AUDIT) == 3
    assert lake.missing_files(AUDIT) == []
