"""The server that the random histories of one module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.embedded_redis import EmbeddedRedis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for this module, so that an example costs no start."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url
