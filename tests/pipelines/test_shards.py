"""Shards and time zone of a system: fixed by its first recovery, noted in the lake and in Redis, and never guessed."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import redis

from serving.app import create_app
from serving.store.errors import OtherSetting
from serving.store.store import Store
from tests.pipelines.world import World

REMEDY = "made with TINYCDP_SHARDS=4.*set TINYCDP_SHARDS=4"


def test_another_number_of_shards_is_refused_and_nothing_is_changed(redis_url: str, tmp_path: Path) -> None:
    """Recovery refuses another number of shards by the lake's note, also when Redis was wiped. With the right number
    the system goes on as before."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.order.count"})
    world.ingest([{"type": "track", "userId": "ada", "event": "order"}])
    world.drain().step()

    for wipes in (False, True):
        if wipes:
            redis.Redis.from_url(redis_url).flushall()
        else:
            redis.Redis.from_url(redis_url).delete(*(f"ready:{{{shard}}}" for shard in range(8)))
        for shards in (2, 8):
            other = World(redis_url, tmp_path, shards=shards)
            before = other.lake.events_version()
            with pytest.raises(OtherSetting, match=REMEDY):
                other.recover()
            assert other.lake.events_version() == before
            assert all(state.ready_run_id is None for state in other.store.shard_states())
        assert world.recover()
        world.rebuild()
        assert world.values("ada") == {"orders": 1}


def test_processes_look_as_they_start(redis_url: str, tmp_path: Path) -> None:
    """A store with another number of shards says so as it starts, and the API does not begin. On a new server any
    number is right."""
    with Store(redis_url, 7) as store:
        store.require_shards()
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    with Store(redis_url, 16) as store, pytest.raises(OtherSetting, match=REMEDY):
        store.require_shards()

    async def begin(shards: int) -> None:
        app = create_app(world.settings.model_copy(update={"shards": shards}))
        async with app.router.lifespan_context(app):
            pass

    anyio.run(begin, 4)
    with pytest.raises(OtherSetting, match=REMEDY):
        anyio.run(begin, 16)


def test_another_time_zone_is_refused(redis_url: str, tmp_path: Path) -> None:
    """Recovery refuses another time zone, also when Redis was wiped: it would count other dates without a word."""
    World(redis_url, tmp_path, shards=4, time_zone="Europe/Berlin").recover()

    for wipes in (False, True):
        client = redis.Redis.from_url(redis_url)
        client.flushall() if wipes else client.delete(*(f"ready:{{{shard}}}" for shard in range(4)))
        with pytest.raises(OtherSetting, match="set TINYCDP_TIME_ZONE=Europe/Berlin"):
            World(redis_url, tmp_path, shards=4).recover()
