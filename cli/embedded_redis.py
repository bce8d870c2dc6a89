"""A Redis server as a child of this process, on a folder of its own. Tests and benchmarks use it.

* **Who may write the folder.** One server at a time, since two would ruin one append-only file. The server inherits a
  locked file, so the lock lives exactly as long as the server, whatever becomes of the process that started it.
* **Who stops it.** Its object alone. The server runs in a session of its own, so a Ctrl-C in the terminal does not
  reach it.

    EmbeddedRedisError
    ├── FolderInUse         another server holds this folder
    └── ServerNotReady      the server exited, or did not answer in time; carries the end of its log
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.ports import free_port
from cli.process_lock import PATIENCE_S, Held, sign, take
from cli.redis_server import (
    EmbeddedRedisError,
    ServerBinary,
    find_server,
    render_config,
    require_readable,
    server_settings,
)

PORT_ATTEMPTS = 5  # another process may take a free port before the server binds to it
ANSWER_SECONDS_MAX = 30.0  # until a first answer
LOAD_SECONDS_MAX = 900.0  # until a server has read its file, when it answers that it is still reading
STOP_SECONDS_MAX = 30.0
LOCK_SECONDS_MAX = PATIENCE_S


class FolderInUse(EmbeddedRedisError):
    """Another server is writing this folder; `pid` is its process, where known."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        process = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{folder} is in use by the Redis server of {process}: stop that one, or choose another folder"
        )
        self.pid = pid


class ServerNotReady(EmbeddedRedisError):
    """The server exited or stayed silent; `log_tail` is the end of its log."""

    def __init__(self, what: str, log_tail: str) -> None:
        super().__init__(f"{what}\n{log_tail}" if log_tail else what)
        self.log_tail = log_tail


class EmbeddedRedis:
    """One server on one folder. Start it, stop it, start it again: the port and the data stay.

    `port=0` takes a free port at the first start. `settings` replace ours by the server's names, such as
    `{"appendfsync": "everysec"}`. All calls block. Several threads must not use one object at a time.
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
        """The port that it listens on. Raises `RuntimeError` before the first start where a free port was asked for."""
        if self._port is None:
            raise RuntimeError("A free port is chosen by start(): there is none yet")
        return self._port

    @property
    def url(self) -> str:
        """The address that redis-py and TINYCDP_REDIS_URL take."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The process id of the running server; None when it was not started."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process runs now; a server that died by itself does not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server and returns when it answers, its data read. Does nothing when it is running already.

        Raises `FolderInUse`, `FolderTooNew` and `ServerNotReady`.
        """
        if self.running:
            return
        self._process = None
        self.folder.mkdir(parents=True, exist_ok=True)
        require_readable(self.folder, self.binary)
        attempts = PORT_ATTEMPTS if self._port is None else 1
        for attempt in range(1, attempts + 1):
            port = self._port or free_port()
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
        """Asks the server to end and waits for it; its file is synced. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            _end(process)  # nothing is lost: all that was acknowledged is in the file

    def kill(self) -> None:
        """Kills the server, and a child that rewrites its file, without a last write.

        The operating system keeps what was written, so this tests the file and not the sync of the disk.
        """
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def restart(self) -> None:
        """Stops and starts on the same port and the same data."""
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
            with (self.folder / "redis.log").open("wb") as log:  # of one start only, so it cannot grow for ever
                process = subprocess.Popen(
                    [self.binary.path, config],
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[lock],
                )
            sign(lock, process.pid)
            return process
        finally:
            os.close(lock)  # the server's copy keeps the lock

    def _locked_file(self) -> int:
        try:
            return take(self.folder / "redis.lock", LOCK_SECONDS_MAX)
        except Held as held:
            raise FolderInUse(self.folder, held.pid) from None

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
                    # Another process may have the port and answer, while our server is about to give up on it.
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


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the server and its children, which are a process group of their own, and reaps it."""
    if process.poll() is None:  # once it is reaped, its pid may be another process'
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
