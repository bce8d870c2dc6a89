"""Recovery: a fresh, wiped or rewound Redis gets back what it lacks before it takes events.

The drain looks before each round. A shard whose `ready` is not the run_id of the server that answers was not recovered
on that server. Recovery compares its seq, the number of the last event of its log, with the lake's. A shard that is not
behind has lost nothing: Redis read its own file. A shard that is behind comes from a restored backup, a promoted
replica or an empty Redis.

0. Redis notes whose it is: the id of the lake (`pipelines.lives`). It is not touched if it belongs to another one.
1. Redis is cleared if a log has another event than the lake under some seq: that log is of a life that was given up.
2. Definitions that the lake has and Redis has not are loaded, and the keys that admins made.
3. Links, unlinks and deletes that Redis may lack are put back (`pipelines.ownership`).
4. The lake's rows that a shard lacks are put back into its records. Where they are many, or Redis is empty, everybody
   is rebuilt at the newest version instead.
5. The shard's log goes on above the lake's seq. The seq is raised last, so that a recovery that was cut off shows.
6. The shards are marked as ready.

Until a shard is ready ingest answers 503, and decisions say what is warming. Every step may be cut off and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from expressions.rules.windows import Zone
from lake.lake import Lake
from pipelines.lives import claim_lake, is_of_another_life
from pipelines.ownership import restore_ownership
from pipelines.rebuild import rebuild
from pipelines.rows import replayed
from serving.access import made_keys
from serving.definitions.catalogue import Catalogue, StoredDefinition, decode, encode, restored
from serving.definitions.saving import unwritten
from serving.refusals import Unavailable
from serving.settings import Settings, settings_fixed
from serving.store.layout import LEAD_MS_MAX
from serving.store.operations.shards import ShardState
from serving.store.requirements import require_same
from serving.store.store import Store

log = structlog.get_logger()

#: Rows that are put back at once, and their bytes as JSON.
REPLAY_ROWS_AT_ONCE, REPLAY_BYTES_AT_ONCE = 10_000, 16 << 20
#: When a shard lacks more rows than this, a rebuild covers them: they are not put back one by one.
REPLAY_ROWS_MAX = 50_000
#: More versions of a catalogue than can be lost. Every rebuild counts one; those of definitions are in the lake.
LOST_MAX = 1_000_000


def recover(store: Store, lake: Lake, settings: Settings, on_step: Callable[[str], None] = lambda step: None) -> bool:
    """Recovers the shards that need it; returns whether any did. Raises when Redis or the lake are away: try again.

    Raises `OtherLake` where Redis belongs to another lake.
    """
    claim_lake(store, lake)
    server = store.server()
    waiting = [state for state in store.shard_states() if state.ready_run_id != server.run_id]
    if not waiting:
        return False
    ours = settings_fixed(settings)
    text = store.catalogue()
    if text is not None:  # a system that is older than the note of its settings: the catalogue has its zone
        require_same("time_zone", decode(text).zone.name, settings.time_zone)
    noted = lake.fix(ours)
    for name, value in ours.items():
        require_same(name, noted.get(name), value)
    log.info("recovering", shards=len(waiting), run_id=server.run_id)
    version = lake.events_version()
    seqs = lake.transaction_versions(version, store.shards)
    on_step("pinned")
    if is_of_another_life(store, lake, version, waiting, seqs):
        log.error("log_contradicts_lake", run_id=server.run_id)
        store.clear()
        claim_lake(store, lake)
        waiting = store.shard_states()
        on_step("cleared")
    store.raise_build(lake.last_build())  # should the clock stand behind the builds that the lake knows
    is_empty = store.catalogue() is None
    catalogue = _newest(store, lake, settings, seqs)
    if catalogue.projection_version:
        store.raise_projection(catalogue.projection_version)
    store.raise_checked(catalogue.version)
    made_keys.restore(store, lake.api_keys())
    on_step("defined")
    behind = [state for state in waiting if state.seq < seqs[state.shard]]
    missing = [seqs[state.shard] - state.seq for state in behind]
    # Before any row, so that no delete finds its rows put back.
    restore_ownership(store, lake, version, {state.shard: state.seq for state in behind})
    on_step("ownership")
    if is_empty or any(state.seq == 0 for state in behind) or max(missing, default=0) > REPLAY_ROWS_MAX:
        # An empty lake is rebuilt too: a rebuild says that ids without a base have no history.
        rebuild(store, lake, settings)
        on_step("rebuilt")
        believed_until_ms = store.now_ms() + LEAD_MS_MAX
        last_received_ms, latest_ms = lake.last_received_ms(believed_until_ms), lake.last_received_ms()
        ahead_ms = latest_ms if latest_ms > believed_until_ms else 0
        for state in behind:
            store.resume(state.shard, seqs[state.shard], last_received_ms, ahead_ms)
            on_step("resumed")
    else:
        for state in behind:
            _replay(store, lake, version, catalogue, state, seqs[state.shard], on_step)
    store.note_shards()
    on_step("before_ready")
    for state in waiting:
        store.mark_ready(state.shard, server.run_id)
    on_step("ready")
    return True


def _newest(store: Store, lake: Lake, settings: Settings, seqs: Sequence[int]) -> Catalogue:
    """The catalogue of Redis; a new one, of the lake's definitions, where Redis has none or lacks a definition.

    The versions that Redis lost are not counted again: a process that was idle meanwhile may hold a catalogue of one of
    them, and would take it for the newest once the count is there.
    """
    text = store.catalogue()
    known = decode(text) if text is not None else None
    # With those that wait for the lake: else a delete among them would look like a definition that Redis lost.
    rows = [*(StoredDefinition(**row) for row in lake.definitions()), *unwritten(store)]
    newest = {(row.kind, row.key): row for row in sorted(rows, key=lambda row: row.version)}
    states = store.shard_states()
    is_whole = known is not None and not any(_is_lost(row, known.definitions.get(key)) for key, row in newest.items())
    is_newest = known is not None and all(row.version <= known.version for row in rows)
    if known is not None and is_whole and is_newest and all(state.seq >= seqs[state.shard] for state in states):
        return known
    is_new = known is None and not rows and not lake.last_build()
    version = 1 + max([known.version if known else 0, *(row.version for row in rows)]) + (0 if is_new else LOST_MAX)
    if known is not None and is_whole:
        catalogue = replace(known, version=version)
    else:
        shard_seqs = [max(state.seq, seqs[state.shard]) for state in states]
        projection = max(state.projection for state in states)
        catalogue = restored(rows, shard_seqs, version, known.zone if known else Zone(settings.time_zone), projection)
    expected = known.version if known else None
    if not store.replace_catalogue(encode(catalogue), expected=expected, version=version):
        raise Unavailable("definitions changed during a recovery")
    if not is_whole:
        store.want_rebuild()  # all definitions are warming until it is done
        log.info("definitions_restored", version=version, definitions=len(catalogue.definitions))
    return catalogue


def _is_lost(row: StoredDefinition, known: StoredDefinition | None) -> bool:
    """Whether Redis lacks the newest row of a definition's history. (The catalogue's own version does not tell: a
    rebuild that outlived the old server may have counted it on.)"""
    return not row.deleted if known is None else row.version > known.version


def _replay(
    store: Store,
    lake: Lake,
    version: int,
    catalogue: Catalogue,
    state: ShardState,
    upto: int,
    on_step: Callable[[str], None],
) -> None:
    """Puts the lake's rows that a shard lacks back into its records; then its log goes on above them."""
    last_received_ms, ahead_ms = state.last_received_ms, 0
    believed_until_ms = store.now_ms() + LEAD_MS_MAX
    parts = lake.shard_parts(state.shard, state.seq, upto, version, REPLAY_ROWS_AT_ONCE, REPLAY_BYTES_AT_ONCE)
    for after, until in parts:
        rows = lake.shard_rows(state.shard, after, until, version)
        for received_ms in rows.get_column("received_at").to_list():
            if received_ms <= believed_until_ms:
                last_received_ms = max(last_received_ms, received_ms)
            else:
                ahead_ms = max(ahead_ms, received_ms)
        store.memory().require_reserve()
        store.replay(replayed(rows, catalogue.projection))
        on_step("replayed")
    store.resume(state.shard, upto, last_received_ms, ahead_ms)
    log.info("replayed", shard=state.shard, from_seq=state.seq, to_seq=upto)
