"""One export, in a process of its own: it reads an order, writes the file, says how far it is, and ends.

    python -m serving.lookups.export_job  <  order (JSON)  >  lines of JSON that say how far it is

So its memory is back when it is done, the API's loop never waits for it, and it is killed like any process. It runs at
the lowest priority: decisions go first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import TracebackType

import msgspec
import polars as pl

from expressions.batch.member_frames import linked_persons, members
from serving.definitions.catalogue import decode
from serving.history import AWAY, History
from serving.logs import frames_only, safe_message
from serving.lookups.member_csv import csv_chunks
from serving.lookups.member_order import MemberOrder
from serving.lookups.person_files import PersonFiles
from serving.lookups.row_files import FILES_MAX
from serving.refusals import Unavailable

#: Rows of the lake that are in memory at once, about: those of some people, all of each. Of members half as many.
ROWS_AT_ONCE = 100_000
#: Rows of the lake that are read at a time.
BATCH_ROWS = 20_000
#: What the process is to be started with: otherwise Polars' allocator keeps what it was given back, more and more.
ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
#: With which the process ends when it is the lake that failed, when people were deleted meanwhile, and when it is we.
LAKE_AWAY, OUTRUN, FAILED = 3, 4, 1
#: How often an export is done until nobody is deleted meanwhile.
ATTEMPTS = 3


class Outrun(Exception):
    """People were deleted while an export ran, each time that it did."""


class Order(msgspec.Struct, frozen=True):
    """What to export: a segment by key, of a catalogue (`serving.definitions.catalogue`'s text), as of UTC ms, to a
    file."""

    lake_root: str
    catalogue: bytes
    key: str
    as_of_ms: int
    filename: str
    rows_at_once: int = ROWS_AT_ONCE


class Progress(msgspec.Struct, frozen=True):
    """How far an export is, of how much, and the members found so far. Every row of the lake is two steps: it is put
    beside the others of its person, and it is looked at."""

    done: int
    of: int
    members: int


def export(order: Order, progress: Callable[[Progress], None]) -> None:
    """Writes the members of a segment, in slices of one version of the lake. Raises `AWAY`, `Unavailable`, `Outrun`.

    A purge drops the files that name who is gone, and looks for them once. So a file is dropped here when somebody was
    deleted that its version still has; a purge of whoever is deleted after that look finds the file.
    """
    lake = History(order.lake_root)
    for _ in range(ATTEMPTS):
        version = lake.events_version()
        deletes = _deletes(lake.events(version))
        lake.put_export(order.filename, csv_chunks(_parts(lake, version, order, progress)))
        if _deletes(lake.events()) == deletes:
            return
        lake.drop_export(order.filename)
    raise Outrun


def _deletes(events: pl.LazyFrame) -> int:
    """How many there were; a purge takes names from them, and none away."""
    return int(events.filter(pl.col("kind") == "delete").select(pl.len()).collect().item())


def _parts(lake: History, version: int, order: Order, progress: Callable[[Progress], None]) -> Iterator[pl.DataFrame]:
    catalogue = decode(order.catalogue)
    bound = catalogue.bounds[("segment", order.key)]
    events = lake.events(version)
    held = lake.memberships().filter(pl.col("key") == order.key).select("id", "since")
    rows = int(events.select(pl.len()).collect().item())
    known = linked_persons(events)
    done = count = 0
    with (
        PersonFiles(min(-(-rows // order.rows_at_once) or 1, FILES_MAX), known) as slices,
        MemberOrder(order.rows_at_once // 2 or 1) as ordered,
    ):
        for batch in lake.event_batches(version, BATCH_ROWS):
            progress(Progress(done, 2 * rows, 0))
            slices.add(batch)
            done += len(batch)
        for some in slices.take():
            found = members(some, bound, order.as_of_ms, catalogue.zone)
            done, count = done + len(some), count + len(found)
            del some  # before the next ones are read
            ordered.add(found)
            progress(Progress(done, 2 * rows, count))
        for found in ordered.take():
            progress(Progress(done, 2 * rows, count))
            yield _since(found, held, order.as_of_ms)
    progress(Progress(done, 2 * rows, count))


def _since(found: pl.DataFrame, held: pl.LazyFrame, as_of_ms: int) -> pl.DataFrame:
    """Since when, as far as a rebuild has seen it; else since this export has."""
    known = held.join(found.lazy().select("id"), on="id", how="semi").collect(engine="streaming")
    as_of = pl.lit(as_of_ms, dtype=pl.Int64)
    return found.join(known, on="id", how="left", maintain_order="left").with_columns(
        pl.col("since").fill_null(as_of), as_of.alias("updated_at")
    )


def main() -> None:
    """Does what the order on the standard input says."""
    os.nice(10)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)

    def say(progress: Progress) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
        sys.stdout.buffer.flush()

    sys.excepthook = _died
    try:
        export(order, say)
    except (*AWAY, Unavailable) as error:
        sys.stderr.write(safe_message(error))
        raise SystemExit(LAKE_AWAY) from error
    except Outrun as outrun:
        raise SystemExit(OUTRUN) from outrun


def _died(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """The type and the places alone: the API logs what is said here."""
    sys.stderr.write(msgspec.json.encode(frames_only(None, "", {"exc_info": error})).decode())


if __name__ == "__main__":
    main()
