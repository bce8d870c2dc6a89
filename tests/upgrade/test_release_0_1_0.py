"""What release 0.1.0 left is taken over: today's release gives the answers that 0.1.0 gave, and works on.

`release_0_1_0.tar.xz` holds a lake and the log of a Redis that the code of 0.1.0 wrote (two shards, `light_events_max`
20), and what it answered then. An id is light, one is heavy, one linked, one deleted; one has a base and events that no
rebuild counted; the newest events are not drained. All events are of March 2024.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.doctor import parity
from cli.embedded_redis import EmbeddedRedis
from pipelines.maintain import maintain
from tests.faults.parts import await_drained
from tests.pipelines.world import World, purchase
from tests.running import stack_on

FIXTURE = Path(__file__).parent / "release_0_1_0.tar.xz"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as 0.1.0 left it."""
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def upgraded(home: Path) -> Iterator[World]:
    """A system of today's code on that home, as it is after the first look of the drain."""
    with EmbeddedRedis(home / "redis") as server:
        world = World(server.url, home, shards=2, light_events_max=20)
        world.recover()
        yield world
        world.store.close()


def expected(home: Path) -> dict[str, dict[str, Any]]:
    """user -> the values of all traits and segments, as 0.1.0 answered."""
    answers: dict[str, dict[str, Any]] = json.loads((home / "expected.json").read_text())
    return answers


def assert_as_before(world: World) -> None:
    """Asserts that the answers are those of 0.1.0, to the bit and in type."""
    for user, values in expected(world.settings.home).items():
        assert repr(sorted(world.values(user).items())) == repr(sorted(values.items())), user


def test_answers_are_those_of_before(upgraded: World) -> None:
    """From the records that 0.1.0 made, at once; after a drain and a rebuild; and when maintenance was there."""
    assert_as_before(upgraded)

    upgraded.drain().step()
    upgraded.rebuild()
    assert_as_before(upgraded)
    assert upgraded.answers("hal").exact

    maintain(upgraded.lake)
    assert_as_before(upgraded)
    compared, differing = parity(upgraded.store, upgraded.lake, 100)
    assert (compared, differing) == (36, [])


def test_work_goes_on(upgraded: World) -> None:
    """Events are added to what 0.1.0 counted, and seqs go on where it was."""
    upgraded.ingest([purchase("ada", 7), purchase("bob", 3), purchase("gone", 9)])
    upgraded.drain().step()
    for _ in range(2):
        orders = {user: upgraded.values(user)["orders"] for user in ("ada", "anon:phone", "bob", "gone")}
        assert orders == {"ada": 8, "anon:phone": 8, "bob": 3, "gone": 1}
        upgraded.rebuild()
    for shard in range(2):
        assert upgraded.seqs(shard) == list(range(1, len(upgraded.seqs(shard)) + 1))


def test_the_lake_of_before_is_enough(upgraded: World) -> None:
    """A Redis that was lost is brought back from what 0.1.0 wrote, definitions included."""
    upgraded.drain().step()
    with redis.Redis.from_url(str(upgraded.settings.redis_url)) as client:
        client.flushall()

    upgraded.recover()

    assert_as_before(upgraded)
    assert ("flag", "beta") in upgraded.catalogue.definitions


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_stack_starts_on_the_home_and_is_well(home: Path) -> None:
    """As whoever upgrades starts it: `tinycdp up` on the home."""
    with stack_on(home, shards="2", light_events_max="20", drain_interval_s="0.1") as stack:
        await_drained(stack)
        stack.tinycdp("rebuild")
        for user, values in expected(home).items():
            if ":" not in user:
                answer = stack.traits(user)
                said = {key: value for key, value in values.items() if key in answer["traits"]}
                assert answer["traits"] == said and len(said) == 10, user
        assert [stack.decide(user, "beta")["value"] for user in ("ada", "bob")] == [True, False]
        assert stack.json("doctor")["well"]
