"""The work of a run as a count of calls, which a busy machine does not change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def calls(run: Callable[[], Any], *, of_c: bool = False) -> int:
    """How many functions of Python a run calls; `of_c`: those of C, too."""
    counted = ("call", "c_call") if of_c else ("call",)
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in counted

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count
