"""A part under a supervisor ends by itself, in order, when the supervisor is gone: nobody else would end it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import structlog

from cli.orphans import is_supervised
from cli.process_lock import keep_from_children

log = structlog.get_logger()

#: How often a part looks whether its supervisor still runs.
LOOK_S = 1.0


def end_without_supervisor(home: Path, part: str) -> None:
    """Sends this process SIGTERM when its supervisor is gone; does nothing in a part that was started alone."""
    keep_from_children()
    if os.environ.get("TINYCDP_SUPERVISED") != "true":
        return

    def watch() -> None:
        while is_supervised(home):
            time.sleep(LOOK_S)  # nothing tells when another process gives its lock back
        # Our output went to the supervisor, and fails now: the last words go to the file where it put them.
        with suppress(OSError):
            file = os.open(home / "logs" / f"{part}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            for output in (sys.stdout, sys.stderr):
                os.dup2(file, output.fileno())
            log.warning("supervisor_gone")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
