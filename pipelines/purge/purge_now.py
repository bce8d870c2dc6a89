"""The purge at once: when it returns no file has anything of the deleted, today's events included.

1. Take the leases of other writers, of the drain and of rebuilds, each when its holder has done what it is at.
2. Drain the log.
3. Purge all days (`pipelines.purge.purge`), and drop the files that nothing needs any more.
4. Clean the logs' streams of what is drained.
5. Give the leases back, and have Redis write its file anew.

Events are taken all the while: they wait in the log, and the drain goes on from there. A purge that was killed anywhere
is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from lake.lake import Lake
from pipelines.drain import Drain
from pipelines.leases import leases
from pipelines.purge.deleted import deleted_people
from pipelines.purge.purge import Purged, purge
from pipelines.rebuild import rebuild
from serving.refusals import Unavailable
from serving.settings import Settings
from serving.store.errors import StoreError
from serving.store.scripts.lease import WRITERS
from serving.store.store import Store

#: How long a lease is waited for, and how long the drain of the log may take.
PATIENCE_S = 600.0
#: How often a log that is not drained, or a file that is being written, is looked at.
LOOK_S = 0.05
#: How long Redis may take to write its file anew.
REWRITE_S_MAX = 600.0


def purge_now(
    store: Store,
    lake: Lake,
    settings: Settings,
    *,
    redacts: Collection[str] | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    patience_s: float = PATIENCE_S,
) -> tuple[Purged, frozenset[str]]:
    """Purges everything that was deleted by now, from the lake's files, the streams and Redis' file.

    Returns what it did, and the ids that are gone by it. `redacts` as in `purge`.

    Raises `NotHeld` when drain or worker do not give way in time, `StoreError` and `LakeError` when a part is away.
    """
    # Writers first: the drain and the worker go on while an export or an import is waited for.
    with leases(store, [WRITERS, "drain", "rebuild"], patience_s) as lease:

        def step(name: str) -> None:
            on_step(name)
            lease.require()

        drain = Drain(store, lake, settings)
        drain_all(store, drain, patience_s)
        step("drained")
        gone = deleted_people(lake).gone
        purged = purge(
            store,
            lake,
            with_today=True,
            redacts=redacts,
            rebuild=lambda: rebuild(store, lake, settings),
            on_step=step,
        )
        while not all([store.clean_log(state.shard, state.drained) for state in store.shard_states()]):
            drain.step()  # too much came meanwhile for the script to move it in one go
        step("cleaned")
    rewrite_file(store)
    on_step("rewritten")
    return purged, gone


def drain_all(store: Store, drain: Drain, patience_s: float) -> None:
    """Drains what is in the log now, and the refused events. Raises `Unavailable` where that cannot be done."""
    server = store.server()
    before = store.shard_states()
    if any(state.ready_run_id != server.run_id for state in before):
        raise Unavailable("Redis is being recovered: try again when `tinycdp doctor` is well")
    deadline = time.monotonic() + patience_s
    while any(now.drained < then.seq for now, then in zip(store.shard_states(), before, strict=True)):
        stopped = drain.step().stopped
        if stopped or time.monotonic() > deadline:
            raise Unavailable(f"the log cannot be drained: {stopped or 'it takes too long'}")
        time.sleep(LOOK_S)
    while drain.keep_rejected():
        pass


def rewrite_file(store: Store) -> None:
    """Has Redis write its append-only file anew, and waits for it. The bytes are plain, so that they can be searched.

    Raises `StoreError` when that fails, or where the server does not let us.
    """
    if not store.file_state().is_used:
        return
    compresses = store.server_setting("rdbcompression")
    _await_file(store)
    store.set_server("rdbcompression", "no")
    try:
        store.rewrite_file()
        _await_file(store)
    finally:
        store.set_server("rdbcompression", compresses or "yes")
    if not store.file_state().went_well:
        raise StoreError("Redis could not write its append-only file anew: see its log")


def _await_file(store: Store) -> None:
    deadline = time.monotonic() + REWRITE_S_MAX
    while store.file_state().is_busy:
        if time.monotonic() > deadline:
            raise StoreError(f"Redis is writing its append-only file for {REWRITE_S_MAX:.0f} s now")
        time.sleep(LOOK_S)
