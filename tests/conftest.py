"""What tests of several parts share: a real, private Redis for each test process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from cli import up
from cli.embedded_redis import EmbeddedRedis
from serving.settings import Settings
from tests.running import RunningStack
from tests.small_s3 import SmallS3, small_s3


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for processes of their own."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for all tests of this process. A test that stops or kills a server starts one of its own."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The address of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.config_set("appendfsync", "always")
    return redis_server.url


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    """An object store of its own, named by the environment as whoever uses the lake reads it."""
    with small_s3() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole stack as `tinycdp up --no-prefect` runs it, for tests of the group "stack"."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0, drain_interval_s=0.1)
    found = up.start(settings, with_prefect=False)
    running = RunningStack(found, settings)
    try:
        yield running
    finally:
        running.http.close()
        up.stop(settings, found)
