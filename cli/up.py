"""The whole stack on one machine, under one supervisor.

    redis ─► prefect ─► drain ─► api ─► worker          started in this order, stopped in the reverse one

`supervisord` starts the parts, restarts one that dies, and on SIGTERM stops them in order, waiting for each. A part
waits by itself for what it needs, so the order is a courtesy and not a condition. Ports that are 0 are chosen here,
once, and written to `stack.json` under home, where the other commands find a running stack.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.redis_server import EmbeddedRedisError, find_server, render_config, require_readable, server_settings
from serving.settings import Settings, settings_fixed
from serving.store.errors import NotDurable, OtherSetting, StoreError

#: Supervisors that this process started, by pid.
_started: dict[int, subprocess.Popen[bytes]] = {}

CONFIG = "supervisord.conf"
READY_S_MAX = 120.0
STOP_S_MAX = 60.0
#: Prefect's records of runs are kept this long.
PREFECT_DAYS = 7


class StackError(RuntimeError):
    """The stack cannot run; the message ends with the remedy."""


@dataclass(frozen=True)
class Stack:
    """Where a running stack answers. `pid` is the supervisor's."""

    pid: int
    api_url: str
    redis_url: str
    lake_uri: str
    shards: int
    prefect_url: str | None


@dataclass(frozen=True)
class Part:
    """One process of the stack. Lower priority starts earlier and stops later."""

    name: str
    command: tuple[str, ...]
    priority: int
    stop_s: int = 20


def running_stack(settings: Settings) -> Stack | None:
    """The stack that runs on this home, if its supervisor is alive: a number may be another process' by now."""
    try:
        stack = Stack(**json.loads((settings.home / "stack.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return stack if _is_alive(stack.pid) and _is_supervisor(stack.pid, settings.home) else None


def free_port(host: str) -> int:
    """A port that is free now."""
    with closing(socket.socket()) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def start(settings: Settings, *, with_prefect: bool = True) -> Stack:
    """Starts the stack and returns once `/health` answers 200; it outlives this process until `stop`.

    Raises `StackError` when another stack runs on this home, or when this one is not ready within two minutes.
    """
    home = settings.home.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is stopped
    (home / "logs").mkdir(parents=True, exist_ok=True)
    with _only_one(home, settings):
        _refuse_what_cannot_run(settings, home)
        try:
            environment, parts, where = _planned(settings, home, with_prefect)
        except EmbeddedRedisError as error:
            raise StackError(str(error)) from None
        config = home / CONFIG
        config.write_text(_config(home, parts))
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us, and we stop the parts in order
        )
        _started[supervisor.pid] = supervisor
        found = Stack(pid=supervisor.pid, **where)
        _write_private(home / "stack.json", json.dumps(asdict(found)))  # the address of a Redis may hold its password
    try:
        _await_ready(found, home)
    except BaseException:
        stop(settings, found)
        raise
    return found


def stop(settings: Settings, found: Stack) -> None:
    """Stops the parts in order and returns when the supervisor has ended. Nothing that was acknowledged is lost."""
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S_MAX
        while _is_alive(found.pid):
            if time.monotonic() > deadline:
                os.killpg(found.pid, signal.SIGKILL)
                break
            time.sleep(0.05)
    (settings.home / "stack.json").unlink(missing_ok=True)


def wait_for_end(found: Stack) -> None:
    """Returns on SIGINT or SIGTERM. Raises `StackError` when the supervisor itself ended."""
    try:
        while _is_alive(found.pid):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise StackError("the supervisor ended by itself: see logs/supervisord.log under TINYCDP_HOME")


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)  # of a file that was there, too
        file.write(text)


def _is_alive(pid: int) -> bool:
    """Whether the process runs; one that this process started is reaped when it has ended."""
    if pid in _started:
        if _started[pid].poll() is None:
            return True
        del _started[pid]
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _is_supervisor(pid: int, home: Path) -> bool:
    """Whether a process is the supervisor of a home, by what it was started with."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # a system without that folder
        said = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, check=False).stdout
    return any(os.fsencode(named / CONFIG) in said for named in (home.absolute(), home.resolve()))


def chosen_port(host: str, port: int, setting: str) -> int:
    """The port that is wanted, or a free one for 0. Raises `StackError` when it is taken."""
    if port == 0:
        return free_port(host)
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"port {port} cannot be had ({error.strerror}): set {setting}, 0 for any free one"
            ) from None
    return port


@contextmanager
def _only_one(home: Path, settings: Settings) -> Iterator[None]:
    with open(home / "up.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if running_stack(settings) is not None:
            raise StackError(
                f"a stack runs on {home} already: stop it with `tinycdp down`, or set TINYCDP_HOME to another folder"
            )
        yield


def _refuse_what_cannot_run(settings: Settings, home: Path) -> None:
    """Looks at what is there before anything starts, so that what no waiting mends is said at once. What is away now
    may come."""
    from lake.errors import LakeError
    from lake.storage import fixed
    from serving.store.store import Store, require_same

    root = settings.lake_uri or str(home / "lake")
    try:
        if settings.redis_url is not None:
            with Store(settings.redis_url, settings.shards, timeout_s=5) as store:
                store.require_durable(settings.durability)
                store.require_shards()
        noted = fixed(root)
        for name, value in settings_fixed(settings).items():
            require_same(name, noted.get(name), value)
    except (NotDurable, OtherSetting) as error:
        raise StackError(str(error)) from None
    except (StoreError, LakeError):
        return


def _planned(settings: Settings, home: Path, with_prefect: bool) -> tuple[dict[str, str], list[Part], dict[str, Any]]:
    """The environment of all parts, the parts, and where they answer."""
    host = settings.host
    reached = {"0.0.0.0": "127.0.0.1"}.get(host, host)
    api_port = chosen_port(host, settings.port, "TINYCDP_PORT")
    tinycdp = (sys.executable, "-m", "cli.main")
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(home),
        "TINYCDP_HOST": host,
        "TINYCDP_PORT": str(api_port),
        "TINYCDP_LAKE_URI": settings.lake_uri or str(home / "lake"),
        "PYTHONUNBUFFERED": "1",
    }
    parts = [
        Part("drain", (*tinycdp, "drain"), 30, stop_s=30),
        Part("api", (*tinycdp, "api"), 40),
        Part("worker", (*tinycdp, "worker"), 50, stop_s=30),
    ]
    if settings.redis_url is None:
        port = chosen_port("127.0.0.1", settings.redis_port, "TINYCDP_REDIS_PORT")
        environment["TINYCDP_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
        parts.append(Part("redis", _redis_command(settings, home, port), 10, stop_s=30))
    prefect_url = None
    if with_prefect:
        port = chosen_port(host, settings.prefect_port, "TINYCDP_PREFECT_PORT")
        prefect_url = f"http://{reached}:{port}"
        environment |= prefect_environment(home, prefect_url)
        server = (sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port))
        parts.append(Part("prefect", server, 20))
    else:
        environment["TINYCDP_PREFECT"] = "false"
    where = {
        "api_url": f"http://{reached}:{api_port}",
        "redis_url": environment.get("TINYCDP_REDIS_URL", settings.redis_url or ""),
        "lake_uri": environment["TINYCDP_LAKE_URI"],
        "shards": settings.shards,
        "prefect_url": prefect_url,
    }
    return environment, sorted(parts, key=lambda part: part.priority), where


def prefect_environment(home: Path, url: str) -> dict[str, str]:
    """Prefect's data under our home and bounded, its reports to its makers off."""
    return {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Rebuilds of single ids are runs too, up to four a second: else its records would grow for ever.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"P{PREFECT_DAYS}D",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "TINYCDP_PREFECT": "true",
    }


def _redis_command(settings: Settings, home: Path, port: int) -> tuple[str, ...]:
    binary = find_server()
    folder = home / "redis"
    folder.mkdir(exist_ok=True)
    require_readable(folder, binary)
    config = home / "redis.conf"
    chosen = server_settings(binary.version, folder, port)
    chosen |= {"appendfsync": settings.durability, "maxmemory": settings.redis_memory_max}
    config.write_text(render_config(chosen))
    return (str(binary.path), str(config))


def _config(home: Path, parts: list[Part]) -> str:
    """The supervisor's configuration. A percent sign is its escape character."""
    lines = [
        "[supervisord]",
        f"logfile={_plain(home / 'logs' / 'supervisord.log')}",
        "logfile_maxbytes=10MB",
        "logfile_backups=1",
        f"pidfile={_plain(home / 'supervisord.pid')}",
        "silent=true",
        *(["user=root"] if os.getuid() == 0 else []),  # else it warns that it was not told
    ]
    for part in parts:
        lines += [
            f"[program:{part.name}]",
            f"command={' '.join(_quoted(word) for word in part.command)}",
            f"priority={part.priority}",
            "autorestart=true",
            "startsecs=1",
            "startretries=1000000",
            f"stopwaitsecs={part.stop_s}",
            "stopasgroup=true" if part.name == "prefect" else "stopasgroup=false",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_plain(home / 'logs' / (part.name + '.log'))}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=1",
        ]
    return "\n".join(lines) + "\n"


def _plain(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(word: str) -> str:
    escaped = word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _await_ready(found: Stack, home: Path) -> None:
    deadline = time.monotonic() + READY_S_MAX
    seen: str = "no answer"
    while time.monotonic() < deadline:
        if not _is_alive(found.pid):
            raise StackError(f"the supervisor ended: see {home / 'logs' / 'supervisord.log'}")
        try:
            answer = httpx.get(f"{found.api_url}/health", timeout=2)
            if answer.status_code == 200 and (found.prefect_url is None or _answers(f"{found.prefect_url}/api/health")):
                return
            seen = answer.text
        except httpx.TransportError as error:
            seen = str(error)
        time.sleep(0.1)
    raise StackError(f"not ready after {READY_S_MAX:.0f} s ({seen[:300]}): see {home / 'logs'}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def environment_of(found: Stack) -> Mapping[str, str]:
    """What a command needs in its environment to talk to a running stack."""
    return {
        "TINYCDP_REDIS_URL": found.redis_url,
        "TINYCDP_LAKE_URI": found.lake_uri,
        "TINYCDP_SHARDS": str(found.shards),
    }
