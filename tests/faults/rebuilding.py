"""A rebuild in a process that kills itself at a step: `python -m tests.faults.rebuilding URL FOLDER STEP`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.pipelines.world import World

#: Each step of a rebuild, by its call of `progress`: (the name of the step, whether a part of it is done).
STEPS = {
    "pinned": ("reading", False),
    "computed": ("publishing", False),
    "published": ("publishing", True),
    "sweeping": ("sweeping", False),
    "swept": ("writing", False),
    "done": ("done", False),
}
SHARDS = 4


def main(redis_url: str, folder: str, step: str) -> None:
    """Rebuilds, and kills itself at a step."""
    from pipelines.rebuild import rebuild

    world = World(redis_url, Path(folder), shards=SHARDS)

    def progress(what: str, done: int) -> None:
        if (what, done > 0) == STEPS[step]:
            os.kill(os.getpid(), signal.SIGKILL)

    rebuild(world.store, world.lake, world.settings, progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
