"""The work as Prefect's flows `rebuild`, `purge` and `maintain`: deployments with schedules, runs, tasks, artifacts.

The work itself runs in the worker's process and thread, where its store and lake are: a request must be answered within
seconds, and a fresh interpreter alone takes as long. Prefect is told of it from a thread of its own
(`pipelines/prefect_server.py`). So whatever becomes of Prefect's server, the work goes on, and is not done again for
the sake of its record.

1. Each look makes sure of the deployments, then reads their schedules, and the runs that are due or planned: orders.
2. An order is claimed, its run goes to Running. The work waits for that for 2 s at most. It starts without an answer,
   and not if the run was cancelled.
3. While the work runs, its steps become task runs.
4. At the end the run is told Completed or Failed, and told so again at each look until the server has it. Prefect then
   decides about a retry, which comes back as an order.

Prefect is told how many ids a rebuild is of, and not which: its records stay when a person is gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self
from uuid import UUID

import structlog
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from expressions.rules.values import instant_ms
from lake.lake import Lake
from pipelines import rebuild as rebuilding
from pipelines.prefect_deployments import Deployments, timetable_of
from pipelines.prefect_records import Record, completed, failed, left
from pipelines.prefect_server import REQUEST_S, Call, PrefectServer, is_refusal
from pipelines.timetable import Timetable
from pipelines.work import Order, Work, plain_work, rebuild_as_of
from serving.settings import Settings
from serving.store.errors import StoreError
from serving.store.store import Store

log = structlog.get_logger()

#: Ends that the server does not have yet. Of more, the oldest is forgotten.
UNTOLD_MAX = 1_000


class PrefectFlows:
    """A worker's runs in Prefect, and the orders that come from there.

    `serve`, `due`, `claim`, `run`, `timetable` and `report` are `pipelines.work.Orders`. `rebuild`, `purge` and
    `maintain` are work that the worker begins itself.
    """

    def __init__(self, store: Store, lake: Lake, settings: Settings) -> None:
        self.store, self.lake, self.settings = store, lake, settings
        self.plain = plain_work(store, lake, settings)
        self.server = PrefectServer(self._look)
        self.deployments = Deployments(settings)
        self._is_serving = False
        #: The client of the last look. Another one may speak with a server that was started anew.
        self._client: SyncPrefectClient | None = None
        self._lock = threading.Lock()
        self._orders: list[Order] = []
        self._timetables: dict[str, Timetable] = {}
        #: Of runs that were begun and of which the server does not have the end, the oldest first.
        self._open: dict[int, Record] = {}
        self.unrecorded = 0
        self.users = 0

    @property
    def work(self) -> Work:
        """What a worker runs, each call a flow run."""
        return Work(self.rebuild, self.purge, self.maintain, self)

    def __enter__(self) -> Self:
        """Begins to speak with Prefect's server."""
        self.server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Tells the server what it does not know yet, if that takes no longer than `REQUEST_S`."""
        self.server.stop()

    # ── for the worker ───────────────────────────────────────────────────────────────────────────────────────────────

    def serve(self, is_serving: bool) -> None:
        """Looks for orders from now on, or leaves them to the worker that works."""
        if is_serving == self._is_serving:
            return
        self._is_serving = is_serving
        self._client = None  # another worker may have left something, or done it
        with self._lock:
            self._orders, self._timetables = [], {}
        self.server.look_soon()

    def due(self, began_ms: Mapping[str, int]) -> list[Order]:
        """The orders to run now, the oldest first. Scheduled ones that later work served are told Completed."""
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            taken = {record.run_id for record in self._open.values()}
            orders = [order for order in self._orders if order.due_ms <= now_ms and UUID(order.key) not in taken]
        newest: dict[str, Order] = {order.work: order for order in orders if order.is_scheduled and order.at is None}
        due = []
        for order in orders:
            is_served = order.due_ms <= began_ms[order.work] or order is not newest.get(order.work)
            if order.is_scheduled and order.at is None and is_served:
                self._cross_out(order)
            else:
                due.append(order)
        return due

    def timetable(self, work: str) -> Timetable | None:
        """The schedule of a work as it was last seen. It sends orders if Prefect answers, and plans runs by it.

        Until this process has seen any, what another one saw paused is paused. Raises `StoreError`.
        """
        with self._lock:
            timetable, is_seen = self._timetables.get(work), bool(self._timetables)
        if timetable is None:
            is_paused = not is_seen and work in self.store.paused()
            return Timetable(False, (), sends_orders=False) if is_paused else None
        return timetable._replace(sends_orders=timetable.sends_orders and self.server.answers)

    def report(self) -> dict[str, Any]:
        """Whose clock rules, whether Prefect answers, and how many runs it has no record of."""
        answers = self.server.answers
        report: dict[str, Any] = {"clock": "prefect" if answers else "worker", "answers": answers}
        if not answers:
            report["because"] = self.server.error
        return report | {"unrecorded": self.unrecorded}

    def claim(self, order: Order) -> bool:
        """Takes an order; returns False if its run was cancelled meanwhile, or asks for what cannot be done.

        Waits for Prefect, and no longer than `REQUEST_S`. Without an answer it is taken.
        """
        is_wrong = order.at is not None and instant_ms(order.at) is None
        record = self._opened(Record(order))
        if self.server.answers and self._tell(record, self._claiming(record, 0 if is_wrong else None)):
            record.claimed.wait(REQUEST_S)
        if is_wrong and not record.is_withdrawn:
            record.is_running = True  # so that the end is told, and not awaited
            self._end(record, Failed(message=f"at is {order.at!r}: give an ISO 8601 time, as 1998-07-01T00:00:00Z"))
        return not (is_wrong or record.is_withdrawn)

    def run(self, order: Order) -> Any:
        """Runs an order that was claimed. Returns and raises what its work does."""
        with self._lock:
            record = next(record for record in self._open.values() if record.run_id == UUID(order.key))
        at_ms = None if order.at is None else instant_ms(order.at)
        works: dict[str, Callable[[], Any]] = {
            "rebuild": lambda: self._rebuild(record, None, at_ms),
            "purge": self.plain.purge,
            "maintain": self.plain.maintain,
        }
        return self._ended(record, order.work, works[order.work])

    def rebuild(self, ids: Collection[str] | None) -> Any:
        """A rebuild that the worker began, of everybody or of some ids."""
        what = "everybody" if ids is None else f"{len(ids)} ids"
        return self._recorded("rebuild", f"rebuild of {what}", lambda record: self._rebuild(record, ids, None))

    def purge(self) -> Any:
        """A purge that the worker began."""
        return self._recorded("purge", "purge", lambda record: self.plain.purge())

    def maintain(self) -> Any:
        """Maintenance that the worker began."""
        return self._recorded("maintain", "maintain", lambda record: self.plain.maintain())

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _recorded(self, work: str, name: str, call: Callable[[Record], Any]) -> Any:
        """What the work returns, which is told as a run of its deployment if Prefect is there."""
        record = Record(None)
        deployment_id = self.deployments.ids.get(work)
        if self.server.answers and deployment_id is not None:
            self._opened(record)
            record.is_broken = not self._tell(record, self._creating(record, deployment_id, name))
        else:
            record.is_broken = True
        if record.is_broken:
            self._close(record)
            self.unrecorded += 1
        return self._ended(record, work, lambda: call(record))

    def _ended(self, record: Record, work: str, call: Callable[[], Any]) -> Any:
        """What the work returns. How it ended is told."""
        try:
            done = call()
        except Exception as error:
            self._end(record, failed(error))
            raise
        row = rebuilding.run_row(done) | {"seqs": str(done.seqs)} if isinstance(done, rebuilding.Run) else done
        self._tell(record, lambda client: record.tell_result(client, work, row))
        self._end(record, completed(row))
        return done

    def _rebuild(self, record: Record, ids: Collection[str] | None, at_ms: int | None) -> rebuilding.Run:
        def on_progress(step: str, done: int) -> None:
            if ids is not None:
                return  # a rebuild of ids takes a moment, and four a second may come
            is_new, is_told = record.is_to_tell(step)
            if is_told:
                # Of how many it will be is not known before: the last rebuild's ids are the measure.
                share = min(99.0, 100.0 * done / max(done, self.users, 1))
                self._tell(record, lambda client: record.tell_step(client, step, is_new, share))

        if at_ms is not None:
            on_progress("writing", 0)
            return rebuild_as_of(self.store, self.lake, at_ms)
        run = rebuilding.rebuild(self.store, self.lake, self.settings, ids=ids, progress=on_progress)
        if ids is None:
            self.users = run.users
        return run

    def _cross_out(self, order: Order) -> None:
        record = self._opened(Record(order))
        self._end(record, Completed(name="Covered", message=f"A {order.work} that began later did this too."))

    def _end(self, record: Record, end: State[Any]) -> None:
        """Lets the server be told how a run ended, at the next look where that does not succeed now."""
        record.end = end
        self.server.say(lambda client: self._tell_end(client, record))

    def _tell(self, record: Record, call: Call) -> bool:
        """Lets the server be told something of a run, unless something failed of it before; returns whether it will."""

        def guarded(client: SyncPrefectClient) -> None:
            if record.is_broken:
                return
            try:
                call(client)
            except Exception:
                record.is_broken = True
                raise

        return not record.is_broken and self.server.say(guarded)

    def _opened(self, record: Record) -> Record:
        with self._lock:
            self._open[id(record)] = record
            while len(self._open) > UNTOLD_MAX:
                self._open.pop(next(iter(self._open)))
        return record

    def _close(self, record: Record) -> None:
        with self._lock:
            self._open.pop(id(record), None)
            # What was read of it before is out of date.
            self._orders = [order for order in self._orders if UUID(order.key) != record.run_id]

    # ── in the server's thread ───────────────────────────────────────────────────────────────────────────────────────

    def _claiming(self, record: Record, retries: int | None) -> Call:
        def claim(client: SyncPrefectClient) -> None:
            record.claim(client, retries)
            if record.is_withdrawn:
                self._close(record)

        return claim

    def _creating(self, record: Record, deployment_id: UUID, name: str) -> Call:
        def create(client: SyncPrefectClient) -> None:
            try:
                record.create(client, deployment_id, name)
            finally:
                if record.run_id is None:
                    self.unrecorded += 1
                    self._close(record)

        return create

    def _tell_end(self, client: SyncPrefectClient, record: Record) -> None:
        """Tells how a run ended. An end that is refused is told again at the next look, without what belongs to it, and
        fails no look: orders and schedules are read all the same."""
        if record.run_id is None or record.end is None or id(record) not in self._open:
            return
        try:
            record.tell_end(client)
        except Exception as error:
            if not is_refusal(error):
                raise
            if not record.is_broken:
                log.warning("prefect_refuses_end", error=type(error).__name__)
            record.is_broken = True
        else:
            self._close(record)

    def _look(self, client: SyncPrefectClient) -> None:
        if not self._is_serving:
            return
        is_new = client is not self._client
        deployments = self.deployments.read(client, is_new=is_new)
        if is_new:
            ours = {record.run_id for record in self._open.values()}
            for run in self.deployments.begun(client):
                if run.id not in ours:
                    client.set_flow_run_state(run.id, left(run))
        for record in list(self._open.values()):
            self._tell_end(client, record)
        orders = self.deployments.planned(client)
        with self._lock:
            self._orders = orders
            self._timetables = seen = {
                work: timetable_of(deployment, self._timetables.get(work), orders, work)
                for work, deployment in deployments.items()
            }
        try:
            self.store.keep_paused([work for work, timetable in seen.items() if not timetable.is_active])
        except StoreError as error:  # Prefect is not away for that; the next look keeps them
            log.warning("pauses_not_kept", error=str(error))
        self._client = client  # the last statement: a look that failed is made anew in whole
