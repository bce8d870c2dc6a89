"""`up`, `down` and an import that nobody rebuilds: real processes, each on a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from cli import stack_parts, supervisor, up
from cli.embedded_redis import EmbeddedRedis
from cli.home_rights import close_home, open_to_others
from cli.redis_server import ServerBinary
from cli.stack import Stack, without_password, write_stack
from cli.up import StackError
from serving.settings import Settings
from tests.pipelines.world import World
from tests.running import stack_on
from tests.sdk.scripted_server import Asked, scripted_server
from tests.waiting import wait_until

PORTS = {"TINYCDP_PORT": "0", "TINYCDP_REDIS_PORT": "0", "TINYCDP_CONSOLE_PORT": "0"}


def environment_with(settings: dict[str, str]) -> dict[str, str]:
    """This environment with these settings alone: `up` warns of what the tests are told there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")} | settings


@contextmanager
def started(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that keeps running, stopped at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment_with(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def done(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, after it has ended."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment_with(environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


def without_a_password(url: str) -> str:
    """What the Redis of an address says to a client that names no password."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    with redis.Redis(port=port) as client, pytest.raises(redis.exceptions.AuthenticationError) as refusal:
        client.get("anything")
    return str(refusal.value)


def command_lines() -> list[str]:
    """The words of each process of this machine; of one that has just ended there are none."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return lines


@dataclass(frozen=True)
class Life:
    """What was said of a stack of three shards: by `up`, by other commands while it ran, and by `down` twice.

    `ended` is the exit code of `up`, and what it wrote on standard error.
    """

    home: Path
    addresses: dict[str, Any]
    health: int
    console: int
    mode: int
    refused: str
    readable: list[Path]
    told: str
    well: subprocess.CompletedProcess[str]
    wrong: subprocess.CompletedProcess[str]
    stopped: list[dict[str, Any]]
    ended: tuple[int, str]

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to be told of the stack."""
        return {**PORTS, "TINYCDP_HOME": str(self.home)}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The life of a stack, over when a test looks at it. Its tests are of the group "up"."""
    home = tmp_path_factory.mktemp("up") / "a home: ü #1? 5%;"  # paths that libraries take for addresses
    environment = {**PORTS, "TINYCDP_HOME": str(home)}
    with started(environment | {"TINYCDP_SHARDS": "3"}, "up", "--no-prefect", "--json") as up:
        assert up.stdout is not None and up.stderr is not None
        addresses = json.loads(up.stdout.readline())
        return Life(
            home,
            addresses,
            health=httpx.get(f"{addresses['api_url']}/health", timeout=30).status_code,
            console=httpx.get(f"{addresses['console_url']}/sign-in", timeout=30).status_code,
            mode=(home / "stack.json").stat().st_mode,
            refused=without_a_password(addresses["redis_url"]),
            readable=[path for path in (home, *home.rglob("*")) if path.lstat().st_mode & 0o077],
            told="".join([path.read_text(errors="replace") for path in (home / "logs").iterdir()] + command_lines()),
            well=done(environment, "doctor", "--json"),
            wrong=done(environment | {"TINYCDP_SHARDS": "4"}, "doctor"),
            stopped=[json.loads(done(environment, "down", "--json").stdout) for _ in range(2)],
            ended=(up.wait(60), up.stderr.read()),
        )


@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_a_script_learns_where_the_stack_answers(life: Life) -> None:
    """`up --json` prints one line, once all is ready."""
    assert (life.health, life.console) == (200, 200)
    assert (life.addresses["prefect_url"], life.addresses["lake_uri"]) == (None, str(life.home / "lake"))
    assert life.addresses["redis_url"].startswith("redis://:…@127.0.0.1:")
    assert set(json.loads(Path(life.addresses["keys_file"]).read_text())) == {"write", "read", "admin"}


@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_other_users_of_the_machine_read_nothing(life: Life) -> None:
    """Redis refuses who has no password, the password is in no log and no command line, each file is its owner's."""
    password = (life.home / "redis.password").read_text()

    assert "authenticat" in life.refused.lower()
    assert len(password) > 40 and password not in life.told
    assert life.readable == []
    report = json.loads(life.well.stdout)
    assert report["redis"]["asks_for_password"] and report["open_to_others"] == [] and report["well"]


def test_a_home_that_was_open_is_closed_but_for_what_others_keep_there(tmp_path: Path) -> None:
    """What TinyCDP keeps in a home of today loses the rights of others; the folder and its neighbours keep theirs."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("lake", "redis", "site"):
        (home / name).mkdir()
        (home / name).chmod(0o755)
    home.chmod(0o755)
    assert open_to_others(home) == [home / "lake", home / "redis"]

    close_home(home)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (home, *home.iterdir())}
    assert modes == {"home": 0o755, "site": 0o755} | dict.fromkeys(("lake", "redis", "logs", "run"), 0o700)


@pytest.mark.parametrize(("lake", "is_private"), [(None, True), ("home/lake2", True), ("lake", False)])
def test_a_lake_outside_the_home_keeps_its_rights(tmp_path: Path, lake: str | None, is_private: bool) -> None:
    """Parts that write a lake elsewhere have the umask of the user; the others make files for their owner alone."""
    home = tmp_path / "home"
    close_home(home)
    settings = Settings(home=home, port=0, redis_port=0, lake_uri=lake and str(tmp_path / lake))

    parts = {part.name: part.is_private for part in stack_parts.plan_stack(settings, home, with_prefect=False).parts}

    assert parts == dict.fromkeys(("drain", "api", "worker"), is_private) | {"redis": True}


@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_down_says_whether_it_stopped_anything(life: Life) -> None:
    """`down --json` stops the stack, and nothing when it is asked again."""
    assert life.stopped == [{"stopped": True, "orphans": []}, {"stopped": False, "orphans": []}]


@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_down_ends_up_well(life: Life) -> None:
    """Whoever waits for `up` learns that the stack was stopped, and not that something broke."""
    assert life.ended == (0, "stopped\n")


@pytest.mark.deep
@pytest.mark.timeout(240)
def test_an_import_that_nobody_rebuilds_says_so_soon(tmp_path: Path, redis_url: str) -> None:
    """The import ends with exit code 3, what went in, and the remedy; a worker that starts later does the rebuild."""
    world = World(redis_url, tmp_path)
    world.recover()
    world.define("trait", {"orders": "events.order.count"})
    file = tmp_path / "history.csv"
    file.write_text("who,what,when\nada,order,1998-06-01T00:00:00Z\nbob,order,never\n")
    environment = {
        "TINYCDP_HOME": str(tmp_path),
        "TINYCDP_REDIS_URL": redis_url,
        "TINYCDP_LAKE_URI": world.settings.lake_root,
        "TINYCDP_SHARDS": str(world.settings.shards),
    }

    ended = done(environment, "import", str(file), "--user", "who", "--event", "what", "--time", "when", "--json")

    assert ended.returncode == 3, ended.stderr
    said = json.loads(ended.stdout)
    assert [said[name] for name in ("accepted", "rejected", "already", "rebuilt")] == [1, 1, 0, False]
    for words in ("no worker", "not lost", "tinycdp up", "tinycdp worker", "tinycdp rebuild"):
        assert words in " ".join(ended.stderr.split())
    assert world.lake.events().collect().height == 1
    with started(environment, "worker"):
        wait_until(lambda: not world.store.rebuild_requests().is_full, "the worker rebuilds", 60)


@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_commands_learn_the_number_of_shards_from_the_stack(life: Life) -> None:
    """A command that is told nothing is right, and one that is told another number ends with the remedy."""
    assert life.mode & 0o077 == 0
    assert life.well.returncode == 0, life.well.stdout + life.well.stderr
    assert (life.wrong.returncode, "set TINYCDP_SHARDS=3" in " ".join(life.wrong.stderr.split())) == (3, True)


@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_a_stack_of_another_number_of_shards_is_refused_at_once(life: Life) -> None:
    """`up` with another number of shards than the lake was written with ends before anything starts."""
    refused = done(life.environment, "up", "--no-prefect")

    assert refused.returncode == 3
    assert "set TINYCDP_SHARDS=3" in " ".join(refused.stderr.split())
    assert not (life.home / "stack.json").exists()


def test_a_redis_that_would_lose_events_is_refused_at_once(tmp_path: Path) -> None:
    """`up` refuses a Redis of one's own that does not sync, names the setting to change, and starts nothing."""
    with EmbeddedRedis(tmp_path / "redis", settings={"appendfsync": "no"}) as server:
        environment = {**PORTS, "TINYCDP_HOME": str(tmp_path), "TINYCDP_REDIS_URL": server.url}
        refused = done(environment, "up", "--no-prefect")

    assert refused.returncode == 3
    assert "set `appendfsync always`" in " ".join(refused.stderr.split())
    assert not (tmp_path / "stack.json").exists()


def test_a_number_that_is_another_process_is_no_stack(tmp_path: Path) -> None:
    """A pid of `stack.json` may be another process' after a restart of the machine: `down` leaves that one alone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stack = Stack(other.pid, "http://127.0.0.1:1", "redis://127.0.0.1:1/0", str(tmp_path / "lake"), 16, None)
        (tmp_path / "stack.json").write_text(json.dumps(asdict(stack)))
        environment = {**PORTS, "TINYCDP_HOME": str(tmp_path)}

        assert json.loads(done(environment, "down", "--json").stdout) == {"stopped": False, "orphans": []}
        assert other.poll() is None
        other.kill()


def test_an_old_stack_leaves_the_file_of_a_newer_one(tmp_path: Path) -> None:
    """An `up` whose stack was stopped by `down` does not hide the stack that another `up` has started since."""
    gone = Stack(2**22 + 1, "http://127.0.0.1:1", "redis://127.0.0.1:1/0", str(tmp_path / "lake"), 16, None)
    newer = replace(gone, pid=gone.pid + 1)
    write_stack(tmp_path, newer)

    up.stop(Settings(home=tmp_path), gone)

    assert json.loads((tmp_path / "stack.json").read_text()) == asdict(newer)


def test_a_folder_of_a_newer_redis_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`up` refuses a folder of a newer server: an older one would start empty on it."""
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    monkeypatch.setattr(stack_parts, "find_server", lambda: ServerBinary(Path("redis-server"), "redis", (6, 2, 14)))

    with pytest.raises(StackError, match="put the newer server on the PATH"):
        up.start(Settings(home=tmp_path, port=0), with_prefect=False)
    assert not (tmp_path / "stack.json").exists()


@pytest.mark.deep
@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_a_damaged_file_of_redis_is_said_at_once(life: Life, tmp_path: Path) -> None:
    """`up` names the file's folder and the remedy in one line, instead of waiting until two minutes are over."""
    home = tmp_path / "home"
    shutil.copytree(life.home, home)
    (file,) = (home / "redis").glob("*.aof")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + b"not a command at all\r\n" + data[len(data) // 2 :])

    ended = done({**PORTS, "TINYCDP_HOME": str(home), "TINYCDP_SHARDS": "3"}, "up", "--no-prefect", "--no-console")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1), ended.stderr
    assert str(home / "redis") in ended.stderr and "redis-check-aof --fix" in ended.stderr
    assert not (home / "stack.json").exists()


@pytest.mark.deep
@pytest.mark.xdist_group("up")
@pytest.mark.timeout(240)
def test_a_damaged_log_of_the_events_is_said_instead_of_waited_for(life: Life, tmp_path: Path) -> None:
    """`up` on a home whose Redis has to be brought back names the file and the remedy in one line."""
    home = tmp_path / "home"
    shutil.copytree(life.home, home)
    shutil.rmtree(home / "redis")
    newest = max((home / "lake" / "events" / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:40])

    ended = done({**PORTS, "TINYCDP_HOME": str(home), "TINYCDP_SHARDS": "3"}, "up", "--no-prefect", "--no-console")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1), ended.stderr
    assert f"damaged in events/_delta_log/{newest.name}. Bring that from a backup" in ended.stderr
    assert not (home / "stack.json").exists()


@pytest.mark.deep
@pytest.mark.timeout(240)
def test_a_stack_may_be_on_an_ipv6_address(tmp_path: Path) -> None:
    """`TINYCDP_HOST=::1`: API and console answer there, and the addresses have brackets."""
    with stack_on(tmp_path, with_console=True, host="::1") as stack:
        assert stack.stack.api_url.startswith("http://[::1]:")
        assert stack.stack.console_url is not None
        assert httpx.get(f"{stack.stack.console_url}/sign-in", timeout=30).status_code == 200
        assert stack.call("GET", "/v1/admin/workspace").status_code == 200
        assert stack.json("doctor")["well"]


@pytest.mark.parametrize(
    ("host", "words"),
    [("::2", "is no address of this machine"), ("192.0.2.1", "is no address of this machine")],
)
def test_an_address_of_another_machine_is_refused_in_one_line(tmp_path: Path, host: str, words: str) -> None:
    """Of either family, before anything starts."""
    ended = done({**PORTS, "TINYCDP_HOME": str(tmp_path), "TINYCDP_HOST": host}, "up", "--no-prefect")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1), ended.stderr
    assert words in ended.stderr and "TINYCDP_HOST" in ended.stderr


@pytest.mark.parametrize("setting", PORTS)
def test_a_port_that_is_taken_is_refused_in_one_line(tmp_path: Path, setting: str) -> None:
    """With the setting that gives another one, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = done({**PORTS, "TINYCDP_HOME": str(tmp_path), setting: port}, "up", "--no-prefect")

    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1), ended.stderr
    assert f"port {port} cannot be had" in ended.stderr and f"set {setting}" in ended.stderr
    assert not (tmp_path / "stack.json").exists()


def test_a_supervisor_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log does not exist yet, so what it wrote is the message."""
    monkeypatch.setattr(supervisor, "configuration", lambda parts: "[supervisord]\nloglevel=loud\n")

    with pytest.raises(StackError, match=r"^the supervisor ended: .*loud"):
        up.start(Settings(home=tmp_path, port=0, console_port=0), with_prefect=False)
    assert not (tmp_path / "stack.json").exists()


def waited(
    home: Path, monkeypatch: pytest.MonkeyPatch, drain: dict[str, Any], answers_not_well: int
) -> tuple[list[str], StackError | None]:
    """What `up` says while it waits for an API that so often answers that shards are being recovered, and its error."""
    monkeypatch.setattr(up, "READY_S_MAX", 0.5)
    monkeypatch.setattr(up, "TOLD_AFTER_S", 0.2)
    asked: list[Asked] = []

    def answer(request: Asked) -> tuple[int, dict[str, str], bytes]:
        asked.append(request)
        shards = {"status": "error", "recovering": [1, 2]}
        checks = {"shards": shards, "drain": drain} if len(asked) <= answers_not_well else {}
        body = {"status": "error" if checks else "ok", "service": "tinycdp", "timestamp": "", "checks": checks}
        return 503 if checks else 200, {}, json.dumps(body).encode()

    said: list[str] = []
    with scripted_server(answer) as server:
        stack = Stack(os.getpid(), server.url, "redis://x", str(home), 16, None)
        try:
            up._await_ready(stack, Settings(home=home, redis_url="redis://x"), home, 0, said.append)
        except StackError as error:
            return said, error
    return said, None


def test_up_waits_while_redis_is_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large lake takes longer than a stack may take otherwise: `up` says so in one line, and goes on to wait."""
    said, error = waited(tmp_path, monkeypatch, {"status": "ok", "recovering": True}, answers_not_well=15)

    assert error is None
    assert len(said) == 1 and "2 of 16 shards are left" in said[0], said


@pytest.mark.parametrize("drain", [{"status": "error", "error": "drain is silent"}, {"status": "ok"}], ids=str)
def test_up_gives_up_where_nobody_brings_redis_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drain: dict[str, Any]
) -> None:
    """The drain is silent, or does other things: no waiting mends that."""
    said, error = waited(tmp_path, monkeypatch, drain, answers_not_well=1_000)

    assert said == [] and str(error).startswith("not ready after"), (said, error)


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:s3cret@cache:6379/0", "redis://:…@cache:6379/0"),
        ("rediss://me:s3cret@cache:6379/0?x=1", "rediss://me:…@cache:6379/0?x=1"),
    ],
)
def test_no_password_is_shown(url: str, printed: str) -> None:
    """The address of a Redis is printed without its password."""
    assert without_password(url) == printed
