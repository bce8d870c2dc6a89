"""What a fresh, wiped or rewound Redis needs before it may take events. The drain's process owns it.

Looks each second: a shard whose `ready` is not the run_id of the server that answers was not recovered on it. Then

* definitions that the lake has and Redis has not (it is empty, or came back from before they were saved) are loaded;
* whose ids are and what was deleted, as far as Redis may lack it, comes back first (`pipelines.standings`);
* a shard whose seq is behind the lake's (a restored backup, a promoted replica) gets the missing lake rows back into
  its records; where that would be many, or Redis is empty, everybody is rebuilt at the newest version instead;
* its log then goes on above the lake's seq, which is raised last, so that a recovery that was cut off is seen;
* a shard whose seq is not behind has lost nothing: Redis read its own file;
* a log that has another event than the lake under some seq is of a life that was given up: all of it is cleared.

Until a shard is ready ingest answers 503, and decisions say what is warming. Every step may be cut off and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import structlog

from expressions.rules.deletes import tombstone_id
from expressions.rules.windows import Zone
from lake.lake import Lake
from pipelines.rebuild import rebuild
from pipelines.rows import replayed
from pipelines.standings import restore_standings
from serving.access import made_keys
from serving.definitions.catalogue import Catalogue, StoredDefinition, decode, encode, restored
from serving.definitions.saving import write_down
from serving.refusals import Unavailable
from serving.settings import Settings, settings_fixed
from serving.store.operations.shards import ShardState
from serving.store.store import Store, require_same

log = structlog.get_logger()

REPLAY_ROWS_AT_ONCE = 10_000
#: More missing rows of a shard than this are not put back one by one: a rebuild covers them.
REPLAY_ROWS_MAX = 50_000
#: More versions of a catalogue than can be lost: every rebuild counts one, and each definition's own are in the lake.
LOST_MAX = 1_000_000


def recover(store: Store, lake: Lake, settings: Settings, on_step: Callable[[str], None] = lambda step: None) -> bool:
    """Recovers what needs it; answers whether anything did. Raises when Redis or the lake are away: try again."""
    server = store.server()
    waiting = [state for state in store.shard_states() if state.ready_run_id != server.run_id]
    if not waiting:
        return False
    told = settings_fixed(settings)
    text = store.catalogue()
    if text is not None:  # of a system that was made before anything was noted
        require_same("time_zone", decode(text).zone.name, settings.time_zone)
    noted = lake.fix(told)
    for name, value in told.items():
        require_same(name, noted.get(name), value)
    log.info("recovering", shards=len(waiting), run_id=server.run_id)
    version = lake.events_version()
    seqs = lake.transaction_versions(version, store.shards)
    on_step("pinned")
    if _is_of_another_life(store, lake, version, waiting, seqs):
        log.error("log_contradicts_lake", run_id=server.run_id)
        store.clear()
        waiting = store.shard_states()
        on_step("cleared")
    store.raise_build(lake.last_build())  # should the clock stand behind the builds that the lake knows
    is_empty = store.catalogue() is None
    if not is_empty:  # or a delete that was cut off would look like a definition that Redis lost
        write_down(store, lambda row: lake.append_definition(msgspec.to_builtins(row)))
    catalogue = _newest(store, lake, settings, seqs)
    if catalogue.projection_version:
        store.raise_projection(catalogue.projection_version)
    made_keys.restore(store, lake.api_keys())
    on_step("defined")
    behind = [state for state in waiting if state.seq < seqs[state.shard]]
    missing = [seqs[state.shard] - state.seq for state in behind]
    # Before any row: what a delete covers must not come back.
    restore_standings(store, lake, version, {state.shard: state.seq for state in behind})
    on_step("standings")
    if is_empty or any(state.seq == 0 for state in behind) or max(missing, default=0) > REPLAY_ROWS_MAX:
        # Of an empty lake too: it is what says that ids without a base have no history.
        rebuild(store, lake, settings)
        on_step("rebuilt")
        last_received_ms = lake.last_received_ms()
        for state in behind:
            store.resume(state.shard, seqs[state.shard], last_received_ms)
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


def _is_of_another_life(
    store: Store, lake: Lake, version: int, waiting: Sequence[ShardState], seqs: Sequence[int]
) -> bool:
    """Whether a log has another event than the lake under some seq.

    An old backup may be brought back after the seqs it gave out last were lost and given out again. What it had drained
    is in the lake for good, so only entries after that are compared; usually there are none.
    """
    for state in waiting:
        upto = min(state.seq, seqs[state.shard])
        if state.drained < upto:
            rows = lake.shard_rows(state.shard, state.drained, upto, version)
            held = {seq: (one, event_id) for seq, one, event_id in rows.select("seq", "id", "event_id").iter_rows()}
            for entry in store.read_log(state.shard, state.drained, upto - state.drained):
                # A seq without a row was purged with its person, and a purged tombstone has the hash of its id.
                own = [(one, entry.event.event_id) for one in (entry.event.id, tombstone_id(entry.event.id))]
                if entry.seq in held and held[entry.seq] not in own:
                    return True
    return False


def _newest(store: Store, lake: Lake, settings: Settings, seqs: Sequence[int]) -> Catalogue:
    """The catalogue; where Redis has none, or one from before a definition that the lake has, all of them anew.

    What Redis lost is not counted again: a process that was idle meanwhile may hold a catalogue of one of the lost
    versions, and would take it for the newest once the count is there.
    """
    text = store.catalogue()
    held = decode(text) if text is not None else None
    rows = [StoredDefinition(**row) for row in lake.definitions()]
    newest = {(row.kind, row.key): row for row in sorted(rows, key=lambda row: row.version)}
    states = store.shard_states()
    is_whole = held is not None and not any(_is_lost(row, held.definitions.get(key)) for key, row in newest.items())
    if held is not None and is_whole and all(state.seq >= seqs[state.shard] for state in states):
        return held
    is_new = held is None and not rows and not lake.last_build()
    version = 1 + max([held.version if held else 0, *(row.version for row in rows)]) + (0 if is_new else LOST_MAX)
    if held is not None and is_whole:
        catalogue = replace(held, version=version)
    else:
        stand = [max(state.seq, seqs[state.shard]) for state in states]
        projection = max(state.projection for state in states)
        catalogue = restored(rows, stand, version, held.zone if held else Zone(settings.time_zone), projection)
    expected = held.version if held else None
    if not store.replace_catalogue(encode(catalogue), expected=expected, version=version):
        raise Unavailable("definitions changed during a recovery")
    if not is_whole:
        store.want_rebuild()  # until then all are warming
        log.info("definitions_restored", version=version, definitions=len(catalogue.definitions))
    return catalogue


def _is_lost(row: StoredDefinition, held: StoredDefinition | None) -> bool:
    """Whether the newest row of a definition's history is not what the catalogue has. (The catalogue's own version says
    nothing: a rebuild that outlived the old server may have counted it on.)"""
    return not row.deleted if held is None else row.version > held.version


def _replay(
    store: Store,
    lake: Lake,
    version: int,
    catalogue: Catalogue,
    state: ShardState,
    upto: int,
    on_step: Callable[[str], None],
) -> None:
    """The lake rows that a shard has lost, back into its records; then its log goes on above them."""
    last_received_ms = state.last_received_ms
    after = state.seq
    while after < upto:
        rows = lake.shard_rows(state.shard, after, min(after + REPLAY_ROWS_AT_ONCE, upto), version)
        last_received_ms = max([last_received_ms, *rows.get_column("received_at").to_list()])
        store.replay(replayed(rows, catalogue.projection))
        after += REPLAY_ROWS_AT_ONCE
        on_step("replayed")
    store.resume(state.shard, upto, last_received_ms)
    log.info("replayed", shard=state.shard, from_seq=state.seq, to_seq=upto)
