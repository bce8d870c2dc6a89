"""The demo as somebody runs it: on a home of its own, whose stack keeps running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.stack import Stack, running_stack
from serving.settings import Settings

#: What the demo leaves at its default; tests run beside each other.
PORTS = {"TINYCDP_PORT": "0", "TINYCDP_PREFECT_PORT": "0", "TINYCDP_REDIS_PORT": "0", "TINYCDP_CONSOLE": "false"}


@dataclass(frozen=True)
class Demo:
    """A home, and what the demo printed there."""

    home: Path
    printed: str

    def tinycdp(self, *arguments: str) -> str:
        """The output of a command, which must succeed."""
        return tinycdp(self.home, *arguments)

    @property
    def settings(self) -> Settings:
        """The settings that name the home."""
        return Settings(home=self.home)

    @property
    def stack(self) -> Stack:
        """The stack, which runs as long as the demo is used."""
        found = running_stack(self.settings)
        assert found is not None, "everything keeps running"
        return found


@contextmanager
def demo_on(home: Path) -> Iterator[Demo]:
    """The demo on a new home. What it leaves running is stopped in the end."""
    try:
        yield Demo(home, tinycdp(home, "demo"))
    finally:
        tinycdp(home, "down")


def tinycdp(home: Path, *arguments: str) -> str:
    """The output of a command on a home, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={**os.environ, **PORTS, "TINYCDP_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
