"""A drain's round in a process that kills itself at a step: `python -m tests.faults.draining URL FOLDER LAKE STEP`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.pipelines.world import World

SHARDS = 4


def main(redis_url: str, folder: str, lake_root: str, step: str) -> None:
    """Runs one round and kills itself at a step; runs the whole round at a step that there is not."""

    def killed(at: str) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGKILL)

    World(redis_url, Path(folder), lake_root=lake_root, shards=SHARDS).drain(killed).step()


if __name__ == "__main__":
    main(*sys.argv[1:])
