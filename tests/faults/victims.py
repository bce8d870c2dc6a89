"""Processes of ours that are started to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def killed(module: str, *arguments: str, on_start: Callable[[int], None] = lambda pid: None) -> None:
    """Runs a module of ours in a process of its own, which must end by SIGKILL: its own, or one of `on_start`, which is
    told the pid."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    ) as victim:
        on_start(victim.pid)
        try:
            _, errors = victim.communicate(timeout=60)
        finally:
            victim.kill()
    assert victim.returncode == -signal.SIGKILL, errors.decode()
