"""The server of the walks: each module has one, which its tests restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.embedded_redis import EmbeddedRedis
from tests.clocks import last_receipt_is_the_clock


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """It does not wait for the disk: no test here takes its power away."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), settings={"appendfsync": "no"}) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def clock() -> Iterator[None]:
    """The worlds go through days in seconds: they set the clock by the last receipt."""
    with last_receipt_is_the_clock():
        yield
