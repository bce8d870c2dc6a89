"""A lock that lives exactly as long as a process: a locked file that the process has open, with its pid in it.

The operating system gives the lock back when the process ends, however it ends, and its children that have the file
open. So a lock that is held says that its holder runs, which a pid in a file by itself does not.

    python -m cli.process_lock FILE PROGRAM [ARGUMENT…]

takes the lock and becomes the program. Whoever starts the program may close what it inherits: the file is opened here,
in the process itself. It ends with `EX_TEMPFAIL` where another process keeps the lock.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: The variable that tells a program the descriptor of its lock.
LOCK = "PROCESS_LOCK_DESCRIPTOR"
#: A killed server's child, which rewrites its file, notices within a second or two.
PATIENCE_S = 5.0
LOOK_S = 0.05


class Held(Exception):
    """Another process holds the lock; `pid` is its process, where known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is locked by {f'process {pid}' if pid else 'another process'}")
        self.pid = pid


def take(path: Path, patience_s: float = PATIENCE_S) -> int:
    """The descriptor of the locked file, which children do not inherit. Raises `Held` after `patience_s`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                pid = _pid_in(lock)
                os.close(lock)
                raise Held(path, pid) from None
            time.sleep(LOOK_S)


def sign(lock: int, pid: int) -> None:
    """Writes the holder's pid into its locked file."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(pid).encode(), 0)


def keep_from_children() -> None:
    """Keeps the lock that this process took before it became its program from programs that it starts.

    These would hold it after the process has ended: the children of some event loops inherit all that they may.
    """
    lock = os.environ.pop(LOCK, "")
    if lock:
        os.set_inheritable(int(lock), False)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock."""
    return _looked(path)[0]


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock; None where it is free, or its holder has not signed it yet."""
    held, pid = _looked(path)
    return pid if held else None


def is_here(pid: int, path: Path) -> bool:
    """Whether a process of this machine has the file of its lock open.

    On a folder that machines or containers share the holder may be elsewhere, and its pid another process' here.
    """
    try:
        opened = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return True  # another user's, and signals to it will be refused
    except OSError:
        if Path("/proc/self/fd").exists():
            return False
        told = subprocess.run(["lsof", "-t", "--", str(path)], capture_output=True, text=True, check=False).stdout
        return str(pid) in told.split()
    ours = path.resolve()
    return any(_target(f"/proc/{pid}/fd/{number}") == str(ours) for number in opened)


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return None


def _looked(path: Path) -> tuple[bool, int | None]:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who look see no holder in each other
    except BlockingIOError:
        return True, _pid_in(lock)
    else:
        return False, None
    finally:
        os.close(lock)


def _pid_in(lock: int) -> int | None:
    text = os.pread(lock, 32, 0)
    return int(text) if text.isdigit() else None


def command_holding(path: Path, command: Sequence[str]) -> tuple[str, ...]:
    """The command of a program that holds the lock for as long as it runs."""
    return (sys.executable, "-m", "cli.process_lock", str(path), *command)


def main(path: str, *command: str) -> None:
    """Takes the lock and becomes the program."""
    try:
        lock = take(Path(path), PATIENCE_S)
    except Held as held:
        sys.stderr.write(f"{held}: stop that one first\n")
        raise SystemExit(os.EX_TEMPFAIL) from None
    sign(lock, os.getpid())
    os.set_inheritable(lock, True)
    os.environ[LOCK] = str(lock)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
