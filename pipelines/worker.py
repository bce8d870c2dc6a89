"""The worker: rebuilds on a schedule, on request, and at once for single ids, with or without Prefect's server.

Prefect keeps the schedules where it is there, and asks for runs: orders. While it is away the worker's clock goes on by
the times that it knew, then by the intervals of the settings.

The worker also purges and maintains the lake and packs its small files, one after the other and never beside a rebuild.
A chore that fails is tried again soon (`pipelines.due`), and keeps none of the others from its turn.

Requests are counters in Redis. They are read before a rebuild pins its version and answered when it has published, so a
request that comes in between is not lost. A lease keeps two workers from doing the same work; nothing breaks if it runs
out.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

import msgspec
import polars as pl
import structlog
from msgspec import structs

from lake.errors import LakeError
from lake.lake import Lake
from pipelines.due import FORESEEN, Due
from pipelines.heartbeat import beat
from pipelines.lives import require_own_lake
from pipelines.packing import pack
from pipelines.rebuild import Run, run_row
from pipelines.standstill import LOOK_S as BEAT_S
from pipelines.standstill import Standstill, end
from pipelines.timetable import is_due
from pipelines.work import Chore, NoOrders, Order, Orders, Rebuild, rebuild_as_of
from serving.definitions.catalogue import Catalogue
from serving.definitions.saving import current
from serving.logs import safe_message
from serving.runs import AskedRun, Cause, RunNote, decoded, encode
from serving.settings import Settings
from serving.store.errors import OtherLake, StoreError
from serving.store.scripts.lease import Manner
from serving.store.store import Store

log = structlog.get_logger()

#: Renewed with every beat. When a worker is killed, the next one waits this long.
LEASE_MS = 15_000
#: The heartbeat is gone this long after the last one.
BEAT_MS = 10_000
#: Work that used no time of the processor for so long is told: a store may take some seconds.
STILL_S = 60.0
#: How often requests are looked for.
LOOK_S = 0.25
#: How long a requested rebuild lets the drain go first.
DRAIN_S = 3.0
#: How often tables are looked at for small files. A trickle of events makes some sixty in between.
PACK_S = 60.0
#: The columns of a run that the heartbeat repeats, beside its seconds.
REPORTED = ("build", "as_of", "users", "events", "kind")
#: When what is due could not be looked up, it is not looked up again sooner.
PAUSE_S = 2.0


#: Runs that are asked for, each with the text that it is taken back by.
Asked: TypeAlias = Sequence[tuple[bytes, AskedRun]]


#: Why work failed whose worker is gone.
KILLED = "the process that did it ended before it was done, as where the machine kills it for its memory"


class UnderWay(msgspec.Struct, frozen=True):
    """What a worker does now: whose it is, the work's name, and how often it has failed in a row before."""

    by: str
    work: str
    failures: int


_under_way_of = msgspec.json.Decoder(UnderWay).decode


class Uncovered(Enum):
    """What the definitions wait for: nothing; a rebuild, since the lake holds all it must cover; or first the drain."""

    NOTHING = "nothing"
    DRAINED = "drained"
    UNDRAINED = "undrained"


class Worker:
    """Looks for work until told to stop."""

    def __init__(
        self,
        store: Store,
        lake: Lake,
        settings: Settings,
        rebuild: Rebuild,
        purge: Chore,
        maintain: Chore,
        orders: Orders | None = None,
    ) -> None:
        self.store, self.lake, self.settings = store, lake, settings
        self.rebuild, self.orders = rebuild, orders or NoOrders()
        self.token, self.name = secrets.token_hex(8), secrets.token_hex(4)  # of the lease; in the heartbeat
        self.report: dict[str, Any] = {"last_build": None, "refused": {"older": 0, "deleted": 0}}
        self.catalogue: Catalogue | None = None
        self.uncovered: set[tuple[int, int]] = set()
        self.waits_since_s = time.monotonic()
        rebuild_s, purge_s, maintain_s = (
            settings.rebuild_interval_s,
            settings.purge_interval_s,
            settings.maintain_interval_s,
        )
        self.full = Due("rebuild", rebuild_s, first_s=rebuild_s)
        self.single = Due("rebuild of ids", 0.0, first_s=0.0)
        self.as_of = Due("rebuild as of a time", 0.0, first_s=0.0)
        #: By where the report has the result, in their order. The first purge comes soon: a stack that is started anew
        #: each day is purged each day too.
        self.chores: dict[str, tuple[Due, Callable[[], Any]]] = {
            "purged": (Due("purge", purge_s, first_s=min(purge_s, rebuild_s)), purge),
            "maintained": (Due("maintain", maintain_s, first_s=maintain_s), maintain),
            "packed": (Due("pack", PACK_S, first_s=0.0), lambda: pack(self.lake)),
        }
        #: When the last work of a name began that succeeded, in UTC ms: it served all that was due before.
        self.began_ms = {"rebuild": 0, "purge": 0, "maintain": 0}
        self.is_working = False
        #: Whether definitions or a command want the rebuild of everybody that is due.
        self._is_wanted = False
        #: What is being done, and since when (UTC ms).
        self.working: dict[str, Any] | None = None
        #: What is to be told of work that stands still.
        self._still: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set. A failure is named in the log and in the heartbeat, and the work tried again.

        Raises `OtherLake` where Redis belongs to another lake: the lease is left to the worker of that one.
        """
        self._recall()
        beats = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        beats.start()
        while not stop.is_set():
            pause_s = LOOK_S
            try:
                self.look()
                self.tell()
            except OtherLake:
                stop.set()
                self._end(beats)
                raise
            except FORESEEN as error:
                self.tell(f"what is due is not known: {safe_message(error)}")
                log.warning("look_failed", error=safe_message(error))
                pause_s = PAUSE_S
            stop.wait(pause_s)
        self._end(beats)

    def _end(self, beats: threading.Thread) -> None:
        """Waits for the beats to end, then gives the lease away: a beat would take it again."""
        beats.join(timeout=5)
        self.store.release_lease("rebuild", self.token)

    def look(self) -> bool:
        """Does what is due; returns whether anything was. Raises `OtherLake` where Redis belongs to another lake."""
        require_own_lake(self.store, self.lake)
        self._believe_no_future()
        requests = self.store.rebuild_requests()
        waits_for = self._waits_for()
        self._is_wanted = requests.is_full or waits_for is Uncovered.DRAINED
        is_full = self._is_due(self.full, is_wanted=self._is_wanted)
        orders = self.orders.due(self.began_ms)
        asked = decoded(self.store.asked_runs())
        of_everybody = [pair for pair in asked if pair[1].ids is None and pair[1].at_ms is None]
        is_full = is_full or (bool(of_everybody) and not self.full.rests)
        wanted_ids = [id for shard_ids in requests.ids.values() for id in shard_ids]
        ids = wanted_ids if self.single.is_due() else []
        asked = [pair for pair in asked if pair not in of_everybody and not self._due_of(pair[1]).rests]
        if not (is_full or ids or orders or asked) and not any(self._is_due(due) for due, _ in self.chores.values()):
            self.waits_since_s = time.monotonic()
            return False
        if waits_for is Uncovered.UNDRAINED and time.monotonic() - self.waits_since_s < DRAIN_S:
            return False  # a rebuild now would have to be done again
        self.waits_since_s = time.monotonic()
        self.is_working = True  # before the lease is taken, so that no beat gives it away
        try:
            if not self._is_ready() or not self.store.hold_lease("rebuild", self.token, LEASE_MS, "gives way"):
                return False
            if self._learns_of_a_killed_one():
                return False  # what is due has changed
            self._work(is_full, ids, orders, of_everybody, asked[:1])
        finally:
            self.is_working = False
        return True

    def _learns_of_a_killed_one(self) -> bool:
        """Whether another worker left work without an end. It has failed then, and rests, whoever did it.

        Else work for which the machine kills each worker would be the first of every worker, and keep all other work
        from its turn for good, while nobody says so.
        """
        left = self.store.work_under_way()
        if left is None:
            return False
        work = _under_way_of(left)
        self.store.end_work()
        for due in self._dues():
            if due.name == work.work and work.by != self.name:
                due.failures = work.failures
                due.failed(KILLED)
        return True

    def _dues(self) -> list[Due]:
        return [self.full, self.single, self.as_of, *(due for due, _ in self.chores.values())]

    def _believe_no_future(self) -> None:
        """Takes what began at a time to come for begun now: this clock went back since, or Redis' was ahead then.

        Else it would serve all that its schedule wants until the clock is there.
        """
        now_ms = time.time_ns() // 1_000_000
        self.began_ms = {name: min(began_ms, now_ms) for name, began_ms in self.began_ms.items()}

    def _work(
        self, is_full: bool, ids: list[str], orders: list[Order], of_everybody: Asked = (), asked: Asked = ()
    ) -> None:
        """Does all that is due. The answers that people wait for come first, and one rebuild as of a time last.

        `of_everybody` are the rebuilds of everybody that admins ask for: one serves all of them. `asked` are others.
        """
        for order in [order for order in orders if order.work == self.full.name and order.at is None]:
            is_full = not self._obey(order, self.full, self._note) and is_full
        if is_full:
            cause: Cause = "request" if self._is_wanted else "schedule"
            self._attempt(self.full, lambda: self._note(self.rebuild(None)), cause, of_everybody)
        elif ids:
            self._attempt(self.single, lambda: self._note(self.rebuild(ids)), None)
        for pair in asked:
            self._attempt(self._due_of(pair[1]), partial(self._rebuild_asked, pair[1]), "admin", [pair])
        for name, (due, work) in self.chores.items():
            keep: Callable[[Any], None] = partial(self.report.__setitem__, name)
            is_done = False
            for order in orders:
                if order.work == due.name:
                    is_done = self._obey(order, due, keep) or is_done
            if not is_done and self._is_due(due):
                self._attempt(due, partial(_pass_on, work, keep), None if name == "packed" else "schedule")
        for order in [order for order in orders if order.at is not None][:1]:
            self._obey(order, self.as_of, lambda run: None)

    def _obey(self, order: Order, due: Due, note: Callable[[Any], None]) -> bool:
        """Runs an order, unless the work rests after a failure or the order is withdrawn; returns whether it did."""
        if due.rests or not self.orders.claim(order):
            return False
        self._attempt(due, partial(_pass_on, partial(self.orders.run, order), note), "prefect")
        return True

    def _due_of(self, asked: AskedRun) -> Due:
        if asked.ids is not None:
            return self.single
        return self.full if asked.at_ms is None else self.as_of

    def _rebuild_asked(self, asked: AskedRun) -> Any:
        """A rebuild of some ids, or as of a time."""
        if asked.ids is not None:
            return self._note(self.rebuild(asked.ids))
        assert asked.at_ms is not None
        return rebuild_as_of(self.store, self.lake, asked.at_ms)

    def _attempt(self, due: Due, work: Callable[[], Any], cause: Cause | None, asked: Asked = ()) -> None:
        """Does a work and notes it as a run, or as those that are asked for; as none without a cause."""
        began_ms = time.time_ns() // 1_000_000
        self.working = {"on": due.name, "since": began_ms}
        runs = [
            RunNote(run.id, due.name, "running", run.of, "admin", run.by, run.asked_ms, began_ms) for _, run in asked
        ]
        if not runs and cause is not None:
            of = "everybody" if due is self.full else ""
            runs = [RunNote(secrets.token_hex(16), due.name, "running", of, cause, began_ms=began_ms)]
        self._note_runs(runs)
        self._note_work(lambda: self.store.begin_work(encode(UnderWay(self.name, due.name, due.failures))))
        result = due.attempt(work)
        self.working = None
        self._note_work(self.store.end_work)
        ended_ms = time.time_ns() // 1_000_000
        end: dict[str, Any] = {"state": "done", "counts": _counts(result)}
        if due.failures:
            end = {"state": "failed", "error": due.error}
        else:
            self.began_ms[due.name] = began_ms
        self._note_runs([structs.replace(run, ended_ms=ended_ms, **end) for run in runs], asked)

    def _note_runs(self, runs: list[RunNote], done: Asked = ()) -> None:
        """Notes runs, and takes back what was asked for. The work goes on where that fails."""
        if runs:
            try:
                self.store.note_runs([encode(run) for run in runs])
                self.store.answer_runs([text for text, _ in done])
            except StoreError as error:
                log.warning("run_not_noted", error=str(error))

    def _note_work(self, note: Callable[[], None]) -> None:
        """Notes which work begins, or that it ended. The work goes on where that fails."""
        try:
            note()
        except StoreError as error:
            log.warning("work_not_noted", error=str(error))

    def _is_due(self, due: Due, *, is_wanted: bool = False) -> bool:
        """Whether work is to begin without an order: it is wanted, or its schedule's time has come."""
        if due.rests:
            return False
        timetable = self.orders.timetable(due.name)
        now_ms = time.time_ns() // 1_000_000
        return is_wanted or is_due(timetable, now_ms, self.began_ms.get(due.name, 0), by_interval=due.is_due())

    def tell(self, error: str | None = None) -> None:
        """Puts into the report how each chore went, and all errors since its last success."""
        dues = self._dues()
        errors = [f"{due.name}: {due.error}" for due in dues if due.error is not None]
        errors += [error] if error is not None else []
        self.report["chores"] = {due.name: due.report() for due in dues}
        if errors:
            self.report["error"] = "; ".join(errors)
        else:
            self.report.pop("error", None)

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

    def _is_ready(self) -> bool:
        """Whether Redis is recovered. Until then the recovery rebuilds."""
        run_id = self.store.server().run_id
        return all(state.ready_run_id == run_id for state in self.store.shard_states())

    def _note(self, run: Any) -> Any:
        before = self.report["refused"]
        self.report["refused"] = {
            "older": before["older"] + run.refused_older,
            "deleted": before["deleted"] + run.refused_deleted,
        }
        self.report["last_build"] = _reported(run_row(run))
        return run

    def _recall(self) -> None:
        """Puts the last rebuild before this process into the report, if the lake answers."""
        try:
            last = self.lake.last_run()
        except (LakeError, pl.exceptions.PolarsError, OSError) as error:
            log.warning("last_run_unknown", error=safe_message(error))
            return
        if last is not None:
            self.report["last_build"] = _reported(last)
            self.began_ms["rebuild"] = last["as_of"]

    def heartbeat(self) -> dict[str, Any]:
        """The report, with what is being done and whose clock rules. Work that does not end is an error."""
        report = self.report | {"schedules": self.orders.report()}
        working = self.working
        if working is not None:
            report["working"] = working
            if time.time_ns() // 1_000_000 - working["since"] > self.settings.horizon_ms:
                report["error"] = f"{working['on']} does not end"
            if self._still is not None:
                report["error"] = self._still
        return report

    def _beat(self, stop: threading.Event) -> None:
        """Writes the heartbeat beside the work, and renews the lease for as long as a rebuild takes.

        Work that stands still for good would keep the lease, and all other work from its turn: it ends the process.
        """
        was_holder = False
        seen: dict[str, Any] | None = None
        standstill = Standstill("")
        while not stop.is_set():
            working = self.working
            if working is not seen:
                seen, standstill = working, Standstill("" if working is None else working["on"], STILL_S)
            self._still = None if working is None else standstill.look()
            if self._still is not None and standstill.is_over:
                end(self._still)
            try:
                # The lease is given away when another process waits for it, unless work must end first.
                manner: Manner = "" if self.is_working else "gives way"
                is_holder = self.store.hold_lease("rebuild", self.token, LEASE_MS, manner)
                if is_holder != was_holder:
                    was_holder = is_holder
                    log.info("lease_taken" if is_holder else "lease_given_up", lease="rebuild", name=self.name)
                self.orders.serve(is_holder)
                beat(self.store, "worker", self.name, self.heartbeat(), BEAT_MS, is_holder=is_holder)
            except StoreError as error:
                log.warning("beat_failed", error=str(error))
            stop.wait(BEAT_S)


def _pass_on(work: Callable[[], Any], keep: Callable[[Any], Any]) -> Any:
    result = work()
    keep(result)
    return result


def _counts(result: Any) -> dict[str, Any]:
    """What a run did, as its note has it."""
    if isinstance(result, Run):
        counts = {name: value for name, value in run_row(result).items() if name not in ("seqs", "sizes", "seconds")}
        return counts | {"refused_older": result.refused_older, "refused_deleted": result.refused_deleted}
    return dict(result) if isinstance(result, Mapping) else {}


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
