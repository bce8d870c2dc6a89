"""The worker: rebuilds on a schedule, on request, and at once for single ids, with or without Prefect's server.

It also purges and maintains the lake and packs its small files, one after the other and never beside a rebuild.

Requests are counters in Redis. They are read before a rebuild pins its version and answered when it has published, so a
request that comes in between is not lost. A lease keeps two workers from doing the same work; nothing breaks if it runs
out.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
import polars as pl
import structlog

from lake.errors import LakeError
from lake.lake import Lake
from pipelines.packing import pack
from pipelines.rebuild import run_row
from pipelines.work import Chore, Rebuild
from serving.definitions.catalogue import Catalogue
from serving.definitions.saving import current
from serving.logs import safe_message
from serving.refusals import Refusal
from serving.settings import Settings
from serving.store.errors import StoreError
from serving.store.operations.rebuild_requests import RebuildRequests
from serving.store.store import Store

log = structlog.get_logger()

#: Renewed with every beat. When a worker is killed, the next one waits this long.
LEASE_MS = 15_000
#: The heartbeat is gone this long after the last one.
BEAT_MS = 10_000
#: How often requests are looked for.
LOOK_S = 0.25
#: How long a requested rebuild lets the drain go first.
DRAIN_S = 3.0
#: How often tables are looked at for small files. A trickle of events makes some sixty in between.
PACK_S = 60.0
#: The columns of a run that the heartbeat repeats, beside its seconds.
REPORTED = ("build", "as_of", "users", "events", "kind")
#: A rebuild that failed is not tried again sooner.
PAUSE_S = 2.0


class Uncovered(Enum):
    """What the definitions wait for: nothing; a rebuild, since the lake holds all it must cover; or first the drain."""

    NOTHING = "nothing"
    DRAINED = "drained"
    UNDRAINED = "undrained"


class Worker:
    """Looks for work until told to stop."""

    def __init__(
        self, store: Store, lake: Lake, settings: Settings, rebuild: Rebuild, purge: Chore, maintain: Chore
    ) -> None:
        self.store, self.lake, self.settings = store, lake, settings
        self.rebuild, self.purge, self.maintain = rebuild, purge, maintain
        self.token = secrets.token_hex(8)
        self.report: dict[str, Any] = {"last_build": None, "refused": {"older": 0, "deleted": 0}}
        self.catalogue: Catalogue | None = None
        self.uncovered: set[tuple[int, int]] = set()
        self.waits_since_s = time.monotonic()
        self.next_full_s = time.monotonic() + settings.rebuild_interval_s
        self.next_maintain_s = time.monotonic() + settings.maintain_interval_s
        self.next_pack_s = time.monotonic()
        # Soon: a stack that is started anew each day is purged each day too.
        self.next_purge_s = time.monotonic() + min(settings.purge_interval_s, settings.rebuild_interval_s)
        self.is_working = False

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set. A failure is named in the log and in the heartbeat, and the work tried again."""
        self._recall()
        beats = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        beats.start()
        while not stop.is_set():
            pause_s = LOOK_S
            try:
                self.look()
                self.report.pop("error", None)
            except (StoreError, LakeError, Refusal, OSError, pl.exceptions.PolarsError) as error:
                self.report["error"] = safe_message(error)
                log.warning("rebuild_failed", error=self.report["error"])
                pause_s = PAUSE_S
            stop.wait(pause_s)
        self.store.release_lease("rebuild", self.token)
        beats.join(timeout=5)

    def look(self) -> bool:
        """Does what is due; returns whether anything was."""
        requests = self.store.rebuild_requests()
        waits_for = self._waits_for()
        is_due = time.monotonic() >= self.next_full_s or waits_for is Uncovered.DRAINED
        ids = [id for shard_ids in requests.ids.values() for id in shard_ids]
        if not (requests.is_full or is_due or ids) and not self._is_chore_due():
            self.waits_since_s = time.monotonic()
            return False
        if waits_for is Uncovered.UNDRAINED and time.monotonic() - self.waits_since_s < DRAIN_S:
            return False  # a rebuild now would have to be done again
        self.waits_since_s = time.monotonic()
        self.is_working = True  # before the lease is taken, so that no beat gives it away
        try:
            if not self._is_ready() or not self.store.hold_lease("rebuild", self.token, LEASE_MS, "gives way"):
                return False
            self._work(requests, is_due, ids)
        finally:
            self.is_working = False
        return True

    def _work(self, requests: RebuildRequests, is_due: bool, ids: list[str]) -> None:
        if requests.is_full or is_due:
            self.next_full_s = time.monotonic() + self.settings.rebuild_interval_s
            self._note(self.rebuild(None))
        elif ids:
            self._note(self.rebuild(ids))
        if time.monotonic() >= self.next_purge_s:
            self.next_purge_s = time.monotonic() + self.settings.rebuild_interval_s  # if it fails
            self.report["purged"] = self.purge()
            self.next_purge_s = time.monotonic() + self.settings.purge_interval_s
        if time.monotonic() >= self.next_maintain_s:
            self.next_maintain_s = time.monotonic() + self.settings.maintain_interval_s
            self.report["maintained"] = self.maintain()
        if time.monotonic() >= self.next_pack_s:
            self.next_pack_s = time.monotonic() + PACK_S
            pack(self.lake)

    def _waits_for(self) -> Uncovered:
        """Whether a definition waits for a rebuild, and whether the lake holds what that rebuild must cover."""
        version = self.store.records([]).catalogue_version
        if version is None:
            return Uncovered.NOTHING
        if self.catalogue is None or self.catalogue.version != version:
            self.catalogue = current(self.store)
            self.uncovered = _uncovered(self.catalogue)
        activations, waiting = self.catalogue.activations, self.uncovered
        if not waiting or not all(number in activations for number, _ in waiting):
            return Uncovered.NOTHING  # a save that activates its definitions has requested a rebuild
        drained = [state.drained for state in self.store.shard_states()]
        is_drained = all(drained[shard] >= activations[number][shard] for number, shard in waiting)
        return Uncovered.DRAINED if is_drained else Uncovered.UNDRAINED

    def _is_chore_due(self) -> bool:
        return time.monotonic() >= min(self.next_purge_s, self.next_maintain_s, self.next_pack_s)

    def _is_ready(self) -> bool:
        """Whether Redis is recovered. Until then the recovery rebuilds."""
        run_id = self.store.server().run_id
        return all(state.ready_run_id == run_id for state in self.store.shard_states())

    def _note(self, run: Any) -> None:
        before = self.report["refused"]
        self.report["refused"] = {
            "older": before["older"] + run.refused_older,
            "deleted": before["deleted"] + run.refused_deleted,
        }
        self.report["last_build"] = _reported(run_row(run))

    def _recall(self) -> None:
        """Puts the last rebuild before this process into the report, if the lake answers."""
        try:
            last = self.lake.last_run()
        except (LakeError, pl.exceptions.PolarsError, OSError) as error:
            log.warning("last_run_unknown", error=safe_message(error))
            return
        if last is not None:
            self.report["last_build"] = _reported(last)

    def _beat(self, stop: threading.Event) -> None:
        """Writes the heartbeat beside the work, and renews the lease for as long as a rebuild takes."""
        while not stop.is_set():
            try:
                self.store.beat("worker", msgspec.json.encode(self.report), BEAT_MS)
                # The lease is given away when another process waits for it, unless work must end first.
                self.store.hold_lease("rebuild", self.token, LEASE_MS, "" if self.is_working else "gives way")
            except StoreError as error:
                log.warning("beat_failed", error=str(error))
            stop.wait(BEAT_MS / 4_000)


def _reported(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the heartbeat says of a row of `runs`."""
    return {name: row[name] for name in REPORTED} | {"seconds": round(row["seconds"], 3)}


def _uncovered(catalogue: Catalogue) -> set[tuple[int, int]]:
    """(projection version, shard) of each definition that a shard is not covered for yet."""
    return {
        (catalogue.needed_versions[key], shard)
        for key in catalogue.definitions
        for shard, covered in enumerate(catalogue.covered)
        if not catalogue.is_ready(key, shard, covered)
    }
