"""The drain: log to lake, exactly once.

One small daemon with one lease. A round reads, on one open table, how far each shard is committed; takes the log after
that; appends it with a transaction for every shard it touched, all in one commit; and only then trims the log. Whoever
is killed at any step, and however many drains believe they hold the lease, the lake's rows of a shard are exactly seq 1
to its transaction: a second commit over the same shard conflicts, and is made again from what the first one left.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from deltalake import DeltaTable, Transaction

from lake.errors import LakeConflict, LakeError
from lake.lake import Lake, log_app
from lake.schemas import EVENTS
from pipelines.rows import event_rows
from serving.people.links import complete_links
from serving.refusals import Refusal
from serving.settings import Settings
from serving.store.errors import StoreError, StoreFull
from serving.store.logged_event import LogEntry
from serving.store.store import Store

log = structlog.get_logger()

ROWS_MAX = 50_000
#: Entries that stay in the log behind what is committed, for a look at what happened.
MARGIN_ENTRIES = 100
LEASE_MS = 15_000
BEAT_MS = 10_000
REJECTED_AT_ONCE = 1_000
#: With `everysec` a crash takes back up to a second of the log: what is drained must be older.
SYNCED_AFTER_MS = 2_000
ATTEMPTS = 5
#: Where nothing came in, a log is trimmed again after this: another Redis may have lost the last time.
TRIM_AGAIN_S = 10.0


@dataclass
class Drained:
    """What one round did. `stopped` maps a shard to what stands in the way of its next entry."""

    rows: int = 0
    stopped: dict[int, str] = field(default_factory=dict)
    has_more: bool = False


class Drain:
    """Drains until told to stop. `recover` is asked before each round; `on_step` names each step, to inject faults."""

    def __init__(
        self,
        store: Store,
        lake: Lake,
        settings: Settings,
        *,
        recover: Callable[[], bool] = lambda: False,
        on_step: Callable[[str], None] = lambda step: None,
        rows_max: int = ROWS_MAX,
    ) -> None:
        self.store, self.lake, self.settings = store, lake, settings
        self.recover, self.on_step = recover, on_step
        self.rows_max = rows_max
        self.token = secrets.token_hex(8)
        self.said: dict[str, Any] = {}
        self._beaten: tuple[float, dict[str, Any]] | None = None
        self._committed: tuple[int, dict[int, int]] | None = None
        self._trimmed: dict[int, tuple[int, float]] = {}

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set. What is away is said, in the log and in the heartbeat, and tried again."""
        while not stop.is_set():
            started = time.monotonic()
            has_more = False
            try:
                if self.store.hold_lease("drain", self.token, LEASE_MS, "gives way"):
                    if self.recover():
                        self._trimmed.clear()
                    found = self.step()
                    has_more = found.has_more
                    self.said = {"stopped": {str(shard): why for shard, why in found.stopped.items()}}
                    if found.stopped:
                        self.said |= {"status": "error", "error": f"shards stand still: {found.stopped}"}
                    self.keep_rejected()
            except (StoreError, LakeError, Refusal, OSError) as error:
                log.warning("drain_failed", error=str(error))
                self.said = {"status": "error", "error": str(error)}
            self._beat()
            if not has_more:
                stop.wait(max(0.0, self.settings.drain_interval_s - (time.monotonic() - started)))
        self._last_round()

    def step(self) -> Drained:
        """One round over all shards. Raises when Redis or the lake are away; nothing is lost or doubled by that."""
        for _ in range(ATTEMPTS):
            try:
                return self._round()
            except LakeConflict:
                log.info("drain_conflict")  # another drain committed first: read again what it left
        raise LakeConflict(f"other drains were first {ATTEMPTS} times")

    def _round(self) -> Drained:
        opened = self.lake.open(EVENTS)
        shards = range(self.store.shards)
        version = opened.version()
        committed = self._committed_at(opened)
        self.on_step("checked")
        drained = Drained()
        entries: list[tuple[int, LogEntry]] = []
        upto: dict[int, int] = {}
        per_shard = max(1, self.rows_max // self.store.shards)
        newest_ms = self._synced_ms()
        for shard, found in self.store.read_logs(committed, per_shard).items():
            kept = [entry for entry in found if newest_ms is None or entry.received_ms <= newest_ms]
            if not kept:
                continue
            wrong = _gap(kept, committed[shard])
            if wrong is not None:
                drained.stopped[shard] = wrong
                continue
            drained.has_more = drained.has_more or len(found) == per_shard
            entries += [(shard, entry) for entry in kept]
            upto[shard] = kept[-1].seq
        self.on_step("read")
        if entries:
            # Before they are committed, so that a drain that is killed here does it again.
            try:
                self.store.follow(complete_links(self.store.operations, (entry for _, entry in entries)))
            except StoreFull as error:
                # Who sent these was told 429 and repeats them, links too; and room comes only by going on.
                log.warning("links_not_repeated", error=str(error))
            self.on_step("linked")
            rows = event_rows(entries)
            self.on_step("before_write")
            self.lake.append_to(opened, rows, [Transaction(log_app(shard), seq) for shard, seq in upto.items()])
            if opened.version() == version + 1:  # nobody else's commit is in it
                self._committed = version + 1, committed | upto
            self.on_step("after_write")
        for shard in shards:
            seq = upto.get(shard, committed[shard])
            if seq > 0 and self._is_to_trim(shard, seq):
                self.store.trim_log(shard, seq, MARGIN_ENTRIES)
                self._trimmed[shard] = seq, time.monotonic()
                self.on_step("trimmed")
        drained.rows = len(entries)
        return drained

    def _committed_at(self, opened: DeltaTable) -> dict[int, int]:
        """How far each shard is committed in a version. To ask that reads the table's log, for each shard anew: only of
        a version that this drain did not write."""
        version = opened.version()
        if self._committed is None or self._committed[0] != version:
            shards = range(self.store.shards)
            found = {shard: opened.transaction_version(log_app(shard)) or 0 for shard in shards}
            self._committed = version, found
        return self._committed[1]

    def _is_to_trim(self, shard: int, seq: int) -> bool:
        held = self._trimmed.get(shard)
        return held is None or held[0] != seq or time.monotonic() - held[1] >= TRIM_AGAIN_S

    def _synced_ms(self) -> int | None:
        return self.store.now_ms() - SYNCED_AFTER_MS if self.settings.durability == "everysec" else None

    def keep_rejected(self) -> int:
        """Moves refused events from their stream to the lake; answers how many."""
        found = self.store.read_rejected(REJECTED_AT_ONCE)
        if found:
            self.lake.append_rejected([msgspec.json.decode(entry.data) for entry in found])
            self.store.trim_rejected(found[-1].entry_id)
        return len(found)

    def _beat(self) -> None:
        """Says what there is to say: when it is new, else often enough."""
        now_s = time.monotonic()
        if self._beaten is not None and self._beaten[1] == self.said and now_s - self._beaten[0] < BEAT_MS / 4_000:
            return
        try:
            self.store.beat("drain", msgspec.json.encode(self.said), BEAT_MS)
            self._beaten = now_s, dict(self.said)
        except StoreError as error:
            log.warning("beat_failed", error=str(error))

    def _last_round(self) -> None:
        """A stop that is asked for leaves as little in the log as it can."""
        try:
            if self.store.hold_lease("drain", self.token, LEASE_MS):
                while self.step().has_more:
                    pass
                self.store.release_lease("drain", self.token)
        except (StoreError, LakeError) as error:
            log.warning("last_round_failed", error=str(error))


def _gap(entries: list[LogEntry], committed: int) -> str | None:
    """What is wrong with entries that should be committed + 1, + 2 …; None when nothing is."""
    for expected, entry in enumerate(entries, committed + 1):
        if entry.seq != expected:
            return f"after seq {expected - 1} comes {entry.seq}"
    return None
