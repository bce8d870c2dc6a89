"""What one API process serves with, where it and the other processes know different definitions."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from lake.schemas import EVENTS
from serving.access.keys import raw_keys
from serving.app import create_app, engine_of
from serving.definitions.catalogue import Catalogue
from serving.ingest.accept import Limits, accept
from serving.times import rfc3339
from tests.pipelines.world import World, purchase


def test_events_checked_by_older_definitions_are_projected_by_the_newer_ones(redis_url: str, tmp_path: Path) -> None:
    """A shard sends them back, and they are sent again: the tail has what the new definition reads, each event once."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})

    async def main() -> Catalogue | None:
        engine = engine_of(world.settings)
        older = await engine.known_catalogue()
        world.define("trait", {"spent": "events.purchase.amount.sum"})
        event = accept(purchase("ada", 1, properties={"amount": 5}), Limits())
        receipts, refused = await engine.ingest([event], older)
        assert not receipts.outcomes[0].duplicate and not refused
        await engine.store.close()
        engine.admin_store.close()
        return engine.catalogue

    newer = asyncio.run(main())

    assert newer is not None and newer.version == world.catalogue.version
    assert world.values("ada") == {"orders": 1, "spent": 5}


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_process_goes_by_the_clock_of_redis(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The clock of an API's machine is two hours off, or steps while it works: what it asks of the lake is as of Redis'
    clock, as decisions are, and so is the time of an event whose client said when it was sent."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"in_an_hour": "events.purchase.count_1h"})
    true_ns, off_ns = time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + off_ns)

    async def main() -> None:
        nonlocal off_ns
        app = create_app(world.settings)
        engine = app.state.engine = engine_of(world.settings, app.state.tally)
        await engine.learn_clock()
        off_ns = hours * 3_600 * 10**9
        assert abs(engine.clock_ms() - world.store.now_ms()) < 60_000
        now = rfc3339(world.store.now_ms())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api") as http:
            answer = await http.post(
                "/v1/track",
                headers={"Authorization": f"Bearer {raw_keys(world.settings)['write']}"},
                json=purchase("ada", 1, timestamp=now, sentAt=now),
            )
            assert answer.status_code == 200, answer.text
        await engine.store.close()
        engine.admin_store.close()

    asyncio.run(main())

    assert world.values("ada") == {"in_an_hour": 1}
    world.drain().step()
    (row,) = world.lake.scan(EVENTS).select("ts", "received_at").collect().to_dicts()
    assert abs(row["received_at"] - row["ts"]) < 60_000


def test_a_process_that_never_saw_redis_goes_by_its_own_clock(tmp_path: Path) -> None:
    """While Redis is away at its start there is no other clock."""
    engine = engine_of(World("redis://127.0.0.1:1/0", tmp_path).settings)

    assert abs(engine.clock_ms() - time.time_ns() // 1_000_000) < 60_000
