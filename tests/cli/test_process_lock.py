"""Locks that processes hold: nobody has one twice, a program has it until its end, and whoever asks learns the pid."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import process_lock
from cli.process_lock import Held, command_holding, holder, is_held, is_here, sign, take
from tests.waiting import wait_until


def test_a_program_holds_its_lock_until_it_is_killed(tmp_path: Path) -> None:
    """The program has the pid of the command that became it; a second one ends with that pid and the lock's file."""
    path = tmp_path / "run" / "part.lock"
    command = command_holding(path, (sys.executable, "-c", "input()"))
    with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
        wait_until(lambda: holder(path) == program.pid, "the program holds its lock")
        assert is_here(program.pid, path)
        assert not is_here(os.getpid(), path), "another process has not"
        with pytest.raises(Held) as held:
            take(path, patience_s=0)
        assert held.value.pid == program.pid
        program.kill()
        program.wait()

    assert not is_held(path)
    assert holder(path) is None, "the pid in the file is of nobody"


def test_a_program_does_not_start_beside_the_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends, names the holder, and the program never runs."""
    monkeypatch.setattr(process_lock, "PATIENCE_S", 0)
    path = tmp_path / "part.lock"
    lock = take(path)
    sign(lock, os.getpid())

    with pytest.raises(SystemExit) as refused:
        process_lock.main(str(path), "never")

    assert refused.value.code == os.EX_TEMPFAIL
    assert f"{path} is locked by process {os.getpid()}: stop that one first" in capsys.readouterr().err
    os.close(lock)


#: A program whose child inherits all that it may, and is there after the end of the program.
WITH_A_CHILD = """
import subprocess, sys
from cli.process_lock import keep_from_children
keep_from_children()
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=sys.stdin, close_fds=False)
print(child.pid, flush=True)
child.wait()
"""


def test_a_program_keeps_its_lock_from_its_children(tmp_path: Path) -> None:
    """A child that outlives its program does not hold the program's lock: `down` would take the program for alive."""
    path = tmp_path / "part.lock"
    command = command_holding(path, (sys.executable, "-c", WITH_A_CHILD))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        child = int(program.stdout.readline())
        assert holder(path) == program.pid
        program.kill()
        program.wait()

        assert not is_held(path)
        os.kill(child, 0)
