"""The purge: what deletes cover goes from every table and file, and nothing names the deleted any more.

1. Look up who was deleted: `Deleted`.
2. Refused events, exports and flags lose what names them; on request other people's values too.
3. Traits and memberships lose the rows of rebuilds that did not cover the delete.
4. Events lose what deletes cover, and names in what stays, day by day.
5. Redis loses the names: records, lists of members, drained entries.
6. Files go that no newest version needs.

A day's rows are rewritten when the day is over, in one commit a day. The commit's entry in the table's log names the
day and nothing else, and conflicts only with appends to that day. The tombstones stay, under the hash of their ids
(`expressions.rules.deletes`), and go on refusing rebuilds, recoveries and imports. An id is **gone** when nothing came
after its delete. An id that came back keeps its name, and only what the delete covers goes.

A purge that was cut off anywhere is simply run again. It learns from the tombstones what names to look for, and so
rewrites the tombstones of a day last. The worker does not compact the lake meanwhile: it does one after the other.
`pipelines.purge.purge_now` does the same with nobody beside it, and covers today.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lake.lake import Lake
from lake.schemas import DEFINITIONS, EVENTS, MEMBERSHIPS, REJECTED, RETENTION_HOURS, TRAITS
from lake.stored_files import StoredFiles
from pipelines.open_days import open_days
from pipelines.purge.changes import answers_without, days_to_change, events_without, rejected_without
from pipelines.purge.deleted import deleted_people
from pipelines.purge.forgetting import forget
from pipelines.purge.naming import Names, unpacked
from pipelines.purge.redacting import forget_in_flags, redact
from serving.store.store import Store


@dataclass
class Purged:
    """What a purge did.

    `gone` and `returned` count ids. `rows` counts the rows that went by table, `records` those of Redis, `files` and
    `exports` the files. `flags` counts flags that named somebody who is gone, and `redacted` rows of others in which a
    value did.
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
    """Purges the days that are closed; `with_today` all days, when nobody else may write (`pipelines.purge.purge_now`).

    `redacts`: values of other people's events go too that name somebody who is gone, or one of these ids if it was
    deleted; `rebuild` then counts the events anew (`pipelines.purge.redacting`). None leaves these values.

    Raises when Redis or the lake are away, and `LakeConflict` when other writers were first ten times. What was done
    stays done.
    """
    first_open, last_open = open_days(now or datetime.now(UTC))
    if with_today:
        for table in (TRAITS, MEMBERSHIPS, REJECTED):
            lake.note_purge(table)  # who read something of the deleted and was paused since writes nothing of it
    deleted = deleted_people(lake)
    purged = Purged(len(deleted.gone), len(deleted.returned))
    on_step("looked")
    names = deleted.gone_among(redacts or ())
    if not deleted.deletes.is_empty():
        purged.rows[REJECTED.name] = lake.rewrite(REJECTED, {}, rejected_without(Names(names), deleted))
        on_step("rejected")
        purged.exports = _drop_exports(StoredFiles(lake.root), Names(names))
        purged.flags = forget_in_flags(store, lake, names)
        on_step("flags")
        if redacts is not None:
            purged.redacted = redact(lake, Names(names))
            on_step("redacted")
            rebuild()
            on_step("rebuilt")
        for table in (TRAITS, MEMBERSHIPS):
            # Before the tombstones lose their names: until then readers of these tables leave out what they cover.
            purged.rows[table.name] = sum(
                lake.rewrite(table, partition, answers_without(lake, deleted.deletes, store.shards))
                for partition in lake.partitions(table)
            )
            on_step(table.name)
        days = days_to_change(lake, deleted)
        purged.rows[EVENTS.name] = 0
        for day in days:
            if with_today or not first_open.isoformat() <= day <= last_open.isoformat():
                purged.rows[EVENTS.name] += lake.rewrite(EVENTS, {"ingest_date": day}, events_without(deleted))
                on_step("events")
    purged.records = forget(store, deleted)
    on_step("forgotten")
    for table in (EVENTS, TRAITS, MEMBERSHIPS, REJECTED, DEFINITIONS):
        purged.files += lake.drop_files(table, 0 if with_today else RETENTION_HOURS)
        on_step("files")
    return purged


def _drop_exports(files: StoredFiles, names: Names) -> int:
    """Drops exports that name somebody who is gone; returns how many. They are made anew without the deleted."""
    dropped = 0
    for path in files.under("exports") if len(names) else ():
        if names.are_in(unpacked(files.read(path) or b"")):
            files.delete(path)
            dropped += 1
    return dropped
