"""What an event costs Redis, in commands, and an answer in parsing: the same whatever is known already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import redis

from expressions import parse
from serving.identity import gathered
from serving.ids import record_of
from serving.profile import Bases, person
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


def parsed(call: Callable[[str], None], user: str) -> int:
    """How many functions of the parser a call runs through."""
    found = 0

    def look(frame: FrameType, event: str, _: Any) -> None:
        nonlocal found
        found += event == "call" and frame.f_code.co_filename == parse.__file__

    sys.setprofile(look)
    try:
        call(user)
    finally:
        sys.setprofile(None)
    return found


def test_an_expression_is_parsed_once_for_everybody(redis_url: str, tmp_path: Path) -> None:
    """A catalogue parses when it is first asked; the answers of people parse nothing (D-33: each one parsed all)."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"})
    world.define("segment", {"buyers": "orders >= 1"})
    catalogue, bases = world.catalogue, Bases()

    def answered(user: str) -> None:
        reading = world.store.follow(gathered(world.store.operations, record_of(user)))
        person(reading, catalogue, bases).answers(key for key in catalogue.definitions)

    assert parsed(answered, "ada") > 0
    world.ingest([purchase("ada", 1), purchase("bob", 1)])
    assert [parsed(answered, user) for user in ("ada", "bob", "nobody")] == [0, 0, 0]
