"""One export, in a process of its own (`job_process`): it reads an order, writes the file, and reports its progress.

python -m serving.lookups.export_job  <  Order (JSON)  >  Progress, a line of JSON each

1. rows of the lake, in batches  →  files, each with every row of some people   (`person_files`)
2. one file at a time            →  the members among its people                (`member_frames.members`)
3. members, in any order         →  members, the newest first                   (`member_order`)
4. members                       →  CSV                                         (`member_csv`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import polars as pl

from expressions.batch.member_frames import linked_persons, members
from expressions.plan import plan
from lake.grouped_files import BYTES_AT_ONCE
from lake.row_files import FILES_MAX
from serving.definitions.catalogue import decode
from serving.history import History, Source
from serving.lookups.job_process import Outrun, main_of
from serving.lookups.member_csv import csv_chunks
from serving.lookups.member_order import MemberOrder
from serving.lookups.person_files import PersonFiles

#: Rows of the lake that one file of people should have, since a file is in memory at once. Of members half as many.
ROWS_AT_ONCE = 100_000
#: Rows of the lake that are read at a time.
BATCH_ROWS = 20_000
#: Where memory fails the file is written anew with half as much at a time, down to this part of it.
PARTS_MAX = 64
#: How often an export is written until nobody is deleted meanwhile.
ATTEMPTS = 3


class Order(msgspec.Struct, frozen=True):
    """An export to write: the segment, the instant (UTC ms) and the file's name.

    `catalogue` is its text, as `serving.definitions.catalogue` encodes it.
    """

    source: Source
    catalogue: bytes
    key: str
    as_of_ms: int
    filename: str
    rows_at_once: int = ROWS_AT_ONCE


class Progress(msgspec.Struct, frozen=True):
    """Steps done of all steps, and members found so far.

    Every row of the lake is two steps: it is put beside the other rows of its person, and it is evaluated.
    """

    done: int
    of: int
    members: int


def export(order: Order, progress: Callable[[Progress], None]) -> None:
    """Writes the members of a segment, from one version of the lake. Raises `AWAY`, `Unavailable`, `Outrun`.

    A purge looks once for files that name a deleted person. So a file is dropped here when somebody was deleted whom
    its version of the lake still has. Whoever is deleted after that look has a purge that finds the file. Deletes that
    are not drained at the end are looked for by who gave the order (`export_runs`).
    """
    lake = order.source.history()
    for _ in range(ATTEMPTS):
        version = lake.events_version()
        deletes = _deletes(lake.events(version))
        rows_at_once, least = order.rows_at_once, order.rows_at_once // PARTS_MAX
        lake.put_export(order.filename, partial(_chunks, lake, version, order, progress), rows_at_once, least)
        if _deletes(lake.events()) == deletes:
            return
        lake.drop_export(order.filename)
    raise Outrun


def _chunks(
    lake: History, version: int, order: Order, progress: Callable[[Progress], None], rows_at_once: int
) -> Iterator[bytes]:
    return csv_chunks(_members(lake, version, order, progress, rows_at_once))


def _deletes(events: pl.LazyFrame) -> int:
    """How many deletes there are, in the lake or not yet. A purge renames deletes and removes none."""
    deletes = events.filter(pl.col("kind") == "delete").select(pl.struct("shard", "seq").n_unique())
    return int(deletes.collect().item())


def _members(
    lake: History, version: int, order: Order, progress: Callable[[Progress], None], rows_at_once: int
) -> Iterator[pl.DataFrame]:
    """The members in the order of the file, some at a time, with the columns of `member_csv`.

    Of its usual bounds each has the share that `rows_at_once` has of what was ordered.
    """
    catalogue = decode(order.catalogue)
    bound = catalogue.bounds[("segment", order.key)]
    events = lake.events(version)
    memberships = lake.memberships().filter(pl.col("key") == order.key).select("id", "since")
    rows = int(events.select(pl.len()).collect().item())
    done = count = 0
    reads_fields = plan([bound.expr]).reads_fields
    linked, share = linked_persons(events), rows_at_once / order.rows_at_once
    with (
        PersonFiles(min(-(-rows // rows_at_once) or 1, FILES_MAX), linked, int(BYTES_AT_ONCE * share)) as files,
        MemberOrder(rows_at_once // 2 or 1) as ordered,
    ):
        for batch in lake.event_batches(version, int(BATCH_ROWS * share) or 1, with_fields=reads_fields):
            progress(Progress(done, 2 * rows, 0))
            files.add(batch)
            done += len(batch)
        for people in files.take():
            of_file = members(people, bound, order.as_of_ms, catalogue.zone)
            done, count = done + len(people), count + len(of_file)
            del people  # before the next ones are read
            ordered.add(of_file)
            progress(Progress(done, 2 * rows, count))
        for part in ordered.take():
            progress(Progress(done, 2 * rows, count))
            yield _with_since(part, memberships, order.as_of_ms)
    progress(Progress(done, 2 * rows, count))


def _with_since(members: pl.DataFrame, memberships: pl.LazyFrame, as_of_ms: int) -> pl.DataFrame:
    """The members with `since` and `updated_at`: a membership that no rebuild has seen begins at this export."""
    known = memberships.join(members.lazy().select("id"), on="id", how="semi").collect(engine="streaming")
    as_of = pl.lit(as_of_ms, dtype=pl.Int64)
    return members.join(known, on="id", how="left", maintain_order="left").with_columns(
        pl.col("since").fill_null(as_of), as_of.alias("updated_at")
    )


def main() -> None:
    """Writes the export that the order on the standard input describes."""
    main_of(lambda order, report: export(msgspec.json.decode(order, type=Order), report))


if __name__ == "__main__":
    main()
