"""Commands of `tinycdp` in processes of their own that have imported already.

A command needs half a second of a processor to import what it needs, and the tests give a hundred to running stacks.
So one process imports it, once for each test process, and each command runs in a copy of that one. Polars and Delta are
left to the copies: they have threads of their own, which a copy has not. `tests/cli` also starts the command as people
do.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType

PRELOADED = ["cli.main", "cli.connect", "cli.explain", "cli.sql", "cli.stack", "cli.orphans", "pyarrow"]


@cache
def _beginning() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """A process that begins runs what is `__main__` here: a test of a screen leaves the console's script there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def ended(
    arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """A command in this environment, once it has ended. Raises `subprocess.TimeoutExpired`."""
    with tempfile.TemporaryDirectory() as folder:
        written = [Path(folder, name) for name in ("stdout", "stderr")]
        process = _beginning().Process(target=_command, args=(arguments, dict(environment), os.getcwd(), written))
        with _without_main():
            process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        stdout, stderr = (path.read_text() if path.exists() else "" for path in written)
        return subprocess.CompletedProcess(list(arguments), process.exitcode, stdout, stderr)


def _command(arguments: Sequence[str], environment: Mapping[str, str], folder: str, written: Sequence[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for output, path in zip((sys.stdout, sys.stderr), written, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), output.fileno())
    import cli.main

    sys.argv = [cli.main.__file__, *arguments]
    cli.main.main()
