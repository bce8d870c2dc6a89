"""A lake in a folder whose path libraries take for an address, or for a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.lake import Lake
from lake.schemas import EVENTS, TABLES
from pipelines.maintain import maintain
from pipelines.purge.purge_now import purge_now
from tests.pipelines.world import World, purchase


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("name", ["plain", "Käse & Brot 5%", "a#b?c", "a*b{c};d", "%zz<>\"'`"])
def test_a_lake_reads_back_what_it_wrote_whatever_its_folder_is_called(
    redis_url: str, tmp_path: Path, name: str
) -> None:
    """Events, answers and definitions are read back by another process of the stack; purge and maintenance work."""
    root = tmp_path / name / "lake"
    World(redis_url, tmp_path, lake_root=str(root), shards=2).recover()
    for number in range(2):
        world = World(redis_url, tmp_path, lake_root=str(root), shards=2)  # as after a start
        world.define("trait", {"orders": "events.purchase.count"})
        world.ingest(purchase(user, number) for user in ("ann", "bob"))
        world.drain().step()
        world.rebuild()
        assert world.values("ann") == {"orders": number + 1}

    pinned = world.lake.open(EVENTS).version() - 1
    assert world.lake.scan(EVENTS, pinned).collect().height == 2
    maintain(world.lake)
    purge_now(world.store, world.lake, world.settings)
    assert [world.lake.missing_files(table) for table in TABLES] == [[]] * len(TABLES)
    assert Lake(str(root)).events().collect().height == 4
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing lies beside the folder"
