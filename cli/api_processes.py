"""Several API processes at one address: a parent that answers nothing starts them, starts each again that dies, and
ends them together.

    parent      binds the address, and keeps the files that all share (`serving.siblings`)
      ├─ 1 ─┐
      └─ 2 ─┴─  accept from the same socket: whoever is free takes the next connection

So a connection that waits when a process dies is taken by another one, and so are new ones until its place is taken.
What the dead process was answering has no answer: its clients send it again. Nothing that was acknowledged was in it.

A process ends by itself when its parent is gone, however that ended: the line between the two is closed then. The
parent imports little, since it has its memory beside theirs.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NoReturn, TypeAlias

import structlog

from cli.supervised import end_without_supervisor
from cli.terminal import MISUSED, fail
from serving import garbage
from serving.logs import configure
from serving.settings import WrongSettings, settings_of_environment

log = structlog.get_logger()

#: What a process says on its line when it takes requests.
READY = b"r"
#: The processes of a parent that was killed hold the address for another moment, until they know of it.
BIND_S, LOOK_S = 5.0, 0.05
#: A process that died before it took requests is started again after so long, and after twice as long each time.
RETRY_S, RETRY_S_MAX = 1.0, 30.0


def become_parent() -> NoReturn:
    """Makes of this process the parent, as the settings say: the same process, and nothing in its memory but that."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "cli.api_processes"])


def main() -> None:
    """Runs the processes of the settings until SIGTERM."""
    garbage.look_rarely()
    settings = settings_of_environment()
    configure(settings.log_level)
    end_without_supervisor(settings.home, "api")
    try:
        status = ApiProcesses(settings.host, settings.port, settings.api_processes).run()
    except WrongSettings as error:
        fail(str(error), MISUSED)
    raise SystemExit(status)


@dataclass(eq=False)
class _Process:
    """A process of the API, by its number from 1 on."""

    number: int
    process: subprocess.Popen[bytes]
    is_ready: bool = False


@dataclass(frozen=True)
class _Ready:
    process: _Process


@dataclass(frozen=True)
class _Ended:
    process: _Process


@dataclass(frozen=True)
class _Due:
    """The process of a number is to be started."""

    number: int


@dataclass(frozen=True)
class _Stop:
    """All are to end."""


_Happened: TypeAlias = _Ready | _Ended | _Due | _Stop


@dataclass
class ApiProcesses:
    """Runs `count` processes at an address until SIGTERM or SIGINT."""

    host: str
    port: int
    count: int
    _running: dict[int, _Process] = field(default_factory=dict)
    _retries: dict[int, int] = field(default_factory=dict)
    _is_stopping: bool = False
    _was_ready: bool = False

    def run(self) -> int:
        """The exit status: 0 when it was stopped, else that of a process which could not start while none ran yet.

        Raises `WrongSettings`.
        """
        self._happened: SimpleQueue[_Happened] = SimpleQueue()
        with ExitStack() as held:
            self._sockets = [held.enter_context(bound) for bound in _bound(self.host, self.port)]
            self._slates = [held.enter_context(tempfile.TemporaryFile()) for _ in range(self.count)]
            self._rates = held.enter_context(tempfile.TemporaryFile())
            for ending in (signal.SIGTERM, signal.SIGINT):
                signal.signal(ending, lambda *_: self._happened.put(_Stop()))
            for number in range(1, self.count + 1):
                self._start(number)
            return self._run()

    def _run(self) -> int:
        status = 0
        while self._running or not self._is_stopping:
            match self._happened.get():
                case _Ready(process):
                    process.is_ready = self._was_ready = True
                    self._retries.pop(process.number, None)
                case _Ended(process):
                    del self._running[process.number]
                    ended = process.process.returncode
                    if self._is_stopping:
                        continue
                    if not self._was_ready:  # the first ones do not start: nor would others
                        status = ended if ended > 0 else 1
                        self._stop()
                    else:
                        log.warning("process_ended", process=process.number, status=ended)
                        self._start_after(process)
                case _Due(number):
                    if not self._is_stopping:
                        self._start(number)
                case _Stop():
                    self._stop()
        return status

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            handed = [*(bound.fileno() for bound in self._sockets), theirs.fileno()]
            handed += [file.fileno() for file in (*self._slates, self._rates)]
            words = [
                str(number),
                ",".join(str(bound.fileno()) for bound in self._sockets),
                str(theirs.fileno()),
                ",".join(str(slate.fileno()) for slate in self._slates),
                str(self._rates.fileno()),
            ]
            process = _Process(
                number, subprocess.Popen([sys.executable, "-m", "cli.api_process", *words], pass_fds=handed)
            )
        self._running[number] = process
        threading.Thread(target=self._watch, args=(process, ours), daemon=True).start()

    def _watch(self, process: _Process, line: socket.socket) -> None:
        with line:
            with suppress(OSError):
                if line.recv(len(READY)) == READY:
                    self._happened.put(_Ready(process))
            process.process.wait()
        self._happened.put(_Ended(process))

    def _start_after(self, process: _Process) -> None:
        """Starts one in the place of one that ended: at once, but for one that never took requests."""
        if process.is_ready:
            self._start(process.number)
            return
        retries = self._retries[process.number] = self._retries.get(process.number, -1) + 1
        due = threading.Timer(min(RETRY_S * 2**retries, RETRY_S_MAX), lambda: self._happened.put(_Due(process.number)))
        due.daemon = True
        due.start()

    def _stop(self) -> None:
        self._is_stopping = True
        for process in self._running.values():
            process.process.terminate()


def _bound(host: str, port: int) -> list[socket.socket]:
    """Sockets that are bound to all addresses of a host, and do not listen yet: a first process lets them.

    Raises `WrongSettings`.
    """
    deadline_s = time.monotonic() + BIND_S
    while True:
        try:
            return _bound_once(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline_s:
                raise WrongSettings(
                    f"{host} port {port} cannot be had ({error.strerror}): set TINYCDP_HOST or TINYCDP_PORT"
                ) from None
        time.sleep(LOOK_S)  # nothing tells when an address is given up


def _bound_once(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as undone:
        sockets = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            bound = undone.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
            sockets.append(bound)
        undone.pop_all()
    return sockets


if __name__ == "__main__":
    main()
