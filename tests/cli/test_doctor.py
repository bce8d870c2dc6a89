"""What `tinycdp doctor` finds in the lake, and its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor import examine, forget_missing_files, report_text
from lake.schemas import EVENTS, RUNS, Table
from pipelines.due import FORESEEN
from tests.pipelines.world import World, purchase


@pytest.mark.parametrize("table", [EVENTS, RUNS], ids=lambda table: table.name)
def test_a_table_that_names_a_file_that_is_gone_is_found_and_repaired(
    redis_url: str, tmp_path: Path, table: Table
) -> None:
    """Doctor names the table, the file and the remedy, and reads no table that it cannot read. `--repair` takes the
    file out with its rows, and everything is computed again."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    for number in range(2):
        world.ingest([purchase("ann", number)])
        world.drain().step()
        world.rebuild()
    gone = next(Path(world.lake.root, table.name).rglob("*.parquet"))
    gone.unlink()
    with pytest.raises(FORESEEN):
        world.rebuild() if table is EVENTS else world.lake.last_run()

    report = examine(world.store, world.lake, world.settings, 10)
    path = str(gone.relative_to(Path(world.lake.root, table.name)))
    assert report["missing_files"] == {table.name: [path]} and not report["well"]
    assert f"{table.name} names 1 files that are gone, such as {path}" in report_text(report)
    assert "--repair" in report_text(report)

    assert forget_missing_files(world.store, world.lake) == {table.name: 1}
    assert world.store.rebuild_requests().is_full
    world.rebuild()
    report = examine(world.store, world.lake, world.settings, 10)
    assert report["missing_files"] == {} and report["parity"] == {"compared": 1, "differing": []}
    assert world.values("ann") == {"orders": 1 if table is EVENTS else 2}
