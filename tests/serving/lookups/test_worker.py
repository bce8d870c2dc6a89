"""Turns of questions: somebody who looks at people waits for no preview."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serving.definitions.catalogue import Catalogue, encode
from serving.history import Source
from serving.lookups import worker
from serving.lookups.people import search
from serving.lookups.unsaved_expressions import cost, preview
from serving.lookups.worker import in_worker
from tests.pipelines.world import World

WITHIN_S = 60


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """Two people with an event each."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.ingest(
        [
            {"type": "track", "event": "seen", "messageId": "1", "userId": "ada"},
            {"type": "track", "event": "seen", "messageId": "2", "userId": "bob"},
        ]
    )
    world.drain().step()
    return world


def test_neither_a_search_nor_a_check_waits_for_a_preview(world: World) -> None:
    """While a preview runs, a search and a check are answered."""
    catalogue = encode(Catalogue())

    async def main() -> dict[str, Any]:
        async with worker.PREVIEWS:
            previewing = asyncio.create_task(
                in_worker(preview, Source(world.lake.root), catalogue, "trait", "events.seen.count", 2**40, 5)
            )
            page = await asyncio.wait_for(in_worker(search, Source(world.lake.root), "", 50, 0), WITHIN_S)
            costing = in_worker(cost, Source(world.lake.root), catalogue, "trait", "events.seen.count", 2**40)
            assert await asyncio.wait_for(costing, WITHIN_S)
            assert not previewing.done()
        assert (await asyncio.wait_for(previewing, WITHIN_S))["total"] == 2
        return page

    assert asyncio.run(main())["total"] == 2
