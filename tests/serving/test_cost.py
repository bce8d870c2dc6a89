"""What an event costs Redis, in commands: the same whatever is known already."""

from __future__ import annotations

from pathlib import Path

import redis

from tests.pipelines.world import World, purchase


def commands(client: redis.Redis, world: World, number: int) -> int:
    """How many commands one more event takes, those of its script included."""
    client.config_resetstat()
    world.store.ask(world.store.operations.now_ms())  # so that no script is sent anew within what is counted
    before = sum(stat["calls"] for stat in client.info("commandstats").values())
    world.ingest([purchase("ada", number)])
    return int(sum(stat["calls"] for stat in client.info("commandstats").values()) - before)


def test_an_event_costs_the_same_whatever_the_history_and_the_definitions(redis_url: str, tmp_path: Path) -> None:
    """With 600 events before it and thirty definitions as with neither: D-31 was that the cost grew with both."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    with redis.Redis.from_url(redis_url) as client:
        commands(client, world, 0)  # which sends the script
        first = commands(client, world, 1)
        world.ingest(purchase("ada", number) for number in range(2, 600))
        with_history = commands(client, world, 600)
        world.define("trait", {f"t{days}": f"events.purchase.amount.sum_{days}d" for days in range(1, 31)})
        with_definitions = commands(client, world, 601)

    assert first == with_history == with_definitions
