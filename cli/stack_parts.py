"""The parts of a stack on one machine: their commands, their ports and their environment.

    redis ─► prefect ─► drain ─► api ─► worker ─► console    started in this order, stopped in the reverse one

A part waits by itself for what it needs, so the order is a courtesy and not a condition. A port that is 0 is chosen
here, once for all parts. Each part holds a lock for as long as it runs (`cli/orphans.py`).
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cli.orphans import part_lock
from cli.ports import chosen_port, reached_host
from cli.process_lock import command_holding
from cli.redis_server import bytes_of, find_server, forget_snapshots, render_config, require_readable, server_settings
from cli.supervisor import Part
from serving.access.secret_files import secret_file, write_private
from serving.settings import Settings
from serving.store.reserve import bound_within

#: Prefect's records of runs are kept this long.
PREFECT_DAYS = 7


class Plan(NamedTuple):
    """What a supervisor is given, and the fields of a `Stack` but for its pid."""

    parts: list[Part]
    environment: dict[str, str]
    addresses: dict[str, Any]


def plan_stack(settings: Settings, home: Path, with_prefect: bool, with_console: bool = False) -> Plan:
    """The parts, the environment of all of them, and where they will answer.

    Raises `PortTaken` for a port in use, `EmbeddedRedisError` where the embedded Redis cannot be had.
    """
    host = settings.host
    reached = reached_host(host)
    api_port = chosen_port(host, settings.port, "TINYCDP_PORT")
    tinycdp = (sys.executable, "-m", "cli.main")
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(home),
        "TINYCDP_HOST": host,
        "TINYCDP_PORT": str(api_port),
        "TINYCDP_LAKE_URI": settings.lake_uri or str(home / "lake"),
        "PYTHONUNBUFFERED": "1",
        "TINYCDP_SUPERVISED": "true",
    }
    # A lake elsewhere is read by whom the user's own umask lets.
    is_private = settings.lake_uri is None or Path(settings.lake_uri).absolute().is_relative_to(home)
    parts = [
        Part("drain", (*tinycdp, "drain"), 30, stop_s=30, is_private=is_private),
        Part("api", (*tinycdp, "api"), 40, is_private=is_private),
        Part("worker", (*tinycdp, "worker"), 50, stop_s=30, is_private=is_private),
    ]
    if settings.redis_url is None:
        port = chosen_port("127.0.0.1", settings.redis_port, "TINYCDP_REDIS_PORT")
        password = secret_file(home / "redis.password", lambda: secrets.token_urlsafe(32).encode()).decode()
        environment["TINYCDP_REDIS_URL"] = f"redis://:{password}@127.0.0.1:{port}/0"
        parts.append(Part("redis", _redis_command(settings, home, port, password), 10, stop_s=30))
    console_url = None
    if with_console and settings.console:
        port = chosen_port(host, settings.console_port, "TINYCDP_CONSOLE_PORT")
        environment["TINYCDP_CONSOLE_PORT"] = str(port)
        console_url = f"http://{reached}:{port}{(settings.console_path or '').rstrip('/')}"
        parts.append(Part("console", (*tinycdp, "console"), 60, stop_s=10))
    prefect_url = None
    with_prefect = with_prefect and settings.prefect is not False
    if with_prefect and os.environ.get("PREFECT_API_URL"):
        environment["TINYCDP_PREFECT"] = "true"  # somebody's own server, or Prefect Cloud
    elif with_prefect:
        port = chosen_port(host, settings.prefect_port, "TINYCDP_PREFECT_PORT")
        prefect_url = f"http://{reached}:{port}"
        environment |= prefect_environment(home, prefect_url)
        server = (sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port))
        parts.append(Part("prefect", server, 20, stops_as_group=True))
    else:
        environment["TINYCDP_PREFECT"] = "false"
    addresses = {
        "api_url": f"http://{reached}:{api_port}",
        "redis_url": environment.get("TINYCDP_REDIS_URL", settings.redis_url or ""),
        "lake_uri": environment["TINYCDP_LAKE_URI"],
        "shards": settings.shards,
        "prefect_url": prefect_url,
        "console_url": console_url,
    }
    held = [replace(part, command=command_holding(part_lock(home, part.name), part.command)) for part in parts]
    return Plan(sorted(held, key=lambda part: part.priority), environment, addresses)


def prefect_environment(home: Path, url: str) -> dict[str, str]:
    """Prefect's data under our home and bounded, its reports to its makers off."""
    return {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A rebuild of single ids is a run too, and there are up to four a second: the records would grow for ever.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"P{PREFECT_DAYS}D",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "TINYCDP_PREFECT": "true",
    }


def _redis_command(settings: Settings, home: Path, port: int, password: str) -> tuple[str, ...]:
    """The command of the embedded Redis, whose configuration, with its password, is written under home."""
    binary = find_server()
    folder = home / "redis"
    folder.mkdir(exist_ok=True)
    require_readable(folder, binary)
    forget_snapshots(folder)
    config = home / "redis.conf"
    redis_settings = server_settings(binary.version, folder, port)
    memory = bound_within(bytes_of(settings.redis_memory_max))
    redis_settings |= {"appendfsync": settings.durability, "maxmemory": str(memory), "requirepass": password}
    write_private(config, render_config(redis_settings))
    return (str(binary.path), str(config))
