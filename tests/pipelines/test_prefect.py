"""Prefect orchestrates: its schedules and runs are the worker's, and no fault of it stops or doubles the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_DEFAULT_RETRIES,
    PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS,
    PREFECT_HOME,
    temporary_settings,
)
from structlog.testing import capture_logs

from lake.schemas import AUDIT, TRAITS
from pipelines.prefect_flows import PrefectFlows
from pipelines.timetable import Timetable, is_due
from pipelines.worker import Worker
from tests.pipelines.world import World, purchase
from tests.prefect_server import RunningPrefect, prefect_on
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("prefect")

#: Longer than any test: what is due is due by Prefect's schedules or by request.
NEVER_S = 3_600.0
#: No work has begun that could have served an order.
NEVER_BEGAN = {"rebuild": 0, "purge": 0, "maintain": 0}
#: How long work may wait for Prefect, whose client waits for minutes, and what a rebuild itself may take under load.
WAIT_S, WORK_S = 2.0, 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrefect]:
    """One server for this module. A test may leave it killed."""
    with prefect_on(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture
def prefect(server: RunningPrefect) -> RunningPrefect:
    """The server of this module, running."""
    server.revive()
    return server


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with a person and a trait. No rebuild is due: tests count them."""
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
    world.rebuild()
    assert not world.store.rebuild_requests().is_full
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


@contextmanager
def scheduled(prefect: RunningPrefect, work: str, seconds: float, first_s: float = 0.0) -> Iterator[None]:
    """Has a work scheduled with an interval, and first after some seconds, until the end of the block."""
    prefect.every(work, seconds, first_s)
    try:
        yield
    finally:
        prefect.revive()  # the block may have failed while it was killed, and that failure is the one to see
        prefect.every(work, NEVER_S, NEVER_S)
        prefect.schedule(work, active=True)


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


@pytest.mark.deep
def test_a_prefect_that_cannot_write_keeps_no_work_waiting(world: World, prefect: RunningPrefect) -> None:
    """An order, a rebuild of everybody, one of some ids, a purge and maintenance are done at once, and once each, while
    the server answers and its database is locked, and while the server hangs. They are recorded again afterwards."""
    with flows_of(world, prefect) as flows:
        wait_until(lambda: flows.timetable("rebuild"), "the flows know Prefect's schedules")
        works: list[Callable[[], Any]] = [
            lambda: flows.rebuild(None),
            lambda: flows.rebuild(["user:ada"]),
            flows.purge,
            flows.maintain,
        ]
        before = len(builds(world))
        asked = prefect.order("rebuild")
        (order,) = wait_until(lambda: flows.due(NEVER_BEGAN), "the order arrives")
        with prefect.locked():
            assert seconds(lambda: flows.claim(order) and flows.run(order)) < WAIT_S + WORK_S
        assert len(builds(world)) == before + 1
        wait_until(lambda: state(prefect, asked) == "Completed", "the order's end is told when the lock is gone")
        assert flows.due(NEVER_BEGAN) == []

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


@pytest.mark.deep
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


@pytest.mark.deep
def test_schedules_are_kept_in_prefect(world: World, prefect: RunningPrefect) -> None:
    """A schedule that is changed there fires at its new times. One that is paused does not, while others do."""
    with working(world, prefect) as worker:
        before = len(builds(world))
        with scheduled(prefect, "rebuild", 1):
            wait_until(lambda: len(builds(world)) >= before + 2, "the schedule fires again and again")
            wait_until(lambda: prefect.runs("rebuild")[-1]["state"]["name"] == "Completed", "its runs are recorded")
            prefect.schedule("rebuild", active=False)
            wait_until(lambda: not active(worker, "rebuild"), "the worker sees the pause")
            with scheduled(prefect, "maintain", 1):
                maintained = len(prefect.runs("maintain"))
                paused = len(builds(world))
                wait_until(lambda: len(prefect.runs("maintain")) >= maintained + 3, "another schedule fires")
            assert len(builds(world)) - paused <= 1, "a rebuild may have been under way"


@pytest.mark.deep
def test_what_was_paused_stays_paused_for_a_worker_that_starts_without_prefect(
    world: World, prefect: RunningPrefect
) -> None:
    """Rebuilds are paused, and seen so. Prefect stops to answer, and a worker that starts then maintains again and
    again by its own clock, and never rebuilds. When Prefect is back without the pause, none is kept."""
    usual, each_second = world.settings, {"rebuild_interval_s": 1.0, "maintain_interval_s": 1.0}
    with working(world, prefect):
        prefect.schedule("rebuild", active=False)
        try:
            wait_until(lambda: world.store.paused() == {"rebuild"}, "the pause is kept")
        finally:
            prefect.signal(signal.SIGSTOP)
    try:
        before = len(builds(world))
        world.settings = usual.model_copy(update=each_second)
        with working(world, prefect) as worker:
            maintained = worker.began_ms["maintain"]
            for _ in range(3):
                wait_until(lambda: worker.began_ms["maintain"] > maintained, "the worker maintains")  # noqa: B023
                maintained = worker.began_ms["maintain"]
            assert not worker.orders.report()["answers"]
        assert len(builds(world)) == before
    finally:
        prefect.signal(signal.SIGCONT)
        prefect.schedule("rebuild", active=True)
    world.settings = usual
    with working(world, prefect):
        wait_until(lambda: world.store.paused() == set(), "no pause is kept")


@pytest.mark.deep
def test_a_rebuild_is_neither_missed_nor_done_twice_when_prefect_comes_back(
    world: World, prefect: RunningPrefect
) -> None:
    """The server is killed before a scheduled time. The worker's clock rebuilds at that time, and says that it rules;
    when the server is back with a run that is late, that is covered."""
    with working(world, prefect) as worker:
        before = len(builds(world))
        with scheduled(prefect, "rebuild", NEVER_S, first_s=20):
            planned = wait_until(lambda: coming(worker, "rebuild"), "the worker knows the time")
            prefect.kill()
            wait_until(lambda: worker.orders.report()["clock"] == "worker", "the worker's clock takes over")
            wait_until(lambda: len(builds(world)) == before + 1, "the rebuild is done without Prefect")
            assert builds(world)[-1]["as_of"] >= planned
            prefect.start()
            wait_until(lambda: worker.orders.report()["clock"] == "prefect", "Prefect's clock rules again")
            purge = prefect.order("purge")
            wait_until(lambda: state(prefect, purge) == "Completed", "orders are served")
            wait_until(lambda: not late(prefect, "rebuild"), "the late run is covered")
            assert len(builds(world)) == before + 1


def test_a_run_that_fails_is_retried_as_prefect_says(world: World, prefect: RunningPrefect) -> None:
    """Maintenance fails while a table lacks a file: the run waits for its retry, the worker's report has the error, and
    both are well when the file is back."""
    for number in range(4):
        world.lake.append_audit({"at": number})
    files = list(Path(world.lake.root, AUDIT.name).glob("*.parquet"))
    with (
        temporary_settings({PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS: 1, PREFECT_FLOWS_DEFAULT_RETRIES: 100}),
        working(world, prefect) as worker,
    ):
        for file in files:
            file.rename(file.with_suffix(".away"))
        run_id = prefect.order("maintain")
        wait_until(lambda: state(prefect, run_id) == "AwaitingRetry", "the run failed")
        wait_until(lambda: "maintain: " in worker.report.get("error", ""), "the worker says so")
        for file in files:
            file.with_suffix(".away").rename(file)
        wait_until(lambda: state(prefect, run_id) == "Completed", "the retry succeeds")
        wait_until(lambda: "error" not in worker.report, "the worker is well")
        assert prefect.run(run_id)["run_count"] >= 2


@pytest.mark.deep
def test_a_run_that_is_deleted_meanwhile_is_no_reason_to_take_prefect_for_away(
    world: World, prefect: RunningPrefect
) -> None:
    """Somebody deletes a run in Prefect while it is being done. It is done, nothing of it stays to be told, and the
    server, which refuses its steps, counts as there."""
    with flows_of(world, prefect) as flows, capture_logs() as logs:
        wait_until(lambda: flows.timetable("rebuild"), "the flows know Prefect's schedules")
        before = len(builds(world))
        asked = prefect.order("rebuild")
        (order,) = wait_until(lambda: flows.due(NEVER_BEGAN), "the order arrives")
        assert flows.claim(order)
        wait_until(lambda: state(prefect, asked) == "Running", "the server has it running")
        prefect.ask(f"/flow_runs/{asked}", method="DELETE")
        flows.run(order)
        told = threading.Event()
        flows.server.say(lambda client: told.set())
        wait_until(told.is_set, "all that was said before is told")
    assert len(builds(world)) == before + 1
    events = [line["event"] for line in logs]
    assert "prefect_refused" in events and "prefect_away" not in events


@pytest.mark.deep
def test_what_a_killed_worker_left_is_done_again(world: World, prefect: RunningPrefect) -> None:
    """A run from outside that its worker did not end is due again for the next worker, and one that a worker began by
    itself is Crashed. Runs of another stack on the same server are left alone."""
    for name in (None, "other"):
        world.settings = world.settings.model_copy(update={"prefect_name": name})
        with flows_of(world, prefect) as flows:
            wait_until(lambda: flows.timetable("purge"), "the deployments are there")
    world.settings = world.settings.model_copy(update={"prefect_name": None})
    left = prefect.order("purge")
    own, others = (
        prefect.ask(f"/deployments/{prefect.deployment(*path)['id']}/create_flow_run", **begun)["id"]
        for path in (["purge"], ["purge", "purge-other"])
        for begun in [{"state": {"type": "RUNNING"}, "tags": ["requested"]}]
    )
    prefect.ask(f"/flow_runs/{left}", method="PATCH", empirical_policy={"retries": 3})
    for kind in ("PENDING", "RUNNING"):
        prefect.ask(f"/flow_runs/{left}/set_state", state={"type": kind})

    with working(world, prefect):
        wait_until(lambda: state(prefect, left) == "Completed", "the next worker does it")
        assert (state(prefect, own), state(prefect, others)) == ("Crashed", "Running")


@pytest.mark.deep
def test_a_worker_that_is_killed_in_a_run_leaves_it_to_the_next(world: World, prefect: RunningPrefect) -> None:
    """A real worker is killed in the middle of a run from outside: bases are published, answers not written. The next
    worker does the run once more, to its end, and nothing twice. A run that the killed one began by itself is Crashed,
    and what it was about is done by the next one."""
    with flows_of(world, prefect) as flows:
        wait_until(lambda: flows.timetable("rebuild"), "the deployments are there")
    before = len(builds(world))
    world.ingest([purchase("ada", 3)])
    world.drain().step()
    ordered = prefect.order("rebuild")
    with standing_worker(world, prefect) as victim:
        await_line(victim, "standing")
        assert state(prefect, ordered) == "Running"
        victim.kill()
        victim.wait()
    assert (len(builds(world)), state(prefect, ordered)) == (before, "Running")

    with working(world, prefect):
        wait_until(lambda: state(prefect, ordered) == "Completed", "the next worker does it", timeout_s=60)
    assert len(builds(world)) == before + 1
    assert prefect.run(ordered)["run_count"] == 2
    assert world.values("ada")["orders"] == 3
    written = world.lake.latest(TRAITS).filter(pl.col("key") == "orders").select("id", "number").collect()
    assert written.rows() == [("user:ada", 3)]

    with standing_worker(world, prefect) as victim:
        await_line(victim, "prefect_answers")
        world.store.want_rebuild()
        await_line(victim, "standing")
        (own,) = wait_until(lambda: [run for run in prefect.runs("rebuild") if run["state"]["name"] == "Running"], "it")
        victim.kill()
        victim.wait()
    with working(world, prefect):
        wait_until(lambda: state(prefect, own["id"]) == "Crashed", "the run is told to have crashed", timeout_s=60)
        wait_until(lambda: len(builds(world)) == before + 2, "the next worker does what was asked for", timeout_s=60)
        wait_until(lambda: not world.store.rebuild_requests().is_full, "nobody asks for more")
    assert len(builds(world)) == before + 2


@contextmanager
def standing_worker(world: World, prefect: RunningPrefect) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own that stands still in the middle of a rebuild, until the end of the block."""
    environment = os.environ | {"PREFECT_API_URL": f"{prefect.url}/api", "PREFECT_HOME": str(prefect.home / "victim")}
    command = [sys.executable, "-m", "tests.pipelines.standing_worker", world.settings.redis_url or ""]
    with subprocess.Popen(
        [*command, str(world.settings.home)], env=environment, stdout=subprocess.PIPE, text=True
    ) as victim:
        try:
            yield victim
        finally:
            victim.kill()


def await_line(victim: subprocess.Popen[str], text: str) -> None:
    """Returns when the process has printed a line with a text."""
    assert victim.stdout is not None
    assert any(text in line for line in victim.stdout), f"it ended without {text}"


def test_when_work_is_due_by_a_schedule_that_was_seen() -> None:
    """The interval rules without a schedule and after its last time. A schedule's times rule until then: each is served
    by work that began after it, and by nobody else than who sends orders. What is paused is never due."""
    seen = Timetable(is_active=True, times_ms=(100, 200), sends_orders=False)

    def due(timetable: Timetable | None, now_ms: int, began_ms: int = 0, by_interval: bool = True) -> bool:
        return is_due(timetable, now_ms, began_ms, by_interval)

    assert [due(None, 0, by_interval=answer) for answer in (True, False)] == [True, False]
    assert [due(seen, now_ms) for now_ms in (99, 100, 150)] == [False, True, True]
    assert [due(seen, now_ms, began_ms=100) for now_ms in (100, 199, 200)] == [False, False, True]
    assert [due(seen, 250, began_ms=200, by_interval=answer) for answer in (True, False)] == [True, False]
    assert not due(seen._replace(sends_orders=True), 150)
    assert not due(seen._replace(is_active=False), 150)


def active(worker: Worker, work: str) -> bool:
    """Whether the worker takes the schedule of a work for active."""
    timetable = worker.orders.timetable(work)
    return timetable is not None and timetable.is_active


def coming(worker: Worker, work: str) -> int | None:
    """The first time of a work that the worker knows, if it comes within a minute."""
    timetable = worker.orders.timetable(work)
    now_ms = time.time_ns() // 1_000_000
    return next((at for at in (timetable.times_ms if timetable else ()) if now_ms < at < now_ms + 60_000), None)


def late(prefect: RunningPrefect, work: str) -> list[str]:
    """The runs of a work whose time has come, and that have not begun."""
    runs = prefect.ask(
        "/flow_runs/filter",
        deployments={"id": {"any_": [prefect.deployment(work)["id"]]}},
        flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}},
    )
    return [run["id"] for run in runs if datetime.fromisoformat(run["expected_start_time"]) <= datetime.now(UTC)]
