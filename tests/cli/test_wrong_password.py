"""A Redis that does not let us in: each part and each command says so at once, with the setting to correct."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from cli.ports import free_port
from serving.settings import Settings
from tests.cli.test_wrong_settings import ended_of
from tests.serving.local_api import answers, get
from tests.waiting import wait_until

PASSWORD, WRONG = "hunter2-right", "hunter2-wrong"

#: A part says within so many seconds that its password is refused: from its start, or from the moment that it changed.
SAID_S = 5.0
#: What a busy machine may add: for a Redis that is away a part waits for a minute.
BUSY_S = 20.0
REFUSED = "Redis does not let us in"

#: The parts that start alone, what starts them all, and commands that ask Redis.
COMMANDS = (("api",), ("drain",), ("worker",), ("up", "--no-prefect"), ("doctor",), ("users", "vip"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis that asks for a password."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", PASSWORD)
        yield server


@pytest.mark.deep(kept=4)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("login", "database"), [(f":{WRONG}@", 0), ("", 0), (f":{PASSWORD}@", 99)], ids=["wrong", "none", "no database"]
)
def test_a_wrong_password_is_said_in_one_line(
    server: EmbeddedRedis, tmp_path: Path, command: tuple[str, ...], login: str, database: int
) -> None:
    """The exit code is 3, the line names the setting and shows no password, and no part waits the minute that it waits
    for a Redis that is away."""
    url = f"redis://{login}127.0.0.1:{server.port}/{database}"

    ended = ended_of({"TINYCDP_HOME": str(tmp_path / "home"), "TINYCDP_REDIS_URL": url, "TINYCDP_PORT": "0"}, *command)

    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (3, 1), ended.stderr
    assert "Redis does not let us in" in lines[0] and "TINYCDP_REDIS_URL" in lines[0]
    assert "hunter2" not in ended.stderr + ended.stdout, "also where a part logs what it was given"


@contextmanager
def running(part: str, settings: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A part with these settings alone, whose output goes to a file, until the end of the block."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}
    with log.open("w") as output:
        command = [sys.executable, "-m", "cli.main", part]
        process = subprocess.Popen(command, env=others | settings, stdout=output, stderr=output, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def moment(line: str) -> datetime:
    """When a line of a log was written."""
    return datetime.fromisoformat(json.loads(line)["timestamp"])


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("part", ["api", "drain", "worker"])
def test_a_part_that_starts_says_it_soon(server: EmbeddedRedis, tmp_path: Path, part: str) -> None:
    """Between the line that says what it is and its end, which comes with that of the refusal, are less than 5 s,
    beside what a busy machine adds."""
    url = f"redis://:{WRONG}@127.0.0.1:{server.port}/0"
    log = tmp_path / "log"
    with running(part, {"TINYCDP_HOME": str(tmp_path), "TINYCDP_REDIS_URL": url}, log) as process:
        wait_until(lambda: '"started"' in log.read_text(), "it says what it is")

        assert process.wait(SAID_S + BUSY_S) == 3

    assert REFUSED in log.read_text().splitlines()[-1]


@pytest.mark.deep
@pytest.mark.timeout(180)
def test_parts_that_run_say_it_soon(tmp_path: Path) -> None:
    """A password that changes while they run is said in the log of each, by the API as the reason of a 503:
    within 5 s of the moment that the server lets nobody in, beside what a busy machine adds."""
    with EmbeddedRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client, ExitStack() as parts:
        client.config_set("requirepass", PASSWORD)
        settings = {
            "TINYCDP_HOME": str(tmp_path),
            "TINYCDP_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0",
            "TINYCDP_PORT": str(free_port()),
        }
        logs = {part: tmp_path / f"{part}.log" for part in ("api", "drain", "worker")}
        for part, log in logs.items():
            parts.enter_context(running(part, settings, log))
        http = parts.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{settings['TINYCDP_PORT']}"))
        wait_until(lambda: health(http) == "ok", "all parts are well")

        client.config_set("requirepass", WRONG)
        changed = datetime.now(UTC)
        client.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: "refuses the password" in health(http), "health says it")
        said = {part: wait_until(lambda log=log: first_refusal(log), f"{part} says it") for part, log in logs.items()}

    late = {part: (moment(line) - changed).total_seconds() for part, line in said.items()}
    assert all(seconds < SAID_S + BUSY_S for seconds in late.values()), late


def health(http: httpx.Client) -> str:
    """What `/health` says: "ok", or why it is not."""
    try:
        said = http.get("/health", timeout=5).json()
    except httpx.TransportError:
        return "it does not answer"
    return str(said["status"]) if said["status"] == "ok" else str(said["checks"])


def first_refusal(log: Path) -> str | None:
    """The first line of a log that says that the password is refused."""
    return next((line for line in log.read_text().splitlines() if REFUSED in line or "refuses the pass" in line), None)


def test_health_tells_a_refused_password_from_a_redis_that_is_away(server: EmbeddedRedis, tmp_path: Path) -> None:
    """A password may change while the API runs."""
    url = f"redis://:{WRONG}@127.0.0.1:{server.port}/0"

    whole, part = answers(Settings(home=tmp_path, redis_url=url), [get("/health"), get("/decide/health")])

    assert whole.json()["checks"]["redis"]["error"] == "Redis refuses the password of TINYCDP_REDIS_URL"
    assert (part.status_code, part.json()["checks"]["database"]["status"]) == (503, "error")
