"""What tests of several parts share: a real, private Redis for each test process, an object store, a whole stack.

Fixtures import what they need when they are first asked for, so that a room without Redis and stack starts at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.embedded_redis import EmbeddedRedis
    from tests.running import RunningStack
    from tests.small_s3 import SmallS3


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for processes of their own."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for all tests of this process. A test that stops or kills a server starts one of its own."""
    from cli.embedded_redis import EmbeddedRedis

    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The address of an empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.config_set("appendfsync", "always")
    return redis_server.url


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    """An object store of its own, named by the environment as whoever uses the lake reads it."""
    from tests.small_s3 import small_s3

    with small_s3() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield store


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole stack as `tinycdp up --no-prefect` runs it, for tests of the group "stack"."""
    from tests.running import stack_on

    with stack_on(tmp_path_factory.mktemp("home"), drain_interval_s="0.2") as running:
        yield running
