"""Prefect orchestrates: its schedules and runs are the worker's, and no fault of it stops or doubles the work."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from pipelines.prefect_flows import PrefectFlows
from pipelines.worker import Worker
from tests.pipelines.world import World, purchase
from tests.prefect_server import RunningPrefect, prefect_on
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("prefect")

#: Longer than any test: what is due is due by Prefect's schedules or by request.
NEVER_S = 3_600.0
#: How long work may wait for Prefect, and what a rebuild itself may take under load.
WAIT_S, WORK_S = 2.0, 8.0


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrefect]:
    """One server for this module. A test leaves it running."""
    with prefect_on(tmp_path_factory.mktemp("prefect")) as prefect:
        yield prefect


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with a person and a trait."""
    world = World(
        redis_url,
        tmp_path,
        shards=2,
        rebuild_interval_s=NEVER_S,
        purge_interval_s=NEVER_S,
        maintain_interval_s=NEVER_S,
    )
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ada", 1, timestamp="2020-01-01T00:00:00Z"), purchase("ada", 2)])
    world.drain().step()
    return world


@contextmanager
def flows_of(world: World, prefect: RunningPrefect) -> Iterator[PrefectFlows]:
    """The flows of a world while they speak with a server."""
    with (
        temporary_settings({PREFECT_API_URL: f"{prefect.url}/api", PREFECT_HOME: world.settings.home / "prefect"}),
        PrefectFlows(world.store, world.lake, world.settings) as flows,
    ):
        flows.serve(True)
        yield flows


@contextmanager
def working(world: World, prefect: RunningPrefect) -> Iterator[Worker]:
    """A worker of this world that the server orchestrates, in a thread."""
    stop = threading.Event()
    with flows_of(world, prefect) as flows:
        worker = Worker(world.store, world.lake, world.settings, *flows.work)
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        try:
            wait_until(lambda: flows.timetable("rebuild"), "the worker knows Prefect's schedules")
            yield worker
        finally:
            stop.set()
            thread.join(30)


def builds(world: World, kind: str = "full") -> list[dict[str, Any]]:
    """The rebuilds of a kind that the lake knows."""
    return [run for run in world.lake.runs().collect().sort("build").to_dicts() if run["kind"] == kind]


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


def state(prefect: RunningPrefect, run_id: str) -> str:
    """The name of a run's state."""
    return str(prefect.run(run_id)["state"]["name"])


def ended(prefect: RunningPrefect, build: int) -> list[str]:
    """The names of the states in which runs ended that tell of this build."""
    states = [run["state"] for run in prefect.runs("rebuild")]
    return [state["name"] for state in states if f"build {build}" in (state["message"] or "")]


def test_a_prefect_that_cannot_write_keeps_no_work_waiting(world: World, prefect: RunningPrefect) -> None:
    """A rebuild of everybody, one of some ids, a purge and maintenance are done at once, and once each, while the
    server answers and its database is locked, and while the server hangs. They are recorded again afterwards."""
    with flows_of(world, prefect) as flows:
        wait_until(lambda: flows.timetable("rebuild"), "the flows know Prefect's schedules")
        works: list[Callable[[], Any]] = [
            lambda: flows.rebuild(None),
            lambda: flows.rebuild(["user:ada"]),
            flows.purge,
            flows.maintain,
        ]
        before = len(builds(world))
        with prefect.locked():
            assert max(seconds(work) for work in works) < WAIT_S + WORK_S
            wait_until(lambda: not flows.server.answers, "the lock shows")
        assert (len(builds(world)), len(builds(world, "ids"))) == (before + 1, 1)

        wait_until(lambda: flows.server.answers, "the lock is gone")
        prefect.signal(signal.SIGSTOP)
        try:
            assert max(seconds(work) for work in works) < WAIT_S + WORK_S
        finally:
            prefect.signal(signal.SIGCONT)
        assert (len(builds(world)), len(builds(world, "ids"))) == (before + 2, 2)

        wait_until(lambda: flows.server.answers, "the server goes on")
        run = flows.rebuild(None)
        ended = wait_until(
            lambda: [
                made for made in prefect.runs("rebuild") if f"build {run.build}" in (made["state"]["message"] or "")
            ],
            "the rebuild is recorded",
        )
        assert [made["state"]["name"] for made in ended] == ["Completed"]


def test_a_run_from_outside_rebuilds_as_of_a_time(world: World, prefect: RunningPrefect) -> None:
    """*Run* rebuilds everybody with the steps as task runs and the counts as an artifact; with a time it writes the
    answers of that time, and with one that is none it fails at once and says what to give."""
    with working(world, prefect) as worker:
        everybody = prefect.order("rebuild")
        wait_until(lambda: state(prefect, everybody) == "Completed", "everybody is rebuilt")
        as_of = prefect.order("rebuild", at="2021-01-01T00:00:00Z")
        wait_until(lambda: state(prefect, as_of) == "Completed", "the rebuild as of a time is done")
        wrong = prefect.order("rebuild", at="last year")
        wait_until(lambda: state(prefect, wrong) == "Failed", "the wrong time is refused")

        build = builds(world)[-1]
        assert world.values("ada") == {"orders": 2}
        (past,) = builds(world, "as_of")
        assert past["as_of"] == 1_609_459_200_000 and past["events"] == 1
        assert "ISO 8601" in prefect.run(wrong)["state"]["message"]
        of_run = {"flow_runs": {"id": {"any_": [everybody]}}}
        tasks = prefect.ask("/task_runs/filter", **of_run, sort="EXPECTED_START_TIME_ASC")
        assert [(task["name"], task["state"]["name"]) for task in tasks] == [
            (step, "Completed") for step in ("reading", "publishing", "sweeping", "writing")
        ]
        artifacts = prefect.ask("/artifacts/filter", **of_run)
        assert [made["data"] for made in artifacts if made["type"] == "progress"] == [100.0] * len(tasks)
        (table,) = [made["data"] for made in artifacts if made["type"] == "table"]
        assert f'"build":{build["build"]},' in table and '"events":2,' in table
        assert "error" not in worker.report
