"""An id whose events come to be more than a light base keeps, and fewer again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded_redis import EmbeddedRedis
from expressions.rules.windows import DAY_MS, HOUR_MS, MINUTE_MS
from serving.people.gather import gather
from serving.people.person import DecodedBases, person
from tests.properties.protocol_truth import IDS
from tests.properties.protocol_world import World

ANN = 0
LIGHT_EVENTS_MAX = 4
#: Windows of the definitions reach back a day: three events that leave it within three hours, and three more.
OLD_MS = (DAY_MS - HOUR_MS, DAY_MS - 90 * MINUTE_MS, DAY_MS - 150 * MINUTE_MS)
NEW_MS = (0, 20 * MINUTE_MS, 59 * MINUTE_MS)


@pytest.fixture
def world(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[World]:
    """A system in which an id of five events is heavy."""
    made = World(redis_server, tmp_path, LIGHT_EVENTS_MAX)
    yield made
    made.close()


def is_heavy(world: World) -> bool:
    """How ann's base is cut, once her answers are found to be exact and those of brute force."""
    world.check()
    reading = world.store.follow(gather(world.store.operations, IDS[ANN]))
    answers = person(reading._replace(clock_ms=world.now_ms), world.catalogue(), DecodedBases()).answers(
        world.catalogue().definitions
    )
    assert answers.exact and not answers.warming
    (record,) = reading.records
    return record.stamp is not None and record.stamp.horizon_ms > 0


def rebuilt(world: World) -> bool:
    """How ann's base is cut after a rebuild of everything."""
    world.drain(100_000, None)
    world.build(None)
    world.finish(0)
    return is_heavy(world)


@pytest.mark.deep
def test_an_id_that_crosses_the_light_limit_both_ways_is_exact_all_along(world: World) -> None:
    """Light, heavy, light, heavy, light: with events in the tail and without, before and after each rebuild, on both
    sides of each millisecond at which an event leaves a window."""
    for _ in range(2):
        for age_ms in OLD_MS:
            world.send(ANN, "buy", age_ms)
        assert not rebuilt(world)

        for age_ms in NEW_MS:
            world.send(ANN, "buy", age_ms)
            assert not is_heavy(world), "what comes stays in the tail until a rebuild"
        assert rebuilt(world)

        begun_ms = world.now_ms
        seen = []
        for leaves_ms in sorted({DAY_MS - age_ms for age_ms in OLD_MS} | {HOUR_MS - age_ms for age_ms in NEW_MS}):
            for at_ms in (leaves_ms - 1, leaves_ms):
                while begun_ms + at_ms > world.now_ms:  # in less than a horizon at a time, with the rebuild that is due
                    world.tick(min(begun_ms + at_ms - world.now_ms, 45 * MINUTE_MS))
                    is_heavy(world)
                    seen.append(rebuilt(world))
        assert seen == sorted(seen, reverse=True) and True in seen and not seen[-1], "heavy for a while, then light"
        world.tick(DAY_MS)
        assert not rebuilt(world)
    world.settle()
