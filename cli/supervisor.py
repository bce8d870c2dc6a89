"""The supervisor of a stack: its configuration, its process, and how that process is told from others.

`supervisord` starts the parts by priority, restarts one that dies, and on SIGTERM stops them in the reverse order,
waiting for each. Its configuration is the file `supervisord.conf` under home. It holds a lock for as long as it runs,
so that others know that it does.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cli.process_lock import command_holding, holder
from serving.access.secret_files import write_private

CONFIG = "supervisord.conf"
#: What a supervisor says that ends before it has a log: its configuration, or its lock, does not let it run.
LAST_WORDS = "logs/supervisord.err"
STOP_S_MAX = 60.0
#: The umask of files that their owner alone may read.
_PRIVATE = 0o077

#: Supervisors that this process launched, by pid. A `Popen` that nobody holds would warn that its process still runs.
_launched: dict[int, subprocess.Popen[bytes]] = {}
#: Those that have ended, and how.
_statuses: dict[int, int] = {}


@dataclass(frozen=True)
class Part:
    """One process of the stack. A lower priority starts earlier and stops later."""

    name: str
    command: tuple[str, ...]
    priority: int
    stop_s: int = 20
    #: Whether a stop reaches the processes that the part started itself, too.
    stops_as_group: bool = False
    #: Whether only the owner may read the files that the part makes.
    is_private: bool = True


def configuration(parts: Sequence[Part]) -> str:
    """The text of the supervisor's configuration: the supervisor itself, then a section for each part.

    Logs and the pid file are named by `%(here)s`, the folder of the configuration. The format has no quotes for a path,
    so a `;` after a space would begin a comment in it.
    """
    config = RawConfigParser()
    config["supervisord"] = {
        "logfile": "%(here)s/logs/supervisord.log",
        "logfile_maxbytes": "10MB",
        "logfile_backups": "1",
        "pidfile": "%(here)s/supervisord.pid",
        "silent": "true",
    }
    if os.getuid() == 0:
        config["supervisord"]["user"] = "root"  # else it warns that it was not told
    for part in parts:
        config[f"program:{part.name}"] = {
            "command": _command(part.command),
            "priority": str(part.priority),
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "1000000",
            "stopwaitsecs": str(part.stop_s),
            "stopasgroup": "true" if part.stops_as_group else "false",
            "killasgroup": "true",
            "redirect_stderr": "true",
            # The supervisor expands this value twice, so the percent sign is doubled.
            "stdout_logfile": f"%%(here)s/logs/{part.name}.log",
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "1",
        }
        # The supervisor's own is that of private files, so the user's is said, too.
        config[f"program:{part.name}"]["umask"] = f"{_PRIVATE if part.is_private else _own_umask():03o}"
    text = io.StringIO()
    config.write(text, space_around_delimiters=False)
    return text.getvalue()


def _own_umask() -> int:
    """The rights that this process takes from files that it makes."""
    own = os.umask(_PRIVATE)  # the system tells it only as it sets another
    os.umask(own)
    return own


def _command(words: Sequence[str]) -> str:
    """The words as the supervisor reads them: it cuts comments, expands percent signs, and splits like a shell.

    A `;` or `#` after white space begins a comment, also in quotes. So the quotes end and begin anew between the two.
    """
    quoted = shlex.join(words).replace("%", "%%")
    return re.sub(r"(?<=\s)(?=[;#])", "''", quoted)


def launch(home: Path, parts: Sequence[Part], environment: Mapping[str, str], lock: Path) -> int:
    """Writes the configuration under home, starts the supervisor, and returns its pid when it holds its lock.

    It outlives this process. Where it ends at once, its pid is returned too.
    """
    config = home / CONFIG
    write_private(config, configuration(parts))
    write_private(home / LAST_WORDS, "")
    with (home / LAST_WORDS).open("wb") as last_words:
        process = subprocess.Popen(
            command_holding(lock, (sys.executable, "-m", "cli.supervisord", "-n", "-c", str(config))),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=last_words,
            umask=_PRIVATE,  # logs have people in them
            start_new_session=True,  # Ctrl-C reaches us, and we stop the parts in order
        )
    _launched[process.pid] = process
    while holder(lock) != process.pid and is_alive(process.pid):
        time.sleep(0.02)
    return process.pid


def end(pid: int) -> None:
    """Stops the parts in order and returns when the supervisor has ended. It is killed after a minute."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S_MAX
        while is_alive(pid):
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGKILL)
                break
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs. It is reaped when it has ended and this process launched it."""
    if pid in _launched:
        if _launched[pid].poll() is None:
            return True
        _statuses[pid] = _launched.pop(pid).returncode
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, as another user's
    return True


def has_stopped(pid: int) -> bool:
    """Whether a supervisor that this process launched has ended as it was told to, its parts in order."""
    return _statuses.get(pid) == 0


def last_words(home: Path) -> str:
    """Why the supervisor ended, in one line: the last that it said, or where its log is."""
    path = home / LAST_WORDS
    said = path.read_text(errors="replace").split("\n") if path.exists() else []
    lines = [line.strip() for line in said if line.strip() and not line.startswith("For help")]
    return lines[-1] if lines else f"see {home / 'logs' / 'supervisord.log'}"
