"""The one door of serving to the lake: definitions and their history, keys, the audit log, frames, exports.

Threads call it, and processes beside the API; never the event loop. While the lake is away every call raises
`Unavailable`, which says when to try again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import polars as pl

from expressions.definitions import DefinitionKind, Key
from expressions.rules.deletes import delete_seqs, undeleted
from lake.errors import LakeError
from lake.folder import File, Folder
from lake.halving import halving
from lake.lake import FRAME_COLUMNS, Lake
from lake.schemas import EVENTS, MEMBERSHIPS, TABLES, Table
from lake.storage import list_root
from serving.definitions.catalogue import StoredDefinition
from serving.refusals import Unavailable
from serving.store.errors import OtherLake
from serving.store.operations.events import UndrainedDelete
from serving.store.requirements import require_lake

T = TypeVar("T")


#: What a rebuild counts of people.
PEOPLE_COUNTED = ("users", "segments", "traits")


class Counted(NamedTuple):
    """What a full rebuild noted: its instant (UTC ms), how many people there were, the version of the definitions."""

    as_of_ms: int
    people: int
    definitions: int


class History:
    """The tables and files of one lake, as far as serving needs them."""

    def __init__(
        self, lake_root: str, undrained: Sequence[UndrainedDelete] = (), redis_lake: str | None = None
    ) -> None:
        self._lake = Lake(lake_root)
        self._files = Folder(lake_root, "exports")
        self._undrained = undrained
        #: The id of the lake that Redis belongs to; None where that is not known. The door to another one stays closed.
        self.redis_lake = redis_lake

    def append_definitions(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Adds versions of definitions to the history, and who saved them to the audit log (`definitions.saving`)."""
        self._with_refusals(lambda: self._lake.append_definitions(changes))

    def definition_versions(self, kind: DefinitionKind, key: str) -> list[StoredDefinition]:
        """Every version of a definition, the newest first; deleted ones too."""
        return list(reversed(self.versions_by_key({(kind, key)}).get((kind, key), {}).values()))

    def versions_by_key(self, wanted: Collection[Key]) -> dict[Key, dict[int, StoredDefinition]]:
        """Every version of some definitions by its number, in order."""
        rows = self._with_refusals(lambda: self._lake.definitions({key for _, key in wanted}))
        versions: dict[Key, dict[int, StoredDefinition]] = {}
        for row in rows:
            stored = msgspec.convert(row, StoredDefinition)
            if (stored.kind, stored.key) in wanted:
                versions.setdefault((stored.kind, stored.key), {})[stored.version] = stored
        return versions

    def holds_events(self) -> bool:
        """Whether any event is in the lake."""
        return self._with_refusals(self._lake.holds_events)

    def append_api_key(self, row: Mapping[str, Any]) -> None:
        """Notes that a key was made or revoked."""
        self._with_refusals(lambda: self._lake.append_api_key(row))

    def append_audit(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Notes what an admin did, in one commit."""
        self._with_refusals(lambda: self._lake.append_audit(*rows))

    def audit(self, limit: int, offset: int, among: pl.Expr | None = None) -> tuple[list[dict[str, Any]], int]:
        """A page of what admins did, the newest first, and the number of all; `among` those that it is true of."""
        sought = pl.lit(True) if among is None else among
        rows = self._with_refusals(
            lambda: self._lake.audit().filter(sought).sort("at", descending=True, maintain_order=True).collect()
        )
        return rows.slice(offset, limit).to_dicts(), len(rows)

    def rejected(self) -> pl.LazyFrame:
        """Refused events and rows, and notes of those that were sent again (`lake.schemas`)."""
        return self._with_refusals(self._lake.rejected)

    def append_rejected_marks(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Notes that refused events were sent again, in one commit."""
        self._with_refusals(lambda: self._lake.append_rejected_marks(rows))

    # ── whether it is there ──────────────────────────────────────────────────────────────────────────────────────────

    def reach(self) -> None:
        """Raises unless the table of events can be read. Writes nothing."""
        self._with_refusals(self._lake.reach)

    def reach_storage(self) -> None:
        """Raises unless the lake's root can be listed. Writes nothing."""
        self._with_refusals(lambda: list_root(self._lake.root))

    def people_over_time(self, since_ms: int, until_ms: int, points: int) -> list[tuple[int, dict[str, Any]]]:
        """The instants of full rebuilds in [since, until), UTC ms, and how many people each counted.

        `users`, and by key those in `segments` and with `traits`. Of each of so many equal parts of the time it is the
        last rebuild.
        """
        part = (pl.col("as_of") - since_ms) * points // (until_ms - since_ms)
        within = pl.col("as_of").is_between(since_ms, until_ms, closed="left")
        last = pl.col("sizes").last(), pl.col("as_of").last()
        rows = self._with_refusals(
            lambda: self._lake.sizes().filter(within).sort("as_of").group_by(part.alias("part")).agg(*last).collect()
        )
        noted = [(at, msgspec.json.decode(sizes)) for at, sizes in rows.sort("as_of").select("as_of", "sizes").rows()]
        return [(at, {name: sizes[name] for name in PEOPLE_COUNTED}) for at, sizes in noted]

    def counted_by(self, build: int) -> Counted | None:
        """What the full rebuild of this number noted; None where it noted nothing, or not yet."""
        rows = self._with_refusals(lambda: self._lake.sizes().filter(pl.col("build") == build).collect())
        noted = [msgspec.json.decode(sizes) for sizes in rows["sizes"]]
        if not noted or "definitions" not in noted[0]:  # by a rebuild of an older program
            return None
        return Counted(rows["as_of"][0], noted[0]["users"], noted[0]["definitions"])

    def last_build(self) -> int | None:
        """The number of the newest full rebuild that noted how many people there are; None before the first."""
        return self._with_refusals(lambda: self._lake.sizes().select(pl.col("build").max()).collect().item())

    def sizes(self) -> dict[str, tuple[int, int]]:
        """By table: the rows in force and the bytes of their files, from the tables' own logs."""
        return self._with_refusals(lambda: {table.name: self._lake.size(table) for table in TABLES})

    def event_rows(self) -> int:
        """How many rows of events there are, from the table's own log."""
        return self._with_refusals(lambda: self._lake.size(EVENTS))[0]

    # ── frames, for questions that run in a process of their own (`serving.lookups.worker`) ──────────────────────────

    def events_version(self) -> int:
        """The newest version of the events, for questions that read it several times."""
        return self._with_refusals(self._lake.events_version)

    def events(self, version: int | None = None) -> pl.LazyFrame:
        """The frame of events that executions read, as of a version; of the newest one where none is given.

        It has the undrained deletes too, so that nobody who was deleted is in an answer while the drain is behind.
        """
        return self._with_refusals(lambda: with_deletes(self._lake.events(version), self._undrained))

    def event_batches(self, version: int, rows: int, *, with_fields: bool = True) -> Iterator[pl.DataFrame]:
        """The same rows, so many at a time, in the memory of a few batches. Taking them raises as `AWAY` says.

        Without `with_fields` they lack `props`, which is most of what there is to read.
        """
        self._require_own_lake()
        columns = [name for name in FRAME_COLUMNS if with_fields or name != "props"]
        yield from self._lake.event_batches(version, rows, columns)
        if self._undrained:
            yield delete_rows(self._lake.events(version), self._undrained).select(columns)

    def newest_batches(self, rows: int, files: int) -> Iterator[pl.DataFrame]:
        """So many rows of those that were received last, from so many files at most. Raises as `event_batches` does."""
        self._require_own_lake()
        yield from self._lake.newest_batches(rows, files)

    def memberships(self, ids: Collection[str] | None = None) -> pl.LazyFrame:
        """Who is in which segment since when, by the newest full rebuild, without the people deleted since.

        With `ids` of these people alone.
        """
        return self._with_refusals(lambda: latest_undeleted(self._lake, MEMBERSHIPS, self._undrained, ids))

    def sent(self) -> pl.LazyFrame:
        """Events as they were sent: shard, ts, id, event_id, received_at; properties, traits and context as JSON."""
        scan = self._with_refusals(lambda: self._lake.scan(EVENTS))
        return scan.select("shard", "ts", "id", "event_id", "received_at", "properties", "traits", "context")

    # ── files beside the tables ──────────────────────────────────────────────────────────────────────────────────────

    def put_export(self, name: str, chunks: Callable[[int], Iterator[bytes]], rows_at_once: int, least: int) -> None:
        """Writes an export, in the place of one of that name once it is complete. A failure leaves the old one.

        `chunks` makes it with so many rows in memory. Where memory fails it is written anew with half as many, and with
        `least` at the least; then `MemoryError` is raised.
        """
        self._with_refusals(lambda: halving(lambda rows: self._files.put(name, chunks(rows)), rows_at_once, least))

    def drop_export(self, name: str) -> None:
        """Deletes an export, if it is still there."""
        self._with_refusals(lambda: self._files.delete(name))

    def exports(self) -> list[File]:
        """All exports, the newest first."""
        return self._with_refusals(self._files.listed)

    def export(self, name: str) -> File | None:
        """The export of this name; None where there is none."""
        return self._with_refusals(lambda: self._files.head(name))

    def export_chunks(self, name: str) -> AsyncIterator[bytes]:
        """The bytes of an export, some at a time. Raises `FileNotFoundError` where there is none of this name."""
        return self._files.chunks(name)

    def store_url(self, name: str, seconds: int) -> str | None:
        """An address at which the object store itself serves an export for so many seconds; None for a plain folder."""
        return self._with_refusals(lambda: self._files.signed(name, seconds))

    def _require_own_lake(self) -> None:
        """Raises `Unavailable` where Redis belongs to another lake: nothing is read there, nor written."""
        if self.redis_lake is not None:
            try:
                require_lake(self.redis_lake, self._lake.id_if_there(), self._lake.root)
            except OtherLake as error:
                raise _other_lake(error) from None
            except LakeError:
                return  # it may be the right one; who goes on finds out why it cannot be read

    def _with_refusals(self, call: Callable[[], T]) -> T:
        try:
            self._require_own_lake()
            return call()
        except AWAY as error:
            raise away() from error


def latest_undeleted(
    lake: Lake, table: Table, undrained: Sequence[UndrainedDelete] = (), ids: Collection[str] | None = None
) -> pl.LazyFrame:
    """The rows of the newest full rebuild in `traits` or `memberships`, without those of people deleted since.

    With `ids` those of these people alone.
    """
    rows, events = lake.latest(table), with_deletes(lake.events(), undrained)
    if ids is not None:
        rows, events = (frame.filter(pl.col("id").is_in(list(ids))) for frame in (rows, events))
    return undeleted(rows, delete_seqs(events), lake.runs())


def with_deletes(events: pl.LazyFrame, undrained: Sequence[UndrainedDelete]) -> pl.LazyFrame:
    """The frame of events, with deletes that it may lack. One that it has already does no harm."""
    return pl.concat([events, delete_rows(events, undrained).lazy()]) if undrained else events


def delete_rows(events: pl.LazyFrame, undrained: Sequence[UndrainedDelete]) -> pl.DataFrame:
    """Undrained deletes as rows of a frame of events."""
    schema = events.collect_schema()
    rows = [
        {"shard": shard, "seq": seq, "event_id": "", "kind": "delete", "id": id, "ts": ms, "received_at": ms}
        for shard, seq, ms, id in undrained
    ]
    named = {name: schema[name] for name in rows[0]}
    empty = [pl.lit(None, dtype=schema[name]).alias(name) for name in schema if name not in named]
    return pl.DataFrame(rows, schema=named).with_columns(empty).select(schema.names())


class Source(NamedTuple):
    """Where a question reads, as a plain value for another process: the lake, deletes that it may lack, its id."""

    lake_root: str
    undrained: Sequence[UndrainedDelete] = ()
    redis_lake: str | None = None

    def history(self) -> History:
        """The door to that lake."""
        return History(*self)


#: Errors of a lake that is away. A frame raises them when it is collected.
AWAY = (LakeError, pl.exceptions.PolarsError, OSError)


def _other_lake(error: OtherLake) -> Unavailable:
    """The refusal of a lake that is not the one of this Redis. Strangers read it in `/health`, so ids and addresses are
    for the log and for doctor."""
    told = "a place without a lake" if error.told is None else "another lake"
    text = f"this process is told {told}, not the lake that its Redis belongs to"
    refusal = Unavailable(text, {"remedy": "see `tinycdp doctor`"}, retry_after_s=5)
    refusal.why = f"told {error.told}, not {error.noted}"
    return refusal


def away() -> Unavailable:
    """The refusal while the lake is away."""
    return Unavailable("the lake is away", {"remedy": "try again"}, retry_after_s=5)
