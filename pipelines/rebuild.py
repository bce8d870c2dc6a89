"""Rebuild: every trait and segment from the lake, and a fresh base for every id.

1. Finish what a save left: activate its projection.
2. Read the clock, then pin a version of the lake: for each shard the seq up to which its log is in.
3. Read what counts, after the deletes and each event once: rows of `events`.
4. Publish a base for every id of them: records.
5. Give the records of all other ids an empty base.
6. Compute every definition for every person: rows of `traits` and of `memberships`.
7. Say for each shard that all up to its seq is covered.

A rebuild of single ids does 1 to 4. Every step may run again, and two rebuilds may run at once: a record takes only a
base that is newer than its own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import polars as pl

from expressions.batch.base_frames import BasePart, base_parts
from expressions.batch.counting import counted
from expressions.batch.frames import person_answers
from expressions.batch.totals import totals
from expressions.rules.deletes import deleted, of_ids
from expressions.rules.identity import people
from lake.errors import LakeBehind
from lake.halving import halving
from lake.lake import Lake
from lake.schemas import MEMBERSHIPS, TRAITS
from pipelines.publish import Recent, publish, records_of
from pipelines.rows import membership_rows, trait_rows
from serving.definitions.catalogue import Catalogue, decode, encode
from serving.definitions.saving import activate, current
from serving.history import latest_undeleted
from serving.refusals import Unavailable
from serving.runs import require_past
from serving.settings import Settings
from serving.store.operations.shards import ShardState
from serving.store.scripts.publish import Published
from serving.store.stamps import Covered, Stamp
from serving.store.store import Store

#: How often the catalogue is tried again when definitions change meanwhile.
RETRIES = 20
#: Where memory fails bases are published anew in parts of half the size, down to this part of the usual one.
FINEST = 64
#: Called with the name of the step and how many records it has done.
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Run:
    """What a rebuild did. `seqs` says how far each shard's log was in. `kind` is "full", "ids" or "as_of".

    `published` counts the records that took their base. The others refused it: they had a newer base
    (`refused_older`), or a delete had overtaken it (`refused_deleted`). `sizes` is JSON of how many people there are,
    are in each segment and have each trait, and of the version of the definitions; None where the rebuild wrote no
    latest answers.
    """

    build: int
    version: int
    as_of_ms: int
    seqs: tuple[int, ...]
    events: int
    users: int
    published: int
    seconds: float
    kind: str
    refused_older: int = 0
    refused_deleted: int = 0
    sizes: str | None = None


def rebuild(
    store: Store,
    lake: Lake,
    settings: Settings,
    *,
    ids: Collection[str] | None = None,
    progress: Progress = lambda what, done: None,
) -> Run:
    """Rebuilds everybody, or only the records of `ids`; returns what it did. Raises if a part is away.

    Raises `ServerReplaced` when another server answers at its end than at its beginning, and the requests stay. That
    server may have come back without the bases: it must not be swept, nor be told that all is covered.
    """
    started = time.monotonic()
    run_id = store.server().run_id
    requests = store.rebuild_requests()
    activate(store, lake.holds_events)
    if ids is None:  # should a save have been cut off before it told the shards
        store.raise_checked(current(store).version)
    as_of_ms = store.now_ms()
    # Before the version is pinned: the version can only have more.
    states = store.shard_states()
    undrained_ms = store.ask(store.operations.undrained_ms(states))
    purged = _purged(lake)
    version = lake.events_version()
    seqs = lake.transaction_versions(version, store.shards)
    # After the version is pinned: later events, which newer definitions may need, are beyond these seqs and stay in the
    # tails.
    catalogue = current(store)
    _require_newest(lake, seqs, states, catalogue)
    build = store.next_build()
    stamps = {
        shard: Stamp(version, build, seq, as_of_ms, catalogue.projection_version) for shard, seq in enumerate(seqs)
    }
    progress("reading", 0)
    rows = lake.events(version)
    rows = (rows if ids is None else of_ids(rows, ids)).collect().lazy()
    events = counted(rows).collect().lazy()
    count = events.select(pl.len()).collect().item()
    progress("publishing", 0)
    recent = Recent(pl.concat([events, deleted(rows)]), as_of_ms, undrained_ms)
    del rows
    users = tries = 0

    def parts(finer: int) -> Iterator[BasePart]:
        nonlocal users
        for part in base_parts(
            events, catalogue.plan, as_of_ms, settings.horizon_ms, settings.light_events_max, catalogue.zone, finer
        ):
            users += len(part.ids)
            yield part

    def published(recent: Recent, part_size: int) -> Counter[Published]:
        nonlocal users, tries, build, stamps
        if tries:  # records have the bases of the try before, and take no other of the same build
            build = store.next_build()
            stamps = {shard: msgspec.structs.replace(stamp, build=build) for shard, stamp in stamps.items()}
        users, tries = 0, tries + 1
        records = records_of(parts(FINEST // part_size), recent, settings.horizon_ms)
        return publish(store, records, stamps, lambda done: progress("publishing", done))

    outcomes = halving(partial(published, recent), FINEST)
    del recent
    sizes = None
    if ids is None:
        progress("sweeping", 0)
        store.sweep_all([stamps[shard] for shard in range(store.shards)], run_id)
        progress("writing", 0)
        by_kind = write_answers(lake, events, catalogue, as_of_ms, build, purged, latest_of=version)
        if by_kind is not None:
            counts = totals(people(events), as_of_ms) | by_kind | {"ids": users, "as_of": as_of_ms}
            counts |= {"lake_version": version, "build": build}
            store.keep_totals(version, build, msgspec.json.encode(counts), run_id)
            noted = {"users": counts["users"], **by_kind, "definitions": catalogue.version}
            sizes = msgspec.json.encode(noted).decode()
        cover(store, [covered_by(stamps[shard]) for shard in range(store.shards)], run_id)
    run = Run(
        build,
        version,
        as_of_ms,
        tuple(seqs),
        count,
        users,
        outcomes[Published.DONE],
        time.monotonic() - started,
        "full" if ids is None else "ids",
        outcomes[Published.OLDER],
        outcomes[Published.DELETED],
        sizes,
    )
    lake.append_run(run_row(run))
    store.answer_rebuilds(requests if ids is None else requests.of_ids(ids), run_id)
    progress("done", 0)
    return run


def _require_newest(lake: Lake, seqs: Sequence[int], states: Sequence[ShardState], catalogue: Catalogue) -> None:
    """Raises `LakeBehind` where Redis knows more of the lake than is there.

    A rebuild would change nothing then, since every record has a newer base; and what waits for it would ask for it
    again at once.
    """
    lacking = next((state for state in states if state.drained > seqs[state.shard]), None)
    covered = max((covered.lake_version for covered in catalogue.covered if covered is not None), default=0)
    version = lake.events_version()  # another rebuild may have covered a version since ours was pinned
    if lacking is not None:
        why = (
            f"shard {lacking.shard} was drained up to seq {lacking.drained}, and the lake has it up to seq "
            f"{seqs[lacking.shard]}"
        )
    elif covered > version:
        why = f"version {covered} of its events was published, and it is at version {version}"
    else:
        return
    raise LakeBehind(
        f"the lake is older than Redis: {why}. Put the newer lake back; or empty Redis, which is then recovered from "
        "this lake, without what came since"
    )


def rebuild_at(store: Store, lake: Lake, at_ms: int) -> Run:
    """Writes traits and memberships as of a time: by event time, over all rows that are in the lake now.

    Links, unlinks and deletes count whenever they came, so the people are those of now. The run counts the events up to
    the time, and all ids. Publishes no bases, and its rows are never the latest. Raises `Invalid` for a time to come.
    """
    require_past(at_ms, store.now_ms())
    started = time.monotonic()
    catalogue = current(store)
    purged = _purged(lake)
    version = lake.events_version()
    build = store.next_build()
    events = counted(lake.events(version)).collect().lazy()
    count = events.filter(pl.col("ts") <= at_ms).select(pl.len()).collect().item()
    users = events.select(pl.col("id").n_unique()).collect().item()
    write_answers(lake, events, catalogue, at_ms, build, purged, latest_of=None)
    seqs = tuple(lake.transaction_versions(version, store.shards))
    run = Run(build, version, at_ms, seqs, count, users, 0, time.monotonic() - started, "as_of")
    lake.append_run(run_row(run))
    return run


def _purged(lake: Lake) -> dict[str, str | None]:
    """The last purge at once of each table of answers."""
    return {table.name: lake.purged(table) for table in (TRAITS, MEMBERSHIPS)}


def write_answers(
    lake: Lake,
    events: pl.LazyFrame,
    catalogue: Catalogue,
    as_of_ms: int,
    build: int,
    purged: Mapping[str, str | None],
    latest_of: int | None,
) -> dict[str, dict[str, int]] | None:
    """Writes every trait and membership of every person; returns how many rows each key has, or 0: traits, segments.

    `purged` is the last purge at once of each table, from before the events were read. Raises `LakeConflict` when there
    was one since: the rows may name people who are gone.

    `latest_of` is the version of `events` that they are of, where they are to be the latest rows; None where they are
    as of a time. None when the latest rows are those of a later rebuild already: they stay.
    """
    bounds = [bound for key, bound in catalogue.bounds.items() if key[0] != "flag"]
    answers = person_answers(events, bounds, as_of_ms, catalogue.zone)
    keys = [(bound.definition.kind, bound.definition.key) for bound in bounds]
    traits = trait_rows(answers, keys, as_of_ms, build)

    def memberships() -> pl.DataFrame:
        before = None if latest_of is None else latest_undeleted(lake, MEMBERSHIPS).collect()
        return membership_rows(answers, keys, as_of_ms, build, before)

    if latest_of is None:
        members = memberships()
        lake.append_build(TRAITS, traits, purged[TRAITS.name])
        lake.append_build(MEMBERSHIPS, members, purged[MEMBERSHIPS.name])
    else:
        lake.replace_latest(TRAITS, latest_of, build, lambda: traits, purged[TRAITS.name])
        written = lake.replace_latest(MEMBERSHIPS, latest_of, build, memberships, purged[MEMBERSHIPS.name])
        if written is None:
            return None
        members = written
    return {
        f"{kind}s": dict.fromkeys((key for of_kind, key in keys if of_kind == kind), 0)
        | dict(rows.group_by("key").len().iter_rows())
        for kind, rows in (("trait", traits), ("segment", members))
    }


def cover(store: Store, covered: list[Covered], run_id: str | None = None) -> None:
    """Tells Redis of each shard that an id without a base has no events up to this stamp."""
    for _ in range(RETRIES):
        text = store.catalogue()
        if text is None:
            raise Unavailable("definitions are being restored")
        catalogue = decode(text)
        after = catalogue.with_covered(covered)
        if store.replace_catalogue(encode(after), expected=catalogue.version, version=after.version, run_id=run_id):
            return
    raise Unavailable("definitions are changing too fast")


def covered_by(stamp: Stamp) -> Covered:
    """How far a shard is covered, from the stamp of its bases."""
    return Covered(stamp.lake_version, stamp.build, stamp.seq, stamp.as_of_ms, stamp.projection)


def run_row(run: Run) -> dict[str, Any]:
    """A run as a row of the lake's `runs`."""
    return {
        "build": run.build,
        "version": run.version,
        "as_of": run.as_of_ms,
        "seqs": list(run.seqs),
        "events": run.events,
        "users": run.users,
        "published": run.published,
        "seconds": run.seconds,
        "kind": run.kind,
        "sizes": run.sizes,
    }
