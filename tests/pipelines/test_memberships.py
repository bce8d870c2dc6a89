"""Memberships in the lake say since when."""

from __future__ import annotations

from pathlib import Path

from lake.schemas import MEMBERSHIPS
from serving.history import latest_undeleted
from tests.pipelines.world import World, purchase


def test_since_is_the_first_rebuild_that_saw_the_membership(redis_url: str, tmp_path: Path) -> None:
    """`since` stays over later rebuilds, and starts anew for somebody who had left in between."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("segment", {"odd": "events.purchase.count % 2 == 1", "any": "events.purchase.count > 0"})
    seen: list[dict[str, int]] = []
    builds = []
    for number in range(3):
        world.ingest([purchase("ann", number)])
        world.drain().step()
        builds.append(world.rebuild().as_of_ms)
        rows = latest_undeleted(world.lake, MEMBERSHIPS).select("key", "since").collect()
        seen.append(dict(rows.iter_rows()))

    assert seen == [
        {"odd": builds[0], "any": builds[0]},
        {"any": builds[0]},
        {"odd": builds[2], "any": builds[0]},
    ]
