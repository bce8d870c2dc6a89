"""What tests of several parts share: a real, private Redis for each test process, an object store, a whole stack.

Fixtures import what they need when they are first asked for, so that a room without Redis and stack starts at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests import deep_tests

if TYPE_CHECKING:
    from cli.embedded_redis import EmbeddedRedis
    from tests.demo import Demo
    from tests.running import RunningStack
    from tests.small_s3 import SmallS3


#: What the tests of a group share: a stack, what runs beside it.
SHARED = pytest.StashKey[ExitStack]()

#: Variables by which programs choose how wide and how coloured they print.
TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Leaves deep tests out. Looks for garbage rarely: ten thousand tests would be looked through over and over.

    And lets programs that tests start print the same wherever that is: pytest has read these variables before.
    """
    from serving.garbage import look_rarely

    config.pluginmanager.register(deep_tests)
    look_rarely()
    for name in TERMINAL:
        os.environ.pop(name, None)


#: Of a longer text only so many characters are in the name of a test: each process hands the names of all on, twice.
NAME_CHARACTERS_MAX = 80


def pytest_make_parametrize_id(val: object) -> str | None:
    """The start of a long text and its length, in a test's name."""
    if isinstance(val, str | bytes) and len(val) > NAME_CHARACTERS_MAX:
        text = val if isinstance(val, str) else val[:NAME_CHARACTERS_MAX].decode("latin-1")
        return f"{ascii(text[:NAME_CHARACTERS_MAX])[1:-1]} and so on, {len(val)} in all"
    return None


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for processes of their own."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuses a test that shares a stack and is not of its group.

    Where several processes take tests, those that take long come first, so that no process works on alone at the end:
    they are the tests with a timeout of their own. Groups begin before all others; xdist sees to that.
    """
    for item in items:
        if "shared" in item.fixturenames and group_of(item) is None:
            raise pytest.UsageError(f"{item.nodeid}: it shares a stack, so it needs the mark xdist_group of that stack")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends what a group shares after its last test: a stack that nobody asks anything takes a tenth of a processor.

    Only xdist runs the tests of a group without others between them; it writes the group behind their ids then.
    """
    group = group_of(item)
    is_by_group = group is not None and item.nodeid.endswith(f"@{group}")
    if is_by_group and nextitem is not None and group_of(nextitem) != group and SHARED in item.config.stash:
        item.config.stash[SHARED].close()


def group_of(item: pytest.Item) -> str | None:
    """The group of tests that run in one process, by its mark."""
    mark = item.get_closest_marker("xdist_group")
    return None if mark is None else str(mark.args[0])


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Iterator[ExitStack]:
    """Keeps what is entered here until the last test of the group is over."""
    with ExitStack() as shared:
        request.config.stash[SHARED] = shared
        yield shared


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
def stack(tmp_path_factory: pytest.TempPathFactory, shared: ExitStack) -> RunningStack:
    """The whole stack as `tinycdp up --no-prefect` runs it, for tests of the group "stack"."""
    from tests.running import stack_on

    return shared.enter_context(stack_on(tmp_path_factory.mktemp("home"), drain_interval_s="0.2"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, shared: ExitStack) -> Demo:
    """What `tinycdp demo` leaves running, for tests of the group "demo"."""
    from tests.demo import demo_on

    return shared.enter_context(demo_on(tmp_path_factory.mktemp("demo")))
