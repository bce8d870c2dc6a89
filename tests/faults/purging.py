"""A purge in a process that kills itself at a step: `python -m tests.faults.purging URL FOLDER STEP`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.pipelines.world import World

#: Each step of a purge at once, in order; "events" is between two days.
STEPS = (
    "drained",
    "looked",
    "rejected",
    "flags",
    "redacted",
    "rebuilt",
    "traits",
    "memberships",
    "events",
    "forgotten",
    "files",
    "cleaned",
    "rewritten",
)
SHARDS = 4


def main(redis_url: str, folder: str, step: str) -> None:
    """Purges at once, and kills itself at a step."""
    from pipelines.purge.purge_now import purge_now

    world = World(redis_url, Path(folder), shards=SHARDS)

    def killed(at: str) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGKILL)

    purge_now(world.store, world.lake, world.settings, redacts=(), on_step=killed)


if __name__ == "__main__":
    main(*sys.argv[1:])
