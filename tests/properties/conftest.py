"""The server of the walks: each module has one, which its tests restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.embedded_redis import EmbeddedRedis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """It does not wait for the disk: no test here takes its power away."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), settings={"appendfsync": "no"}) as started:
        yield started
