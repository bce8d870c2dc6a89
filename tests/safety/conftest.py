"""An API process of its own with narrow bounds, beside the one of the stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from cli.ports import free_port
from tests.running import RunningStack
from tests.waiting import wait_until

#: Seconds that a request may take to arrive there.
REQUEST_S = 2
CONNECTIONS = 20
RATE = 50


@pytest.fixture(scope="session")
def narrow(stack: RunningStack) -> Iterator[str]:
    """The address of an API with the stack's Redis, lake and keys, that lets a key ask 50 times a second."""
    port = free_port()
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(stack.settings.home),
        "TINYCDP_LAKE_URI": stack.stack.lake_uri,
        "TINYCDP_REDIS_URL": stack.stack.redis_url,
        "TINYCDP_PORT": str(port),
        "TINYCDP_RATE_LIMIT": str(RATE),
        "TINYCDP_REQUEST_S_MAX": str(REQUEST_S),
        "TINYCDP_CONNECTIONS_MAX": str(CONNECTIONS),
        "TINYCDP_CORS_ORIGINS": "https://shop.example, https://www.shop.example",
    }
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment)
    try:
        with httpx.Client(timeout=1) as client:
            wait_until(lambda: _answers(client, url), "the API answers")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").status_code in (200, 503)
    except httpx.TransportError:
        return False
