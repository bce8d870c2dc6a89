"""What tests of the protocols share: the installed clients for Node, and a browser."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.protocols.node_clients import NodeClients, installed

#: Set where every test must run: what is lacking then fails.
SKIP_NOTHING = "TINYCDP_TESTS_SKIP_NOTHING"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def node_clients() -> NodeClients:
    """The published clients for Node, as locked."""
    return installed()


@pytest.fixture(scope="session")
def browser() -> str:
    """A Chromium of this machine. Where there is none, its tests say so and are the only ones that are left out."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        lacking = "NO CHROMIUM: analytics.js is NOT tested in a browser here; apt-get install chromium"
        if os.environ.get(SKIP_NOTHING):
            pytest.fail(lacking)
        pytest.skip(lacking)
    return browser
