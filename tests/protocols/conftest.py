"""What tests of the protocols share: the installed clients for Node, and a browser."""

from __future__ import annotations

import pytest

from tests.chromium import chromium_path
from tests.protocols.node_clients import NodeClients, installed


@pytest.fixture(scope="session")
def node_clients() -> NodeClients:
    """The published clients for Node, as locked."""
    return installed()


@pytest.fixture(scope="session")
def browser() -> str:
    """A Chromium of this machine. Where there is none, its tests say so and are the only ones that are left out."""
    return chromium_path("analytics.js")
