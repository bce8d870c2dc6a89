"""The purge: what deletes cover goes from every table and file, and nothing names the deleted any more.

    what is covered  →  flags, rejected, exports  →  (values of others)  →  traits, memberships  →  events, day by day
                     →  Redis  →  files

A day's rows are rewritten when the day is over, in one commit a day whose entry in the table's log names the day and
nothing else: a commit conflicts with appends to the same day, and to no other. The tombstones stay, under the hash of
their ids (`expressions.rules.deletes`), and go on refusing rebuilds, recoveries and imports. An id is **gone** when
nothing came after its delete; one that came back keeps its name, and only what the delete covers goes.

The tombstones of a day are written last, and what names are to be looked for comes from them, so a purge that was cut
off anywhere is simply run again. Compaction waits for it: the worker does one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa

from expressions.rules.deletes import GONE, IS_AFTER, after_deletes, last_deletes, tombstone_id, undeleted
from expressions.rules.identity import owners
from expressions.rules.repeats import REPEAT_MS
from lake.lake import Lake
from lake.schemas import DEFINITIONS, EVENTS, MEMBERSHIPS, REJECTED, RETENTION_HOURS, TRAITS
from lake.stored_files import StoredFiles
from lake.tables import Change
from pipelines.purge.naming import Names, unpacked
from pipelines.purge.redacting import forget_in_flags, redact
from serving.ids import shard_of
from serving.store.operations.links import Claim
from serving.store.scripts.claim import Owner
from serving.store.store import Store

#: A purged tombstone is kept in Redis for as long as a retry of what it covers may come, and an hour more.
GONE_MS = REPEAT_MS + 3_600_000
#: Later than any time.
FOREVER_MS = 2**63 - 1
#: What a row of events is judged by.
JUDGED = ("ingest_date", "kind", "id", "shard", "seq", "ts", "name", "user_id", "anonymous_id")
#: Columns of other people's events that may name an id that is gone: a device that was theirs too.
NAMING = ("user_id", "anonymous_id")


@dataclass(frozen=True)
class Deleted:
    """The deletes of a lake. `deletes`: id, deleted_seq, deleted_at, purged ones under their hash too; `gone`: ids of
    which nothing is left to show; `returned`: those with something newer than their delete; `seen`: the last seq of
    each shard that was looked at."""

    deletes: pl.DataFrame
    gone: frozenset[str]
    returned: frozenset[str]
    seen: Mapping[int, int]

    def gone_among(self, ids: Collection[str]) -> frozenset[str]:
        """Who is gone, and those of some ids who were purged before and did not come back."""
        purged = set(self.deletes["id"])
        return self.gone | {one for one in ids if tombstone_id(one) in purged and one not in self.returned}


@dataclass
class Purged:
    """What a purge did: rows gone per table, records of Redis, files; and which ids were (and are) to be gone.

    `flags` are those that named one of them; `redacted` counts rows of others of which a value did.
    """

    gone: int = 0
    returned: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    records: int = 0
    files: int = 0
    exports: int = 0
    flags: int = 0
    redacted: int = 0


def purge(
    store: Store,
    lake: Lake,
    now: datetime | None = None,
    *,
    with_today: bool = False,
    redacts: Collection[str] | None = None,
    rebuild: Callable[[], object] = lambda: None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Purged:
    """Purges what may be: closed days, or all of them `with_today`, when nobody else may write
    (`pipelines.purge.erasing`).

    `redacts`: values of other people's events that name somebody who is gone, or one of these ids if it was deleted,
    go too, and `rebuild` counts them anew (`pipelines.purge.redacting`); None leaves them.

    Raises when Redis or the lake are away, and `LakeConflict` when other writers were first ten times; what was done
    stays done.
    """
    today = (now or datetime.now(UTC)).date()
    found = deleted_people(lake)
    did = Purged(len(found.gone), len(found.returned))
    on_step("looked")
    names = found.gone_among(redacts or ())
    if not found.deletes.is_empty():
        did.rows[REJECTED.name] = lake.rewrite(REJECTED, {}, _without_named(Names(names), _came_back_ms(found)))
        on_step("rejected")
        did.exports = _drop_exports(StoredFiles(lake.root), Names(names))
        did.flags = forget_in_flags(store, lake, names)
        on_step("flags")
        if redacts is not None:
            did.redacted = redact(lake, Names(names))
            on_step("redacted")
            rebuild()
            on_step("rebuilt")
        for table in (TRAITS, MEMBERSHIPS):
            # Before the tombstones lose their names: until then these tables are read without what they cover.
            did.rows[table.name] = sum(
                lake.rewrite(table, partition, _without_deleted(lake, found.deletes, store.shards))
                for partition in lake.partitions(table)
            )
            on_step(table.name)
        days = _days(lake, found)
        did.rows[EVENTS.name] = 0
        for day in days:
            if with_today or day < today.isoformat():
                did.rows[EVENTS.name] += lake.rewrite(EVENTS, {"ingest_date": day}, _purged(found))
                on_step("events")
    did.records = _forget(store, found)
    on_step("forgotten")
    for table in (EVENTS, TRAITS, MEMBERSHIPS, REJECTED, DEFINITIONS):
        # Definitions are saved whatever leases are held, so a file of theirs may be about to be committed.
        is_alone = table is not DEFINITIONS
        did.files += lake.drop_files(table, 0 if with_today else RETENTION_HOURS, strays=is_alone or not with_today)
        on_step("files")
    return did


def deleted_people(lake: Lake) -> Deleted:
    """Who was deleted, by the newest rows, and of whom something is newer than that."""
    events = lake.events(lake.events_version()).select(
        "shard", "seq", "event_id", "kind", "id", "name", "ts", "received_at"
    )
    deletes = last_deletes(events)
    named = pl.col("id").is_in(deletes["id"].implode())
    live = after_deletes(events)
    returned = set(live.filter(named).select(pl.col("id").unique()).collect()["id"])
    owned = set(owners(live)["owner"]) if len(deletes) else set()
    names = {one for one in deletes["id"] if not one.startswith(GONE)}
    returned |= names & owned
    seen = events.group_by("shard").agg(pl.col("seq").max()).drop_nulls().collect()
    return Deleted(deletes, frozenset(names - returned), frozenset(returned), dict(seen.iter_rows()))


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _judged(rows: pl.LazyFrame, found: Deleted) -> pl.LazyFrame:
    """Rows with what becomes of them: `goes`, `loses_name` (tombstones), and `hides_…` of columns that name ids."""
    gone = sorted(found.gone)
    # What was drained since may have brought them back: a link to them, an event that names them. It stays.
    is_seen = (pl.col("seq") <= pl.col("shard").replace_strict(dict(found.seen), default=0)).fill_null(True)
    is_covered = pl.col("deleted_seq").is_not_null() & ~IS_AFTER & (pl.col("kind") != "delete")
    # A link to somebody who is gone was given up before, else its id were deleted as well: it says nothing any more.
    is_past = (pl.col("kind") == "link") & pl.col("name").is_in(gone) & is_seen
    return rows.join(found.deletes.lazy(), on="id", how="left", maintain_order="left").with_columns(
        (is_covered | is_past).fill_null(False).alias("goes"),
        ((pl.col("kind") == "delete") & ~pl.col("id").str.starts_with(GONE)).alias("loses_name"),
        (pl.format("user:{}", "user_id").is_in(gone).fill_null(False) & is_seen).alias("hides_user_id"),
        # An alias says of its previous id what kind it is, or leaves it open.
        (
            pl.any_horizontal(
                pl.format("anon:{}", "anonymous_id").is_in(gone),
                pl.col("anonymous_id").is_in(gone),
                (pl.col("kind") == "alias") & pl.format("user:{}", "anonymous_id").is_in(gone),
            ).fill_null(False)
            & is_seen
        ).alias("hides_anonymous_id"),
    )


def _days(lake: Lake, found: Deleted) -> list[str]:
    """The days with anything to change, the latest last."""
    rows = _judged(lake.scan(EVENTS).select(*JUDGED), found)
    changed = pl.any_horizontal("goes", "loses_name", *[f"hides_{column}" for column in NAMING])
    days = rows.filter(changed).select(pl.col("ingest_date").unique()).collect()["ingest_date"]
    return sorted(day.isoformat() for day in days)


def _purged(found: Deleted) -> Change:
    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = _judged(pl.from_arrow(batch.select(list(JUDGED))).lazy(), found).collect()  # type: ignore[union-attr]
        columns = {name: batch.column(name) for name in batch.schema.names}
        if rows["loses_name"].any():
            ids = [tombstone_id(one) if loses else one for one, loses in rows.select("id", "loses_name").iter_rows()]
            columns["id"] = pa.array(ids, batch.schema.field("id").type)
        for name in NAMING:
            if rows[f"hides_{name}"].any():
                kept = rows.select(pl.when(f"hides_{name}").then(None).otherwise(name)).to_series().to_list()
                columns[name] = pa.array(kept, batch.schema.field(name).type)
        after = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
        return after.filter(pa.array((~rows["goes"]).to_list(), pa.bool_()))

    return change


def _without_deleted(lake: Lake, deletes: pl.DataFrame, shards: int) -> Change:
    """Rows of rebuilds less those of ids with a delete that the rebuild did not cover."""
    runs = lake.runs().select("build", "seqs").unique(subset=["build"]).collect().lazy()
    shard = pl.Series("shard", [shard_of(id, shards) for id in deletes["id"]], pl.Int32)
    deletes = deletes.select("id", "deleted_seq").with_columns(shard)

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = pl.from_arrow(batch.select(["id", "build"])).lazy().with_row_index("row")  # type: ignore[union-attr]
        staying = undeleted(rows, deletes, runs).select(pl.col("row").sort()).collect()
        return batch.take(staying["row"].to_arrow())

    return change


def _came_back_ms(found: Deleted) -> dict[str, int]:
    """When those who came back were deleted, the last time, in UTC ms."""
    deleted = found.deletes.filter(pl.col("id").is_in(sorted(found.returned)))
    return dict(deleted.select("id", "deleted_at").iter_rows())


def _without_named(names: Names, came_back_ms: Mapping[str, int]) -> Change:
    """Less the rows that name somebody who is gone, and those of before the delete that name somebody who came back."""
    back = Names(came_back_ms)

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = pl.concat([pl.Series(batch.column(one).to_pylist(), dtype=pl.String) for one in ("event", "reason")])
        until_ms = dict.fromkeys(names.among(texts), FOREVER_MS)
        may = pl.Series(back.among(texts), dtype=pl.String)
        for one, deleted_ms in came_back_ms.items() if len(may) else ():
            for text in Names([one]).among(may):
                until_ms[text] = max(until_ms.get(text, 0), deleted_ms)
        rows = zip(*(batch.column(one).to_pylist() for one in ("received_at", "event", "reason")), strict=True)
        kept = [max(until_ms.get(event, -1), until_ms.get(reason, -1)) < came_ms for came_ms, event, reason in rows]
        return batch.filter(pa.array(kept, pa.bool_()))

    return change


def _drop_exports(files: StoredFiles, names: Names) -> int:
    """Exports that name somebody who is gone: what was taken out before the delete must be taken out anew."""
    dropped = 0
    for path in files.under("exports") if len(names) else ():
        if names.are_in(unpacked(files.read(path) or b"")):
            files.delete(path)
            dropped += 1
    return dropped


# ── Redis, and files ─────────────────────────────────────────────────────────────────────────────────────────────


def _forget(store: Store, found: Deleted) -> int:
    """Takes the names out of Redis: records, lists of members, what is drained; answers how many records went."""
    buried, cursor = 0, 0
    seqs = dict(found.deletes.select("id", "deleted_seq").iter_rows())
    while seqs:
        cursor, some = store.scan_records(cursor)
        ids = [one for _, one in some]
        gone = _gone(found, seqs, ids)
        for owner, members in store.members(ids).items():
            # Whoever somebody lists who is gone came since, or never did.
            _unlist(store, owner, list(members if owner in gone else _gone(found, seqs, members)))
        buried += store.bury(gone)
        if cursor == 0:
            break
    for state in store.shard_states():
        store.clean_log(state.shard, state.drained)
    store.clean_rejected("0-0")
    store.forget_gone(store.now_ms() - GONE_MS)
    return buried


def _gone(found: Deleted, seqs: Mapping[str, int], ids: Collection[str]) -> dict[str, int]:
    """Those of some ids that were deleted and did not come back, with the seq of the last delete, named or not."""
    held = {one: max(seqs.get(one, 0), seqs.get(tombstone_id(one), 0)) for one in ids if one not in found.returned}
    return {one: seq for one, seq in held.items() if seq}


def _unlist(store: Store, owner: str, ids: list[str]) -> None:
    """Takes ids off a list of members, but for those that are that owner's: claimed since."""
    past = [Claim(one, owner, "") for one, held in zip(ids, store.owners(ids), strict=True) if not _is_of(held, owner)]
    if past:
        store.drop_members(past)
        again = store.owners([one.id for one in past])
        store.add_members([one for one, held in zip(past, again, strict=True) if _is_of(held, owner)])


def _is_of(held: Owner | None, owner: str) -> bool:
    return held is not None and held.id == owner
