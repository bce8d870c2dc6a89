"""Two stacks with a Redis each on one lake: leases cannot tell, so the drain does, before it drops an event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded_redis import EmbeddedRedis
from pipelines.lives import SharedLake
from tests.pipelines.world import World, purchase

SHARDS = 1


@pytest.fixture
def pair(redis_url: str, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two recovered systems on one lake."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        one, other = (World(url, tmp_path, shards=SHARDS) for url in (redis_url, server.url))
        for world in (one, other):
            world.recover()
        yield one, other
        for world in (one, other):
            world.store.close()


@pytest.mark.parametrize("own", [1, 3, 5], ids=["a shorter log", "as long a log", "a longer log"])
def test_a_drain_that_finds_the_commits_of_another_redis_stops(pair: tuple[World, World], own: int) -> None:
    """However many events each has: the later drain raises again and again, keeps its log, and commits nothing."""
    one, other = pair
    drains = [world.drain() for world in pair]
    for drain in drains:
        drain.step()
    one.ingest([purchase("ada", number) for number in range(3)])
    other.ingest([purchase("bob", number) for number in range(own)])
    assert drains[0].step().rows == 3

    for _ in range(2):
        with pytest.raises(SharedLake, match="TINYCDP_LAKE_URI"):
            drains[1].step()

    assert [entry.event.id for entry in other.store.read_log(0, 0, 10)] == ["user:bob"] * own
    assert one.lake.events().collect().get_column("id").to_list() == ["user:ada"] * 3
    one.ingest([purchase("ada", 3)])
    assert drains[0].step().rows == 1, "the other goes on"


def test_a_drain_that_shares_the_redis_goes_on(pair: tuple[World, World]) -> None:
    """A second drain of one stack may commit and trim meanwhile: what it did is our own, in the log or not."""
    one, _ = pair
    drains = [one.drain(), one.drain()]
    for number in range(4):
        one.ingest([purchase("ada", 200 * number + event) for event in range(150)])
        assert drains[number % 2].step().rows == 150

    assert one.seqs(0) == list(range(1, 601))
