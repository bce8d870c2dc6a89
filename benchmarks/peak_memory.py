"""The greatest memory of a process, sampled while it runs.

The operating system's own figure, told at the end, counts the memory of the process that started it, too.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import psutil

SAMPLE_S = 0.01


def peak_mb(process: subprocess.Popen[str]) -> float:
    """The greatest resident memory in MB of a process that was just started. Returns when it has ended."""
    peak = 0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        time.sleep(SAMPLE_S)
    return peak / 1e6
