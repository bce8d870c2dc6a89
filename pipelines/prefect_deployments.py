"""The deployments `rebuild`, `purge` and `maintain` in Prefect: made where they are missing, and read as they stand.

What somebody changed of their schedules stays. Only an interval that was made here follows the settings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse, FlowRunResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas import schedules as server_schedules
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

from pipelines.timetable import Timetable
from pipelines.work import Order
from serving.settings import Settings

log = structlog.get_logger()

#: Planned runs that a look reads.
PLANNED_MAX = 200
#: Times that are computed of a schedule for which the server plans no runs.
TIMES = 5
#: What the deployments and all their runs bear.
TAG = "tinycdp"
#: The schedules that are made here are known by this, with their interval.
SLUG = "tinycdp-every-"
DESCRIPTIONS = {
    "rebuild": "Rebuilds every trait and segment from the lake: of everybody, or into the lake as of a time.",
    "purge": "Takes what deletes cover out of all tables and files.",
    "maintain": "Retention, compaction, checkpoints and vacuum of the lake's tables.",
}

_SCHEDULE: TypeAdapter[Any] = TypeAdapter(server_schedules.SCHEDULE_TYPES)


def rebuild_parameters(at: str | None = None) -> None:
    """Rebuilds every trait and segment.

    Args:
        at: an ISO 8601 time, as 1998-07-01T00:00:00Z. With it traits and memberships as of that time go to the lake
            only. Without it everybody is rebuilt as of now, and decisions follow.
    """


def no_parameters() -> None:
    """Takes none."""


class Deployments:
    """The deployments of one stack. Every call that takes a client asks the server, and raises when it is away."""

    def __init__(self, settings: Settings) -> None:
        #: The id of each work's deployment, once it is known.
        self.ids: dict[str, UUID] = {}
        self._names = {work: "-".join(filter(None, (work, settings.prefect_name))) for work in DESCRIPTIONS}
        rebuild_s, purge_s, maintain_s = (
            settings.rebuild_interval_s,
            settings.purge_interval_s,
            settings.maintain_interval_s,
        )
        #: How often each work is scheduled, and when first. The first purge comes soon: a stack that is started anew
        #: each day is purged each day too.
        self._intervals_s = {
            "rebuild": (rebuild_s, rebuild_s),
            "purge": (purge_s, min(purge_s, rebuild_s)),
            "maintain": (maintain_s, maintain_s),
        }

    def read(self, client: SyncPrefectClient, *, is_new: bool) -> dict[str, DeploymentResponse]:
        """work -> its deployment. Those that are missing are made. To a server that is new each is told, so that one
        that cannot write fails."""
        deployments = {} if is_new else self._read(client)
        if len(deployments) < len(DESCRIPTIONS):
            self.ids = {work: self._made(client, work) for work in DESCRIPTIONS}
            deployments = self._read(client)
        return deployments

    def planned(self, client: SyncPrefectClient) -> list[Order]:
        """The runs that are due or to come, in order."""
        works = {id: work for work, id in self.ids.items()}
        runs = client.get_scheduled_flow_runs_for_deployments([*works], limit=PLANNED_MAX)
        orders = [_order(run, works[run.deployment_id]) for run in runs if run.deployment_id is not None]
        return sorted(orders, key=lambda order: order.due_ms)

    def begun(self, client: SyncPrefectClient) -> list[FlowRun]:
        """The runs that some worker began and has not ended."""
        types = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
        state = FlowRunFilterState(type=types)
        return client.read_flow_runs(deployment_filter=self._filter(), flow_run_filter=FlowRunFilter(state=state))

    def _read(self, client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
        works = {id: work for work, id in self.ids.items()}
        return {works[found.id]: found for found in client.read_deployments(deployment_filter=self._filter())}

    def _filter(self) -> DeploymentFilter:
        return DeploymentFilter(id=DeploymentFilterId(any_=[*self.ids.values()]))

    def _made(self, client: SyncPrefectClient, work: str) -> UUID:
        """The id of a work's deployment, which is made if it is not there."""
        flow_id = client.create_flow_from_name(work)
        interval_s, first_s = self._intervals_s[work]
        interval = timedelta(seconds=max(interval_s, 1.0))
        slug = f"{SLUG}{interval_s:g}s"
        try:
            deployment = client.read_deployment_by_name(f"{work}/{self._names[work]}")
        except ObjectNotFound:
            first = datetime.now(UTC) + timedelta(seconds=first_s)
            schedule = IntervalSchedule(interval=interval, anchor_date=first)
            parameters = parameter_schema(rebuild_parameters if work == "rebuild" else no_parameters)
            return client.create_deployment(
                flow_id,
                self._names[work],
                schedules=[DeploymentScheduleCreate(schedule=schedule, active=True, slug=slug)],
                parameter_openapi_schema=parameters.model_dump(),
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


def timetable_of(
    deployment: DeploymentResponse, before: Timetable | None, orders: Iterable[Order], work: str
) -> Timetable:
    """The schedules of a deployment: the runs that the server planned, or else their times, computed here.

    A computed time that has passed stays until another has: the worker may be busy.
    """
    active = [schedule.schedule for schedule in deployment.schedules if schedule.active and not deployment.paused]
    planned = tuple(order.due_ms for order in orders if order.work == work and order.is_scheduled)
    if planned or not active:
        return Timetable(bool(active), planned, sends_orders=bool(planned))
    now_ms = time.time_ns() // 1_000_000
    passed = [] if before is None or before.sends_orders else [at_ms for at_ms in before.times_ms if at_ms <= now_ms]
    coming = [_ms(at) for schedule in active for at in _next_times(schedule)]
    return Timetable(True, (*passed[-1:], *sorted(coming)), sends_orders=False)


def _next_times(schedule: Any) -> list[datetime]:
    computed = _SCHEDULE.validate_python(schedule.model_dump())
    times: list[datetime] = asyncio.run(computed.get_dates(TIMES, start=datetime.now(UTC)))
    return times


def _order(run: FlowRunResponse, work: str) -> Order:
    due = run.next_scheduled_start_time or run.expected_start_time
    at = run.parameters.get("at")
    return Order(str(run.id), work, 0 if due is None else _ms(due), run.auto_scheduled, None if at is None else str(at))


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
