"""What one API process serves with, where it and the other processes know different definitions."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving.app import engine_of
from serving.definitions.catalogue import Catalogue
from serving.ingest.accept import Limits, accept
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
