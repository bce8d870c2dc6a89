"""An API process of its own with narrow bounds, beside the one of the stack."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.running import RunningStack, api_beside

#: Seconds that a request may take to arrive there.
REQUEST_S = 2
CONNECTIONS = 20
RATE = 50


@pytest.fixture(scope="session")
def narrow(stack: RunningStack, shared: ExitStack) -> str:
    """The address of an API with the stack's Redis, lake and keys, that lets a key ask 50 times a second."""
    api = api_beside(
        stack,
        rate_limit=str(RATE),
        request_s_max=str(REQUEST_S),
        connections_max=str(CONNECTIONS),
        cors_origins="https://shop.example, https://www.shop.example",
    )
    return shared.enter_context(api).stack.api_url
