"""Events and answers cost Redis the same number of commands, and an answer the same parsing, whatever is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import httpx
import redis

from expressions.text import parse
from serving.access import made_keys
from serving.access.keys import raw_keys
from serving.app import HOT, create_app, engine_of
from serving.http.hot_paths import Shortcut
from serving.ids import record_of
from serving.people.gather import gather
from serving.people.person import DecodedBases, person
from tests.pipelines.world import World, purchase


def commands(client: redis.Redis, world: World, number: int) -> int:
    """How many commands one more event takes, those of its script included."""
    client.config_resetstat()
    world.store.ask(world.store.operations.now_ms())  # so that no script is sent anew within what is counted
    before = sum(stat["calls"] for stat in client.info("commandstats").values())
    world.ingest([purchase("ada", number)])
    return int(sum(stat["calls"] for stat in client.info("commandstats").values()) - before)


def test_an_event_costs_the_same_whatever_the_history_and_the_definitions(redis_url: str, tmp_path: Path) -> None:
    """An event after 600 others, with thirty definitions, costs as much as the first (D-31: cost grew with both)."""
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
    calls = 0

    def look(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename == parse.__file__

    sys.setprofile(look)
    try:
        call(user)
    finally:
        sys.setprofile(None)
    return calls


def test_an_expression_is_parsed_once_for_everybody(redis_url: str, tmp_path: Path) -> None:
    """A catalogue parses when it is first asked; the answers of people parse nothing (D-33: each one parsed all)."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"})
    world.define("segment", {"buyers": "orders >= 1"})
    catalogue, bases = world.catalogue, DecodedBases()

    def answered(user: str) -> None:
        reading = world.store.follow(gather(world.store.operations, record_of(user)))
        person(reading, catalogue, bases).answers(key for key in catalogue.definitions)

    assert parsed(answered, "ada") > 0
    world.ingest([purchase("ada", 1), purchase("bob", 1)])
    assert [parsed(answered, user) for user in ("ada", "bob", "nobody")] == [0, 0, 0]


def calls_of(client: redis.Redis) -> dict[str, int]:
    """How often each command came since the last reset, less those that count."""
    return {
        name.removeprefix("cmdstat_"): stat["calls"]
        for name, stat in client.info("commandstats").items()
        if not name.startswith(("cmdstat_config", "cmdstat_info"))
    }


def test_a_person_is_found_by_any_id_without_a_search(redis_url: str, tmp_path: Path) -> None:
    """A read costs as much among 500 other people and their devices as alone (D-32: there was no index of aliases)."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ada", number, anonymousId=f"phone{number}") for number in range(3)])
    with redis.Redis.from_url(redis_url) as client:

        def commands_of(id_: str) -> dict[str, int]:
            client.config_resetstat()
            reading = world.store.follow(gather(world.store.operations, record_of(id_)))
            assert len(reading.records) == 4
            return calls_of(client)

        ids = ("ada", "anon:phone2")
        alone = [commands_of(id_) for id_ in ids]
        world.ingest([purchase(f"u{number}", number, anonymousId=f"device{number}") for number in range(500)])
        among_many = [commands_of(id_) for id_ in ids]

    assert among_many == alone
    assert [calls["hgetall"] for calls in alone] == [4, 4]
    assert all(set(calls) == {"hgetall", "time", "get"} for calls in alone), "nothing is scanned"


def test_a_decision_asks_for_its_person_and_for_nothing_else(redis_url: str, tmp_path: Path) -> None:
    """Whether its key is of the configuration or one that an admin made, and whether it decides one flag or thirty.

    D-35: each decision asked the database for its key, and many flags took as many requests.
    """
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.define("flag", {f"offer_{number}": f"orders >= {number}" for number in range(30)})
    world.ingest([purchase("ada", 1)])
    settings = world.settings
    bulk = {"userId": "ada", "flags": [f"offer_{number}" for number in range(30)]}

    async def costs_of_decisions() -> Sequence[dict[str, int]]:
        app = create_app(settings)
        engine = app.state.engine = engine_of(settings, app.state.tally)
        _, made = made_keys.create(engine.admin_store, engine.history, "read", "web", "ada", 0)
        await engine.follow_keys()
        transport = httpx.ASGITransport(app=Shortcut(app, HOT))  # type: ignore[arg-type]
        costs = []
        with redis.Redis.from_url(redis_url) as client:
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                for key in (raw_keys(settings)["read"], made):
                    headers = {"Authorization": f"Bearer {key}"}
                    single = http.build_request("GET", "/v1/decide?userId=ada&flag=offer_1", headers=headers)
                    many = http.build_request("POST", "/v1/decide", headers=headers, json=bulk)
                    for request in (single, many, single, many):  # the first two load what a process keeps
                        client.config_resetstat()
                        answer = await http.send(request)
                        assert answer.status_code == 200, answer.text
                        costs.append(calls_of(client))
        await engine.store.close()
        engine.admin_store.close()
        return [*costs[2:4], *costs[6:8]]

    assert anyio.run(costs_of_decisions) == [{"hgetall": 1, "time": 1, "get": 1}] * 4
