"""The Chromium of this machine, for the tests that run in a real browser."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Set by `.ci/run`: nothing may be left out for want of a browser.
SKIP_NOTHING = "TINYCDP_TESTS_SKIP_NOTHING"


def chromium_path(what: str) -> str:
    """The path of the program. Where there is none, the tests that ask say so and are the only ones that are left out.

    `what` is then not tested. Under `TINYCDP_TESTS_SKIP_NOTHING` they fail instead.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        lacking = f"NO CHROMIUM: {what} is NOT tested in a browser here; apt-get install chromium"
        if os.environ.get(SKIP_NOTHING):
            pytest.fail(lacking)
        pytest.skip(lacking)  # a machine without a browser tests all else
    return found
