"""What Prefect is told of one run: that it runs, its steps, what it did, and how it ended.

Every method that takes a client tells the server, in the server's thread, and raises when that is away.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from prefect import Task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import FlowRun, FlowRunPolicy, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Pending, Running

from pipelines.due import FORESEEN
from pipelines.work import Order
from serving.logs import safe_message

#: A run that failed is retried so often, after so many seconds, unless Prefect's own settings name defaults.
RETRIES, RETRY_S = 3, 10
#: Progress is told no more often.
PROGRESS_S = 1.0
#: What runs bear that the worker began by itself.
REQUESTED = "requested"

#: The steps of a rebuild that are task runs, as it names them.
_TASKS: dict[str, Task[[], None]] = {
    name: Task(lambda: None, name=name) for name in ("reading", "publishing", "sweeping", "writing")
}


class Record:
    """What Prefect has, or is to have, of one run: of an order, or of work that the worker begins by itself.

    The worker's thread sets `end` and calls `is_to_tell`. All else is the server's thread.
    """

    def __init__(self, order: Order | None) -> None:
        self.run_id: UUID | None = None if order is None else UUID(order.key)
        self.claimed = threading.Event()
        self.is_running = order is None  # as the server has it
        self.is_withdrawn = False
        self.is_broken = False  # something of it could not be told, so the rest but its end is left out
        self.end: State[Any] | None = None
        self._step: str | None = None
        self._told_s = 0.0
        self._task_run_id: UUID | None = None
        self._progress_id: UUID | None = None

    def claim(self, client: SyncPrefectClient, retries: int | None) -> None:
        """Takes the run to Running, with its policy of retries. It is withdrawn if the server does not let it."""
        assert self.run_id is not None
        try:
            client.update_flow_run(self.run_id, empirical_policy=_retrying(retries))
            states: tuple[State[Any], ...] = (Pending(), Running())
            for state in states:
                if client.set_flow_run_state(self.run_id, state).status is not SetStateStatus.ACCEPT:
                    self.is_withdrawn = True
                    return
            self.is_running = True
        finally:
            self.claimed.set()

    def create(self, client: SyncPrefectClient, deployment_id: UUID, name: str) -> None:
        """Makes a run that is running already."""
        run = client.create_flow_run_from_deployment(deployment_id, state=Running(), name=name, tags=[REQUESTED])
        self.run_id = run.id

    def is_to_tell(self, step: str) -> tuple[bool, bool]:
        """Whether a step is a new one, and whether to tell of it now: of one that goes on, each second at most."""
        now_s = time.monotonic()
        is_new, self._step = step != self._step, step
        if not is_new and now_s - self._told_s < PROGRESS_S:
            return False, False
        self._told_s = now_s
        return is_new, not self.is_broken

    def tell_step(self, client: SyncPrefectClient, step: str, is_new: bool, share: float) -> None:
        """Makes a new step a task run, and tells of one that goes on how much is done: of 100."""
        if is_new:
            self._end_task(client, Completed())
            if step in _TASKS:
                key = secrets.token_hex(8)  # a retry has the same steps again
                task_run = client.create_task_run(_TASKS[step], self.run_id, key, name=step, state=Running())
                self._task_run_id = task_run.id
                self._progress_id = self._attach(client, ArtifactCreate(type="progress", data=0.0))
        elif self._progress_id is not None:
            client.update_artifact(self._progress_id, ArtifactUpdate(data=share))

    def tell_result(self, client: SyncPrefectClient, key: str, row: Mapping[str, Any]) -> None:
        """Attaches what the run did, as a table of one row."""
        self._end_task(client, Completed())
        cells = {name: cell if isinstance(cell, int | float | str) else _json(cell) for name, cell in row.items()}
        self._attach(client, ArtifactCreate(key=key, type="table", data=_json([cells])))

    def tell_end(self, client: SyncPrefectClient) -> None:
        """Tells how the run ended. A run that failed before the server had it Running is left due: it comes again."""
        assert self.run_id is not None and self.end is not None
        has_failed = self.end.type is StateType.FAILED
        if has_failed and not self.is_running:
            return
        try:
            if has_failed and not self.is_broken:
                self._end_task(client, Failed())
            answer = client.set_flow_run_state(self.run_id, self.end)
            if answer.state is not None and answer.state.type is StateType.CANCELLING:
                message = f"Cancelled too late: {self.end.name}. {self.end.message}"
                client.set_flow_run_state(self.run_id, Cancelled(message=message))
        except ObjectNotFound:  # somebody deleted it
            pass

    def _attach(self, client: SyncPrefectClient, artifact: ArtifactCreate) -> UUID:
        """The id of an artifact that is made of the run, and of its task run where one is on."""
        artifact.flow_run_id, artifact.task_run_id = self.run_id, self._task_run_id
        return client.create_artifact(artifact).id

    def _end_task(self, client: SyncPrefectClient, end: State[Any]) -> None:
        if self._task_run_id is None:
            return
        if self._progress_id is not None and end.type is StateType.COMPLETED:
            client.update_artifact(self._progress_id, ArtifactUpdate(data=100.0))
        client.set_task_run_state(self._task_run_id, end)
        self._task_run_id = self._progress_id = None


def completed(row: Any) -> State[Any]:
    """The end of a run that did this, with its counts in words."""
    if not isinstance(row, dict):
        return Completed()
    if "users" not in row:
        counts = [f"{name} {count}" for name, count in row.items() if isinstance(count, int) and count]
        return Completed(message=", ".join(counts) or None)
    message = f"{row['users']} ids from {row['events']} events in {row['seconds']:.3f} s, build {row['build']}"
    return Completed(message=message)


def failed(error: Exception) -> State[Any]:
    """The end of a run that raised this. An error that was not foreseen may quote what people sent: its type alone."""
    text = f": {safe_message(error)}" if isinstance(error, FORESEEN) else ""
    return Failed(message=f"{type(error).__name__}{text}".partition("\n")[0])


def left(run: FlowRun) -> State[Any]:
    """What becomes of a run whose worker was killed: it is due again, as often as it may be retried."""
    if REQUESTED in run.tags or run.run_count > (run.empirical_policy.retries or 0):
        return Crashed(message="The worker ended meanwhile.")
    return AwaitingRetry(scheduled_time=datetime.now(UTC), message="The worker ended meanwhile.")


def _retrying(retries: int | None) -> FlowRunPolicy:
    """How often a run is retried: as given, else by Prefect's defaults for flows, else by ours."""
    flows = get_current_settings().flows
    if retries is None:
        retries = flows.default_retries or RETRIES
    delay_s = flows.default_retry_delay_seconds or RETRY_S
    if isinstance(delay_s, list):
        delay_s = delay_s[0]
    return FlowRunPolicy(retries=retries, retry_delay=int(delay_s))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
