"""What a fresh, wiped or rewound Redis needs before it may take events. The drain's process owns it.

Looks each second: a shard whose `ready` is not the run_id of the server that answers was not recovered on it. Then

* a server that has lost the catalogue has lost everything (or never had it): every seq is set from the lake, the
  definitions are loaded from their history, everybody is rebuilt at the newest version, and only then are shards ready;
* definitions that the lake has and Redis has not are loaded again (it came back from before they were saved);
* a shard whose seq is behind the lake's (a restored backup, a promoted replica) gets the missing lake rows back into
  its records, and goes on above the lake's seq;
* a shard whose seq is not behind has lost nothing: Redis read its own file.

Until a shard is ready ingest answers 503, and decisions say what is warming. Every step may be cut off and run again.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from expressions.windows import Zone
from lake.lake import Lake
from pipelines.rebuild import rebuild
from pipelines.rows import replayed
from serving.catalogue import Catalogue, Stored, decode, encode, restored
from serving.operations import ShardState
from serving.refusals import Unavailable
from serving.settings import Settings
from serving.store import Store

log = structlog.get_logger()

REPLAY_ROWS_AT_ONCE = 10_000


def recover(store: Store, lake: Lake, settings: Settings, on_step: Callable[[str], None] = lambda step: None) -> bool:
    """Recovers what needs it; answers whether anything did. Raises when Redis or the lake are away: try again."""
    server = store.server()
    waiting = [state for state in store.shard_states() if state.ready_run_id != server.run_id]
    if not waiting:
        return False
    log.info("recovering", shards=len(waiting), run_id=server.run_id)
    version = lake.events_version()
    seqs = lake.transaction_versions(version, store.shards)
    on_step("pinned")
    text = store.catalogue()
    if text is None:
        _restore(store, lake, settings, seqs, on_step)
    else:
        store.raise_build(lake.last_build())  # a rewound counter would give a number out twice
        held = _newest(store, lake, decode(text), seqs)
        if held.projection_version:
            store.raise_projection(held.projection_version)
        on_step("defined")
        for state in waiting:
            if state.seq < seqs[state.shard]:
                _replay(store, lake, version, state, seqs[state.shard], on_step)
    on_step("before_ready")
    for state in waiting:
        store.mark_ready(state.shard, server.run_id)
    on_step("ready")
    return True


def _restore(store: Store, lake: Lake, settings: Settings, seqs: list[int], on_step: Callable[[str], None]) -> None:
    """An empty Redis: seqs, definitions and bases from the lake."""
    rows = [Stored(**row) for row in lake.definitions()]
    last_received_ms = lake.last_received_ms()
    for shard, seq in enumerate(seqs):
        store.resume(shard, seq, last_received_ms)
    store.raise_build(lake.last_build())
    on_step("resumed")
    version = 1 + max((row.version for row in rows), default=0)
    catalogue = restored(rows, seqs, version, Zone(settings.time_zone))
    if catalogue.projection_version:
        store.raise_projection(catalogue.projection_version)
    store.replace_catalogue(encode(catalogue), expected=None, version=version)
    store.want_rebuild()  # should this process be killed before its own
    on_step("defined")
    # A rebuild also of an empty lake: it is what says that ids without a base have no history.
    rebuild(store, lake, settings)
    on_step("rebuilt")


def _newest(store: Store, lake: Lake, held: Catalogue, seqs: list[int]) -> Catalogue:
    """The catalogue; where Redis came back with one from before a definition that the lake has, all of them anew."""
    rows = [Stored(**row) for row in lake.definitions()]
    newest = max((row.version for row in rows), default=0)
    if newest <= held.version:
        return held
    stand = [max(state.seq, seqs[state.shard]) for state in store.shard_states()]
    catalogue = restored(rows, stand, newest + 1, held.zone)
    if not store.replace_catalogue(encode(catalogue), expected=held.version, version=catalogue.version):
        raise Unavailable("definitions changed during a recovery")
    store.want_rebuild()
    log.info("definitions_restored", from_version=held.version, to_version=catalogue.version)
    return catalogue


def _replay(
    store: Store, lake: Lake, version: int, state: ShardState, upto: int, on_step: Callable[[str], None]
) -> None:
    """The lake rows that a shard has lost, back into its records; then its log goes on above them."""
    text = store.catalogue()
    assert text is not None, "a shard is replayed under a catalogue"
    projection = decode(text).projection
    last_received_ms = state.last_received_ms
    after = state.seq
    while after < upto:
        rows = lake.shard_rows(state.shard, after, min(after + REPLAY_ROWS_AT_ONCE, upto), version)
        last_received_ms = max([last_received_ms, *rows.get_column("received_at").to_list()])
        store.replay(replayed(rows, projection))
        after += REPLAY_ROWS_AT_ONCE
        on_step("replayed")
    store.resume(state.shard, upto, last_received_ms)
    log.info("replayed", shard=state.shard, from_seq=state.seq, to_seq=upto)
