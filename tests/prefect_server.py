"""A real Prefect server on a home of its own, as tests ask and break it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from cli.ports import free_port
from cli.stack_parts import prefect_environment
from tests.waiting import wait_until


class RunningPrefect:
    """A server as `tinycdp up` starts it. What it knows stays when it is killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=f"{self.url}/api", timeout=30)
        self.process: subprocess.Popen[bytes] | None = None
        (home / "prefect").mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Returns when the server answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with open(self.home / "prefect.log", "ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **prefect_environment(self.home, self.url)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_well, "Prefect's server answers", timeout_s=120)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server and what it started."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Kills the server, and returns when it is gone; it may be gone already."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.wait(20)

    def revive(self) -> None:
        """Starts the server again if it was killed."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the server from writing to its database until the end of the block; it reads on."""
        database = sqlite3.connect(self.home / "prefect" / "prefect.db", timeout=30, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            yield
        finally:
            database.execute("ROLLBACK")
            database.close()

    def ask(self, path: str, *, method: str = "POST", **body: Any) -> Any:
        """What the API answers. It is asked again while its database is busy, as Prefect's own client does."""

        def answered() -> httpx.Response | None:
            answer = self.http.request(method, path, json=body or None)
            return None if answer.status_code == 503 else answer

        answer = wait_until(answered, f"Prefect's database has time for {path}").raise_for_status()
        return answer.json() if answer.content else None

    def deployment(self, work: str, name: str | None = None) -> dict[str, Any]:
        """A deployment as it stands."""
        found: dict[str, Any] = self.ask(f"/deployments/name/{work}/{name or work}", method="GET")
        return found

    def order(self, work: str, **parameters: Any) -> str:
        """The id of a run that is asked for from outside, as *Run* in the UI does."""
        made = self.ask(f"/deployments/{self.deployment(work)['id']}/create_flow_run", parameters=parameters)
        return str(made["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """A run as it stands."""
        found: dict[str, Any] = self.ask(f"/flow_runs/{run_id}", method="GET")
        return found

    def runs(self, work: str) -> list[dict[str, Any]]:
        """All runs of a work that have begun, in order."""
        id = self.deployment(work)["id"]
        found = self.ask("/flow_runs/filter", deployments={"id": {"any_": [id]}}, sort="START_TIME_ASC")
        return [run for run in found if run["start_time"] is not None]

    def schedule(self, work: str, **changes: Any) -> None:
        """Changes the schedule of a work, as somebody does in the UI."""
        deployment = self.deployment(work)
        (schedule,) = deployment["schedules"]
        self.ask(f"/deployments/{deployment['id']}/schedules/{schedule['id']}", method="PATCH", **changes)

    def every(self, work: str, seconds: float, first_s: float) -> None:
        """Schedules a work anew, with an interval, and first after some seconds."""
        first = datetime.now(UTC) + timedelta(seconds=first_s)
        interval = {"interval": seconds, "anchor_date": first.isoformat(), "timezone": "UTC"}
        self.schedule(work, schedule=interval)

    def _is_well(self) -> bool:
        try:
            return self.http.get("/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def prefect_on(home: Path) -> Iterator[RunningPrefect]:
    """A server until the end of the block."""
    prefect = RunningPrefect(home)
    try:
        prefect.start()
        yield prefect
    finally:
        prefect.kill()
        prefect.http.close()
