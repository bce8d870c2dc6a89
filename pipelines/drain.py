"""The drain: log to lake, exactly once.

A daemon that holds a lease. A round, over one open table object:

1. Read how far each shard is committed: shard -> seq.
2. Read the logs after that, less the entries that Redis could still lose: (shard, entry). Some entries of every shard
   at a time, until the round has its share of bytes (`pipelines.round_size`) or of rows.
3. Complete in Redis the deletes and links of these entries whose callers were cut off.
4. Append the entries as rows of `events`, with a transaction for every shard, all in one commit.
5. Trim the logs up to what is committed, less a margin.

The lake's rows of a shard are exactly seq 1 to its transaction. That holds if a drain is killed at any step, and if
several drains believe that they hold the lease: a second commit over the same shard conflicts, and is made anew from
what the first one left.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from deltalake import DeltaTable, Transaction

from lake.errors import LakeConflict, LakeError
from lake.lake import Lake, log_app
from lake.schemas import EVENTS, REJECTED
from pipelines.due import pause_after
from pipelines.heartbeat import beat
from pipelines.leases import HeldLeases, NotHeld, renewing
from pipelines.lives import require_own, require_own_lake
from pipelines.round_size import BYTES_MAX, RoundSize
from pipelines.rows import event_rows
from pipelines.standstill import LOOK_S, Standstill, end
from serving.definitions.saving import write_down
from serving.people.deletion import complete_deletes
from serving.people.links import complete_links
from serving.refusals import Refusal
from serving.settings import Settings
from serving.store.errors import OtherLake, StoreError, StoreFull
from serving.store.logged_event import LogEntry
from serving.store.store import Store

log = structlog.get_logger()

#: Rows of one commit, beside the bound on bytes. What the log has more waits for the next round, which follows at once.
ROWS_MAX = 50_000
#: Committed entries that stay in the log, for a look at what happened; none while Redis' memory is nearly full.
MARGIN_ENTRIES = 100
#: When a drain is killed, the next one waits this long.
LEASE_MS = 15_000
#: The heartbeat is gone this long after the last one.
BEAT_MS = 10_000
#: Refused events that a round moves to the lake.
REJECTED_AT_ONCE = 1_000
#: The longest pause after a failure. The heartbeat is not gone before the next round.
PAUSE_S_MAX = BEAT_MS / 2_000
#: With `everysec` a crash takes back up to a second of the log, so only older entries are drained.
SYNCED_AFTER_MS = 2_000
#: How often a round is made anew when another drain committed first.
ATTEMPTS = 5
#: A round that takes longer is told, whatever it does: its events wait. Nearly all take less than a second.
LONG_ROUND_S = 30.0
#: A log without new entries is trimmed again after this: Redis may have come back from before the last time.
TRIM_AGAIN_S = 10.0
#: Shards that still stand are logged again after this.
TELL_AGAIN_S = 60.0
#: What to do about them.
STOPPED = (
    "the log contradicts the lake, as where an older copy of the lake was put in its place. Put the newer lake back; "
    "or, where it is lost, empty Redis, and give up the events since that copy (docs/deployment.md, Backups)"
)


@dataclass
class Drained:
    """What one round did. `stopped` maps a shard to the reason why its next entry cannot be drained.

    `stopped_at` is the seq up to which the lake has such a shard: less than Redis remembers where the lake is older.
    """

    rows: int = 0
    stopped: dict[int, str] = field(default_factory=dict)
    stopped_at: dict[int, int] = field(default_factory=dict)
    has_more: bool = False


class Drain:
    """Drains until told to stop.

    `recover` is called before each round, and returns whether Redis was recovered. `on_step` is told the name of each
    step: tests inject faults there.
    """

    def __init__(
        self,
        store: Store,
        lake: Lake,
        settings: Settings,
        *,
        recover: Callable[[], bool] = lambda: False,
        on_step: Callable[[str], None] = lambda step: None,
        rows_max: int = ROWS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self.store, self.lake, self.settings = store, lake, settings
        self.recover, self.on_step = recover, on_step
        self.rows_max = rows_max
        self.size = RoundSize(settings.event_bytes_max, bytes_max)
        self.token, self.name = secrets.token_hex(8), secrets.token_hex(4)  # of the lease; in the heartbeat
        self.is_holder = False
        self.report: dict[str, Any] = {}
        self._told_beside: Mapping[str, Any] = {}  # beside work that takes long
        #: How many rounds failed since one succeeded, and when that was (UTC ms): None before the first one here.
        self.failures = 0
        self.succeeded_ms: int | None = None
        self._lease: HeldLeases | None = None  # of `run`; who calls `step` alone sees to its leases
        self._beaten: tuple[float, dict[str, Any]] | None = None
        self._committed: tuple[int, dict[int, int]] | None = None
        self._trimmed: dict[int, tuple[int, float]] = {}
        #: The shards that the log was last told to stand still, and when.
        self._told_stopped: tuple[dict[int, str], float] = {}, 0.0

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set. A part that is away is named in the log and in the heartbeat, and tried again.

        Raises `OtherLake` where Redis belongs to another lake: the lease is left to the drain of that one.
        """
        failures = 0
        while not stop.is_set():
            started = time.monotonic()
            has_more = False
            try:
                self._hold(self.store.hold_lease("drain", self.token, LEASE_MS, "gives way"))
                if self.is_holder:
                    self._lease = HeldLeases(self.store, ["drain"], self.token)
                    with renewing(self._lease):
                        has_more = self._work()
                    self.failures, self.succeeded_ms = 0, time.time_ns() // 1_000_000
                failures = 0
            except OtherLake:
                self.store.release_lease("drain", self.token)
                raise
            except NotHeld as error:
                log.warning("lease_lost", error=str(error))  # this process was paused, and another drains now
            except (StoreError, LakeError, Refusal, OSError, MemoryError) as error:
                why = str(error) or "memory is full"
                log.warning("drain_failed", error=why)
                self.report = {"status": "error", "error": why}
                self.failures += 1
                # A lake that refuses is asked less and less often. Redis is asked on: it must be recovered at once.
                failures = failures + 1 if isinstance(error, LakeError) else 0
            self._beat()
            if not has_more:
                interval_s = self.settings.drain_interval_s
                pause_s = max(interval_s, pause_after(failures, interval_s, PAUSE_S_MAX))
                stop.wait(max(0.0, pause_s - (time.monotonic() - started)))
        self._last_round()

    def _hold(self, is_holder: bool) -> None:
        """Notes whether this drain is the one that drains, and tells of each change."""
        if is_holder != self.is_holder:
            self.is_holder = is_holder
            log.info("lease_taken" if is_holder else "lease_given_up", lease="drain", name=self.name)

    def _work(self) -> bool:
        """Recovers Redis where it must be, and does a round; returns whether the log has more."""
        with self._beating_beside("the recovery", {"recovering": True}):
            was_recovered = self.recover()
        if was_recovered:
            self._trimmed.clear()
        with self._beating_beside("a round", {}, LONG_ROUND_S):
            return self._drain()

    def _drain(self) -> bool:
        """Does a round, and moves what else waits in Redis for the lake; returns whether the log has more."""
        drained = self.step()
        self.report = {"stopped": {str(shard): why for shard, why in drained.stopped.items()}}
        if drained.stopped:
            self.report |= {
                "status": "error",
                "error": f"shards stand still: {drained.stopped}",
                "stopped_at": {str(shard): seq for shard, seq in drained.stopped_at.items()},
            }
        self._tell_stopped(drained.stopped)
        self.keep_rejected()
        write_down(self.store, self.lake.append_definitions)
        return drained.has_more

    def step(self) -> Drained:
        """One round over all shards. Raises when Redis or the lake are away; nothing is lost or doubled then.

        A round for which memory is too small is made anew with half of the bytes. Raises `MemoryError` when the
        smallest one fails too.
        """
        conflicts = 0
        while True:
            try:
                drained = self._round()
            except LakeConflict:
                log.info("drain_conflict")  # another drain committed first: read again from there
                conflicts += 1
                if conflicts == ATTEMPTS:
                    raise LakeConflict(f"other drains were first {ATTEMPTS} times") from None
            except MemoryError:
                if not self.size.halve():
                    raise
                log.warning("memory_full", bytes_a_round=self.size.bytes)
            else:
                if drained.has_more:
                    self.size.passed()
                return drained

    def _round(self) -> Drained:
        opened = self.lake.open(EVENTS)
        require_own_lake(self.store, self.lake)
        shards = range(self.store.shards)
        version = opened.version()
        committed = self._committed_at(opened)
        self.on_step("checked")
        drained = Drained()
        entries = self._read(committed, drained)
        upto = {shard: entry.seq for shard, entry in entries}
        self.on_step("read")
        if entries:
            # Before the commit, so that the next drain completes them when this one is killed here.
            said = [entry for _, entry in entries]
            try:
                self.store.follow(complete_deletes(self.store.operations, said))
                self.store.follow(complete_links(self.store.operations, said))
            except StoreFull as error:
                # Clients were told 429 and send these again, links too. Room comes only when the drain goes on.
                log.warning("links_not_repeated", error=str(error))
            self.on_step("linked")
            rows = event_rows(entries)
            self.on_step("before_write")
            self._require_lease()
            self.lake.append_to(opened, rows, [Transaction(log_app(shard), seq) for shard, seq in upto.items()])
            if opened.version() == version + 1:  # the version has our commit and no other
                self._committed = version + 1, committed | upto
            self.on_step("after_write")
        seqs = {shard: upto.get(shard, committed[shard]) for shard in shards}
        trims = {shard: seq for shard, seq in seqs.items() if seq > 0 and self._is_to_trim(shard, seq)}
        margin = 0 if trims and self.store.memory().is_nearly_full else MARGIN_ENTRIES
        for shard, seq in trims.items():
            self.store.trim_log(shard, seq, margin)
            self._trimmed[shard] = seq, time.monotonic()
            self.on_step("trimmed")
        drained.rows = len(entries)
        return drained

    def _read(self, committed: Mapping[int, int], drained: Drained) -> list[tuple[int, LogEntry]]:
        """Entries after what is committed, (shard, entry), without a gap in any shard; notes gaps, and what is left.

        A step asks for no more entries than would have the bytes of the round if each were of the largest. So a round
        has at most twice its bytes.
        """
        entries: list[tuple[int, LogEntry]] = []
        newest_ms = self._synced_ms()
        after = dict(committed)  # of the shards that may have more
        size = 0
        while after and size < self.size.bytes and len(entries) < self.rows_max:
            count = max(1, min(self.size.entries, self.rows_max - len(entries)) // len(after))
            for shard, log_entries in self.store.read_logs(after, count).items():
                synced = [entry for entry in log_entries if newest_ms is None or entry.received_ms <= newest_ms]
                gap = _gap(synced, after[shard])
                if gap is not None:
                    drained.stopped[shard], drained.stopped_at[shard] = gap, after[shard]
                if gap is not None or not synced:
                    del after[shard]
                    continue
                entries += [(shard, entry) for entry in synced]
                size += sum(entry.size for entry in synced)
                after[shard] = synced[-1].seq
                if len(synced) < count:
                    del after[shard]
        drained.has_more = bool(after)
        return entries

    def _committed_at(self, opened: DeltaTable) -> dict[int, int]:
        """shard -> seq up to which it is committed, in the version of an open table.

        Delta reads all of the table's log for each shard, so it is asked once. Of versions that others wrote since,
        their own logs are read.
        """
        version = opened.version()
        if self._committed is None or self._committed[0] != version:
            seqs = None if self._committed is None else self.lake.transactions_since(*self._committed, version)
            if seqs is None:
                shards = range(self.store.shards)
                seqs = {shard: opened.transaction_version(log_app(shard)) or 0 for shard in shards}
            if self._committed is not None:
                moved = {shard: seq for shard, seq in seqs.items() if seq > self._committed[1][shard]}
                if moved:  # another drain was at work
                    require_own(self.store, self.lake, version, moved)
            self._committed = version, seqs
        return self._committed[1]

    def _is_to_trim(self, shard: int, seq: int) -> bool:
        last = self._trimmed.get(shard)
        return last is None or last[0] != seq or time.monotonic() - last[1] >= TRIM_AGAIN_S

    def _synced_ms(self) -> int | None:
        """The newest receipt that no crash of Redis takes back; None where none is ever taken back."""
        return self.store.now_ms() - SYNCED_AFTER_MS if self.settings.durability == "everysec" else None

    def keep_rejected(self) -> int:
        """Moves refused events from their stream to the lake; returns how many."""
        if not self.store.read_rejected(1):
            return 0
        purged = self.lake.purged(REJECTED)  # before they are read: a purge takes them out of the stream too
        rejected = self.store.read_rejected(REJECTED_AT_ONCE)
        if rejected:
            self._require_lease()
            self.on_step("refused")
            numbered = [(_number(entry.entry_id), msgspec.json.decode(entry.data)) for entry in rejected]
            self.lake.append_rejected(numbered, purged)
            self.on_step("kept")
            self.store.trim_rejected(rejected[-1].entry_id)
        return len(rejected)

    def _require_lease(self) -> None:
        """Raises `NotHeld` before a commit when this process lost its lease."""
        if self._lease is not None:
            self._lease.require()

    def _tell_stopped(self, stopped: Mapping[int, str]) -> None:
        """Logs which shards stand still: as soon as they do, again from time to time, and once they go on."""
        told, told_s = self._told_stopped
        now_s = time.monotonic()
        if stopped and (stopped != told or now_s - told_s >= TELL_AGAIN_S):
            log.error("shards_stopped", shards={str(shard): why for shard, why in stopped.items()}, remedy=STOPPED)
            self._told_stopped = dict(stopped), now_s
        elif told and not stopped:
            log.info("shards_go_on", shards=sorted(told))
            self._told_stopped = {}, now_s

    @contextmanager
    def _beating_beside(self, work: str, report: Mapping[str, Any], long_after_s: float = math.inf) -> Iterator[None]:
        """Beats beside work that takes long, as a recovery of a large lake: whoever waits for it sees that it goes on.

        It says so when the work stands still, and ends the process at last (`pipelines.standstill`), or has taken long
        for its kind. Nearly all work is over before the first of these beats.
        """
        done = threading.Event()
        began_s = time.monotonic()

        def watch() -> None:
            standstill = Standstill(work)
            while not done.wait(LOOK_S):
                why = standstill.look()
                taken_s = time.monotonic() - began_s
                if why is None and taken_s >= long_after_s:
                    why = f"{work} takes {taken_s:.0f} s so far, as where the lake's store answers slowly or not at all"
                self._told_beside = report if why is None else {**report, "status": "error", "error": why}
                self._beat()
                if why is not None and standstill.is_over:
                    end(why)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._told_beside = {}

    def _beat(self) -> None:
        """Writes the heartbeat at once when the report changed, else four times in its lifetime."""
        now_s = time.monotonic()
        report = {**self.report, **self._told_beside, "failures": self.failures}
        if self._beaten is not None and self._beaten[1] == report and now_s - self._beaten[0] < BEAT_MS / 4_000:
            return
        try:
            # When a round succeeded is told with every beat, and is no reason for one: rounds are many.
            told = report | {"succeeded_at": self.succeeded_ms}
            beat(self.store, "drain", self.name, told, BEAT_MS, is_holder=self.is_holder)
            self._beaten = now_s, report
        except StoreError as error:
            log.warning("beat_failed", error=str(error))

    def _last_round(self) -> None:
        """Leaves as little in the log as it can before the process stops."""
        try:
            if self.store.hold_lease("drain", self.token, LEASE_MS):
                while self.step().has_more:
                    pass
                self.store.release_lease("drain", self.token)
        except (StoreError, LakeError, MemoryError, NotHeld) as error:  # `OtherLake` too
            log.warning("last_round_failed", error=str(error))


def _number(entry_id: str) -> int:
    """The number of a stream's entry, `ms-count`, in the order of the stream."""
    ms, _, count = entry_id.partition("-")
    return (int(ms) << 20) + int(count)


def _gap(entries: list[LogEntry], committed: int) -> str | None:
    """What is wrong with the seqs of entries, which go on from `committed` without a gap; None when nothing is."""
    for expected, entry in enumerate(entries, committed + 1):
        if entry.seq != expected:
            return f"after seq {expected - 1} comes {entry.seq}"
    return None
