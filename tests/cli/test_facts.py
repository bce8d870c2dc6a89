"""The known counts of real purchases: import the file, save the rules, count as of a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.embedded_redis import EmbeddedRedis
from cli.users import users_having
from expressions.rules.values import instant_ms
from pipelines.importing.import_file import import_file
from tests.facts import CDNOW, COUNTED, FACTS
from tests.pipelines.world import World

pytestmark = pytest.mark.xdist_group("facts")

AS_OF_MS = instant_ms(FACTS["as_of"])


@pytest.fixture(scope="module")
def purchases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A system with all 69,659 purchases at their own times, and a segment for each fact."""
    folder = tmp_path_factory.mktemp("facts")
    with EmbeddedRedis(folder / "redis") as server:
        world = World(server.url, folder, lake_uri=str(folder / "lake"))
        world.recover()
        world.define("segment", COUNTED)
        imported = import_file(
            world.lake,
            CDNOW / "purchases.parquet",
            user_column="user_id",
            event_column="event",
            time_column="timestamp",
            now_ms=world.store.now_ms(),
            shards=world.settings.shards,
        )
        assert (imported.accepted, imported.rejected, imported.already) == (FACTS["events"], 0, 0)
        yield world
        world.store.close()


@pytest.mark.parametrize("fact", COUNTED)
def test_as_many_users_are_found_as_are_known(purchases: World, fact: str) -> None:
    """A segment has as many users as of a time as were counted without TinyCDP."""
    assert AS_OF_MS is not None

    assert len(users_having(purchases.store, purchases.lake, fact, AS_OF_MS)) == FACTS[fact]


def test_the_command_prints_the_number_that_is_known(purchases: World) -> None:
    """`tinycdp users FACT --at … --count` prints the number that was counted without TinyCDP."""
    fact = "users_lifetime_count_ge_10"
    settings = purchases.settings
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(settings.home),
        "TINYCDP_REDIS_URL": str(settings.redis_url),
        "TINYCDP_LAKE_URI": settings.lake_root,
    }
    command = [sys.executable, "-m", "cli.main", "users", fact, "--at", FACTS["as_of"], "--count"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)

    assert (done.returncode, done.stdout.strip()) == (0, str(FACTS[fact])), done.stderr
