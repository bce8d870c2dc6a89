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

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import msgspec
import structlog
from prefect import Task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate, DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, FlowRunPolicy, State, StateType
from prefect.client.schemas.responses import DeploymentResponse, FlowRunResponse, SetStateStatus
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas import schedules as server_schedules
from prefect.settings import get_current_settings
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Pending, Running
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

from expressions.rules.values import instant_ms
from lake.lake import Lake
from pipelines import rebuild as rebuilding
from pipelines.prefect_server import REQUEST_S, Call, PrefectServer
from pipelines.timetable import Timetable
from pipelines.work import Order, Work, plain_work, rebuild_as_of
from serving.logs import safe_message
from serving.settings import Settings
from serving.store.store import Store

log = structlog.get_logger()

#: A run that failed is retried so often, after so many seconds, unless Prefect's own settings name defaults.
RETRIES, RETRY_S = 3, 10
#: Progress is told no more often.
PROGRESS_S = 1.0
#: Ends that the server does not have yet. Of more, the oldest is forgotten.
UNTOLD_MAX = 1_000
#: Planned runs that a look reads.
PLANNED_MAX = 200
#: Times that are computed of a schedule for which the server plans no runs.
TIMES = 5
#: What runs bear that the worker began by itself; and what deployments and all their runs bear.
REQUESTED, TAG = "requested", "tinycdp"
#: The schedules that are made here are known by this, with their interval.
SLUG = "tinycdp-every-"

_SCHEDULE: TypeAdapter[Any] = TypeAdapter(server_schedules.SCHEDULE_TYPES)
#: The steps of a rebuild that are task runs, as it names them.
_TASKS: dict[str, Task[[], None]] = {
    name: Task(lambda: None, name=name) for name in ("reading", "publishing", "sweeping", "writing")
}


def rebuild_parameters(at: str | None = None) -> None:
    """Rebuilds every trait and segment.

    Args:
        at: an ISO 8601 time, as 1998-07-01T00:00:00Z. With it traits and memberships as of that time go to the lake
            only. Without it everybody is rebuilt as of now, and decisions follow.
    """


def no_parameters() -> None:
    """Takes none."""


DESCRIPTIONS = {
    "rebuild": "Rebuilds every trait and segment from the lake: of everybody, or into the lake as of a time.",
    "purge": "Takes what deletes cover out of all tables and files.",
    "maintain": "Retention, compaction, checkpoints and vacuum of the lake's tables.",
}


class Record:
    """What Prefect has, or is to have, of one run.

    The worker's thread sets `end`, `step` and `told_s`, the server's thread all else.
    """

    def __init__(self, order: Order | None) -> None:
        self.run_id: UUID | None = None if order is None else UUID(order.key)
        self.claimed = threading.Event()
        self.is_running = order is None  # as the server has it
        self.is_withdrawn = False
        self.is_broken = False  # something of it could not be told, so the rest but its end is left out
        self.end: State[Any] | None = None
        self.task_run_id: UUID | None = None
        self.artifact_id: UUID | None = None
        self.step: str | None = None
        self.told_s = 0.0


class PrefectFlows:
    """A worker's runs in Prefect, and the orders that come from there.

    `due`, `run` and `timetable` are of `pipelines.work.Orders`. `recorded` is for work that the worker begins itself.
    """

    def __init__(self, store: Store, lake: Lake, settings: Settings) -> None:
        self.store, self.lake, self.settings = store, lake, settings
        self.plain = plain_work(store, lake, settings)
        #: The name of each work's deployment.
        self.names = {work: "-".join(filter(None, (work, settings.prefect_name))) for work in DESCRIPTIONS}
        purge_s = settings.purge_interval_s
        #: How often each work is scheduled, and when first. The first purge comes soon: a stack that is started anew
        #: each day is purged each day too.
        self.intervals_s = {
            "rebuild": (settings.rebuild_interval_s, settings.rebuild_interval_s),
            "purge": (purge_s, min(purge_s, settings.rebuild_interval_s)),
            "maintain": (settings.maintain_interval_s, settings.maintain_interval_s),
        }
        self.server = PrefectServer(self._look)
        self._is_serving = False
        self._lock = threading.Lock()
        self._orders: list[Order] = []
        self._timetables: dict[str, Timetable] = {}
        self._deployments: dict[str, UUID] = {}
        self._client: SyncPrefectClient | None = None
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
        if is_serving and not self._is_serving:
            self.server.look_soon()
        self._is_serving = is_serving

    def due(self, began_ms: Mapping[str, int]) -> list[Order]:
        """The orders to run now, the oldest first. Scheduled ones that later work served are told Completed."""
        now_ms = _now_ms()
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
        """The schedule of a work as it was last seen. It sends orders if Prefect answers, and plans runs by it."""
        with self._lock:
            timetable = self._timetables.get(work)
        if timetable is None:
            return None
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
        if self.server.answers and self.server.say(self._claiming(record, 0 if is_wrong else None)):
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
        record = Record(None)
        record.is_broken = not (self.server.answers and work in self._deployments)
        if not record.is_broken:
            self._opened(record)
            record.is_broken = not self.server.say(self._creating(record, work, name))
        if record.is_broken:
            self.unrecorded += 1
            self._close(record)
        return self._ended(record, work, lambda: call(record))

    def _ended(self, record: Record, work: str, call: Callable[[], Any]) -> Any:
        """What the work returns. How it ended is told, by the first line of an error that was foreseen."""
        try:
            done = call()
        except Exception as error:
            self._end(record, Failed(message=f"{type(error).__name__}: {safe_message(error)}".partition("\n")[0]))
            raise
        row = rebuilding.run_row(done) | {"seqs": str(done.seqs)} if isinstance(done, rebuilding.Run) else done
        self._end(record, Completed(message=_summary(row)), work, row)
        return done

    def _rebuild(self, record: Record, ids: Collection[str] | None, at_ms: int | None) -> rebuilding.Run:
        def on_progress(step: str, done: int) -> None:
            if ids is None:  # a rebuild of ids takes a moment, and four a second may come
                self._step(record, step, done)

        if at_ms is not None:
            on_progress("writing", 0)
            run = rebuild_as_of(self.store, self.lake, at_ms)
            on_progress("done", 0)
            return run
        run = rebuilding.rebuild(self.store, self.lake, self.settings, ids=ids, progress=on_progress)
        if ids is None:
            self.users = run.users
        return run

    def _opened(self, record: Record) -> Record:
        with self._lock:
            self._open[id(record)] = record
            while len(self._open) > UNTOLD_MAX:
                self._open.pop(next(iter(self._open)))
        return record

    def _end(self, record: Record, end: State[Any], work: str | None = None, row: Any = None) -> None:
        """Lets the server be told how a run ended, at the next look where that does not succeed now."""
        if row is not None and not record.is_broken:
            cells = {
                name: value if isinstance(value, int | float | str) else _json(value) for name, value in row.items()
            }
            artifact = ArtifactCreate(key=work, type="table", data=_json([cells]))

            def attach(client: SyncPrefectClient) -> None:
                _end_task(client, record, Completed())
                _attach(client, record, artifact)

            self.server.say(self._of(record, attach))
        record.end = end
        self.server.say(lambda client: self._tell_end(client, record))

    def _cross_out(self, order: Order) -> None:
        record = self._opened(Record(order))
        self._end(record, Completed(name="Covered", message=f"A {order.work} that began later did this too."))

    # ── in the server's thread ───────────────────────────────────────────────────────────────────────────────────────

    def _of(self, record: Record, call: Call) -> Call:
        """The call, unless something of the record failed before."""

        def guarded(client: SyncPrefectClient) -> None:
            if record.is_broken:
                return
            try:
                call(client)
            except Exception:
                record.is_broken = True
                raise

        return guarded

    def _claiming(self, record: Record, retries: int | None) -> Call:
        """Takes a run to Running, with its policy of retries, unless the server does not let it."""

        def claim(client: SyncPrefectClient) -> None:
            assert record.run_id is not None
            try:
                client.update_flow_run(record.run_id, empirical_policy=_retrying(retries))
                states: tuple[State[Any], ...] = (Pending(), Running())
                for state in states:
                    answer = client.set_flow_run_state(record.run_id, state)
                    if answer.status is not SetStateStatus.ACCEPT:
                        record.is_withdrawn = True
                        self._close(record)
                        return
                record.is_running = True
            finally:
                record.claimed.set()

        return self._of(record, claim)

    def _creating(self, record: Record, work: str, name: str) -> Call:
        def create(client: SyncPrefectClient) -> None:
            try:
                run = client.create_flow_run_from_deployment(
                    self._deployments[work], state=Running(), name=name, tags=[REQUESTED]
                )
                record.run_id = run.id
            finally:
                if record.run_id is None:
                    self.unrecorded += 1
                    self._close(record)

        return self._of(record, create)

    def _step(self, record: Record, step: str, done: int) -> None:
        """Lets a step be a task run with a progress of its own: how many of the last rebuild's ids are done."""
        now_s = time.monotonic()
        is_new, record.step = step != record.step, step
        if not is_new and now_s - record.told_s < PROGRESS_S:
            return
        record.told_s = now_s
        share = min(99.0, 100.0 * done / max(done, self.users, 1)) if done else 0.0

        def tell(client: SyncPrefectClient) -> None:
            if is_new:
                _end_task(client, record, Completed())
                if step in _TASKS:
                    key = secrets.token_hex(8)  # a retry has the same steps again
                    task_run = client.create_task_run(_TASKS[step], record.run_id, key, name=step, state=Running())
                    record.task_run_id = task_run.id
                    record.artifact_id = _attach(client, record, ArtifactCreate(type="progress", data=0.0))
            elif record.artifact_id is not None:
                client.update_artifact(record.artifact_id, ArtifactUpdate(data=share))

        if not record.is_broken:
            self.server.say(self._of(record, tell))

    def _tell_end(self, client: SyncPrefectClient, record: Record) -> None:
        """Tells how a run ended, if that is still to be told."""
        if record.run_id is None or record.end is None or id(record) not in self._open:
            return
        if record.end.type is StateType.FAILED and not record.is_running:
            self._close(record)  # Prefect retries what ran: this run is still due, and comes again by itself
            return
        try:
            if not record.is_broken and record.end.type is StateType.FAILED:
                _end_task(client, record, Failed())
            answer = client.set_flow_run_state(record.run_id, record.end)
            if answer.state is not None and answer.state.type is StateType.CANCELLING:
                message = f"Cancelled too late: {record.end.name}. {record.end.message}"
                client.set_flow_run_state(record.run_id, Cancelled(message=message))
        except ObjectNotFound:  # somebody deleted it
            pass
        self._close(record)

    def _close(self, record: Record) -> None:
        with self._lock:
            self._open.pop(id(record), None)
            # What was read of it before is out of date.
            self._orders = [order for order in self._orders if UUID(order.key) != record.run_id]

    # ── looks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, client: SyncPrefectClient) -> None:
        if not self._is_serving:
            return
        is_new = client is not self._client
        deployments = {} if is_new else self._read_deployments(client)
        if len(deployments) < len(DESCRIPTIONS):
            self._deployments = {work: self._deploy(client, work) for work in DESCRIPTIONS}
            deployments = self._read_deployments(client)
        if is_new:
            self._adopt(client)
        for record in list(self._open.values()):
            self._tell_end(client, record)
        planned = client.get_scheduled_flow_runs_for_deployments([*self._deployments.values()], limit=PLANNED_MAX)
        works = {id: work for work, id in self._deployments.items()}
        orders = [_order(run, works[run.deployment_id]) for run in planned if run.deployment_id is not None]
        now_ms = _now_ms()
        with self._lock:
            self._orders = sorted(orders, key=lambda order: order.due_ms)
            self._timetables = {
                work: _timetable(deployment, self._timetables.get(work), orders, now_ms, work)
                for work, deployment in deployments.items()
            }
        self._client = client  # the last statement: a look that failed is made anew in whole

    def _read_deployments(self, client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
        ids = DeploymentFilter(id=DeploymentFilterId(any_=[*self._deployments.values()]))
        works = {id: work for work, id in self._deployments.items()}
        return {works[found.id]: found for found in client.read_deployments(deployment_filter=ids)}

    def _deploy(self, client: SyncPrefectClient, work: str) -> UUID:
        """The id of a work's deployment, which is made if it is not there.

        What somebody changed of its schedules stays. Only an interval that was made here follows the settings.
        """
        flow_id = client.create_flow_from_name(work)
        interval_s, first_s = self.intervals_s[work]
        interval = timedelta(seconds=max(interval_s, 1.0))
        slug = f"{SLUG}{interval_s:g}s"
        try:
            deployment = client.read_deployment_by_name(f"{work}/{self.names[work]}")
        except ObjectNotFound:
            first = datetime.now(UTC) + timedelta(seconds=first_s)
            schedule = IntervalSchedule(interval=interval, anchor_date=first)
            return client.create_deployment(
                flow_id,
                self.names[work],
                schedules=[DeploymentScheduleCreate(schedule=schedule, active=True, slug=slug)],
                parameter_openapi_schema=parameter_schema(
                    rebuild_parameters if work == "rebuild" else no_parameters
                ).model_dump(),
                enforce_parameter_schema=True,
                tags=[TAG],
                description=DESCRIPTIONS[work],
            )
        for made in deployment.schedules:
            if made.slug and made.slug.startswith(SLUG) and made.slug != slug:
                anchored = IntervalSchedule(interval=interval, anchor_date=datetime.now(UTC) + interval)
                client.update_deployment_schedule(deployment.id, made.id, schedule=anchored, slug=slug)
                log.info("prefect_schedule_changed", work=work, interval_s=interval_s)
        return deployment.id

    def _adopt(self, client: SyncPrefectClient) -> None:
        """Puts right what workers left that were killed: orders are due again, as often as they may be retried."""
        running = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[*self._deployments.values()])),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=running)),
        )
        ours = {record.run_id for record in self._open.values()}
        for run in runs:
            if run.id not in ours:
                client.set_flow_run_state(run.id, _left(run))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _retrying(retries: int | None) -> FlowRunPolicy:
    """How often a run is retried: as given, else by Prefect's defaults for flows, else by ours."""
    flows = get_current_settings().flows
    if retries is None:
        retries = flows.default_retries or RETRIES
    delay_s = flows.default_retry_delay_seconds or RETRY_S
    if isinstance(delay_s, list):
        delay_s = delay_s[0]
    return FlowRunPolicy(retries=retries, retry_delay=int(delay_s))


def _left(run: FlowRun) -> State[Any]:
    """What becomes of a run whose worker ended."""
    retries = run.empirical_policy.retries or 0
    if REQUESTED in run.tags or run.run_count > retries:
        return Crashed(message="The worker ended meanwhile.")
    return AwaitingRetry(scheduled_time=datetime.now(UTC), message="The worker ended meanwhile.")


def _order(run: FlowRunResponse, work: str) -> Order:
    due = run.next_scheduled_start_time or run.expected_start_time
    at = run.parameters.get("at")
    return Order(str(run.id), work, 0 if due is None else _ms(due), run.auto_scheduled, None if at is None else str(at))


def _timetable(
    deployment: DeploymentResponse, before: Timetable | None, orders: Iterable[Order], now_ms: int, work: str
) -> Timetable:
    """The schedules of a deployment: the runs that the server planned, or else their times, computed here.

    A computed time that has passed stays until another has: the worker may be busy.
    """
    active = [schedule.schedule for schedule in deployment.schedules if schedule.active and not deployment.paused]
    planned = tuple(order.due_ms for order in orders if order.work == work and order.is_scheduled)
    if planned or not active:
        return Timetable(bool(active), planned, sends_orders=bool(planned))
    passed = [] if before is None or before.sends_orders else [at_ms for at_ms in before.times_ms if at_ms <= now_ms]
    coming = [_ms(at) for schedule in active for at in _next_times(schedule)]
    return Timetable(True, (*passed[-1:], *sorted(coming)), sends_orders=False)


def _next_times(schedule: Any) -> list[datetime]:
    computed = _SCHEDULE.validate_python(schedule.model_dump())
    times: list[datetime] = asyncio.run(computed.get_dates(TIMES, start=datetime.now(UTC)))
    return times


def _attach(client: SyncPrefectClient, record: Record, artifact: ArtifactCreate) -> UUID:
    """The id of an artifact that is made of a run, and of its task run where one is on."""
    artifact.flow_run_id, artifact.task_run_id = record.run_id, record.task_run_id
    return client.create_artifact(artifact).id


def _end_task(client: SyncPrefectClient, record: Record, end: State[Any]) -> None:
    if record.task_run_id is None:
        return
    if record.artifact_id is not None and end.type is StateType.COMPLETED:
        client.update_artifact(record.artifact_id, ArtifactUpdate(data=100.0))
    client.set_task_run_state(record.task_run_id, end)
    record.task_run_id = record.artifact_id = None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _summary(row: Any) -> str | None:
    """A run in words, as its state's message. Of a purge or maintenance, what there was to do."""
    if not isinstance(row, dict):
        return None
    if "users" not in row:
        counts = [f"{name} {count}" for name, count in row.items() if isinstance(count, int) and count]
        return ", ".join(counts) or None
    return f"{row['users']} ids from {row['events']} events in {row['seconds']:.3f} s, build {row['build']}"
