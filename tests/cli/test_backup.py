"""What a backup holds, what `tinycdp restore` refuses, and in which words."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest
import redis

from cli.backup import Backup, BackupError, back_up, read_backup
from cli.parts import run_api, run_drain, run_worker
from cli.restore import restore
from cli.restoring import FILE, NotRestored
from cli.stack_parts import plan_stack
from cli.up import StackError, start
from lake.copies import copy_lake
from lake.lake import Lake
from lake.schemas import MEMBERSHIPS, RUNS, TRAITS
from lake.stored_files import StoredFiles
from serving.settings import Settings
from serving.store.errors import OtherSetting
from tests.pipelines.world import World, purchase


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system on a Redis of the operator's own, with an event that is drained, and keys."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    world = World(redis_url, tmp_path / "home", shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ada", 1)])
    world.drain().step()
    (tmp_path / "home" / "keys.json").write_text("{}")
    return world


def backed_up(world: World, folder: Path) -> Backup:
    """A backup of a world, in a folder."""
    return back_up(world.store, world.lake, world.settings, folder)


def elsewhere(folder: Path, **settings: object) -> Settings:
    """The settings of whoever restores: the world's, on a home of their own and an embedded Redis."""
    return Settings.model_validate({"home": folder, "shards": 2, **settings})


def test_a_backup_has_the_lake_the_keys_and_the_settings_and_no_secret_beside_the_keys(
    world: World, tmp_path: Path
) -> None:
    """The address of a Redis, which may have a password, is no part of it."""
    made = backed_up(world, tmp_path / "copy")

    assert read_backup(tmp_path / "copy") == made
    assert (made.redis, made.has_lake, sum(made.drained)) == (None, True, 1)
    assert made.fixed == {"shards": "2", "time_zone": "UTC"}
    assert "keys.json" in made.files
    assert "redis://" not in (tmp_path / "copy" / "backup.json").read_text()


def test_a_backup_waits_until_the_lake_has_what_a_redis_of_one_s_own_had(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the drain does not bring it there, the backup fails and says so."""
    world.ingest([purchase("ada", 2)])
    monkeypatch.setattr("cli.backup.DRAIN_S_MAX", 0.0)

    with pytest.raises(BackupError, match="the lake lacks 1 events"):
        backed_up(world, tmp_path / "copy")
    with pytest.raises(BackupError, match="was cut off"):
        restore(elsewhere(tmp_path / "new"), tmp_path / "copy")


def test_a_copy_has_no_run_whose_answers_it_lacks(world: World, tmp_path: Path) -> None:
    """Though a rebuild ends between any two tables: each is copied before those that were written before it."""
    world.define("segment", {"buyers": "orders >= 1"})
    world.rebuild()
    answered, begun = {RUNS.name, TRAITS.name, MEMBERSHIPS.name}, set[str]()

    def rebuild_after(path: str) -> None:
        table = path.partition("/")[0]
        if table in answered and table not in begun:  # its version is pinned by now
            begun.add(table)
            world.rebuild()

    copy_lake(world.lake.root, StoredFiles(str(tmp_path / "copy")), on_file=rebuild_after)

    copy = Lake(str(tmp_path / "copy"))
    run = copy.runs().filter(pl.col("kind") == "full").select(pl.col("build").max()).collect().item()
    answers = [copy.latest(table).select(pl.col("build").max()).collect().item() for table in (TRAITS, MEMBERSHIPS)]
    assert begun == answered
    assert answers[0] >= answers[1] >= run


def test_a_folder_that_is_not_empty_is_not_written_into(world: World, tmp_path: Path) -> None:
    """Nor is a file taken for a folder."""
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(BackupError, match="is not empty"):
            backed_up(world, folder)


def test_the_lake_is_restored_and_answers(world: World, redis_url: str, tmp_path: Path) -> None:
    """Without a copy of Redis an empty one is recovered from the lake."""
    backed_up(world, tmp_path / "copy")

    restored = restore(elsewhere(tmp_path / "new"), tmp_path / "copy")

    assert not restored.has_redis
    assert (tmp_path / "new" / "keys.json").read_text() == "{}"
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    again = World(redis_url, tmp_path / "new", shards=2)
    again.recover()
    assert again.values("ada") == {"orders": 1}


@pytest.mark.parametrize("held", ["keys.json", "lake/events/part.parquet", "redis/appendonly.aof"])
def test_a_home_that_has_something_is_refused_and_stays(world: World, tmp_path: Path, held: str) -> None:
    """A restore replaces nothing."""
    backed_up(world, tmp_path / "copy")
    path = tmp_path / "new" / held
    path.parent.mkdir(parents=True)
    path.write_text("mine")

    with pytest.raises(BackupError, match="a restore replaces nothing"):
        restore(elsewhere(tmp_path / "new"), tmp_path / "copy")
    assert [file for file in (tmp_path / "new").rglob("*") if file.is_file() and file.name != "up.lock"] == [path]


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_damaged_backup_is_refused_and_no_stack_starts_on_what_came_of_it(
    world: World, tmp_path: Path, is_gone: bool
) -> None:
    """A file with a byte changed, or without one, is named. The home is marked, for `up` and for the next restore."""
    made = backed_up(world, tmp_path / "copy")
    backed_up(world, tmp_path / "whole")
    name = next(path for path in made.files if path.startswith("lake/events/") and path.endswith(".parquet"))
    path = tmp_path / "copy" / name
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    settings = elsewhere(tmp_path / "new", port=0, redis_port=0, prefect_port=0)

    with pytest.raises(BackupError, match=f"{name} is (gone|damaged)"):
        restore(settings, tmp_path / "copy")
    with pytest.raises(StackError, match="did not end"):
        start(settings, with_prefect=False)
    lake = elsewhere(tmp_path / "new", lake_uri=str(tmp_path / "lake"))
    with pytest.raises(NotRestored, match="remove that folder"):
        restore(lake, tmp_path / "whole")
    assert (tmp_path / "new" / FILE).exists()
    for run in (run_api, run_drain, run_worker):  # each alone, as under a service manager
        with pytest.raises(NotRestored, match="remove that folder"):
            run(elsewhere(tmp_path / "new", redis_url="redis://127.0.0.1:1/0"))


def test_other_fixed_settings_are_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    """A system's shards and its zone are those of its backup."""
    backed_up(world, tmp_path / "copy")

    with pytest.raises(OtherSetting):
        restore(elsewhere(tmp_path / "new", shards=3), tmp_path / "copy")
    assert not (tmp_path / "new").exists()


def test_a_copy_of_a_newer_redis_is_refused_where_the_server_here_is_older(world: World, tmp_path: Path) -> None:
    """An older server would not start on it."""
    made = backed_up(world, tmp_path / "copy")
    newer = msgspec.structs.replace(made, redis="99.1.0")
    (tmp_path / "copy" / "backup.json").write_bytes(msgspec.json.encode(newer))

    with pytest.raises(BackupError, match="put the newer server on the PATH"):
        restore(elsewhere(tmp_path / "new"), tmp_path / "copy")
    assert not (tmp_path / "new").exists()


def test_what_a_killed_backup_left_beside_the_log_of_redis_goes_at_the_next_start(tmp_path: Path) -> None:
    """It may hold people who are deleted later. The log itself stays."""
    folder = tmp_path / "redis"
    folder.mkdir()
    for name in ("dump.rdb", "temp-4711.rdb", "appendonly.aof"):
        (folder / name).write_bytes(b"")

    plan_stack(elsewhere(tmp_path, port=0), tmp_path, with_prefect=False)

    assert [path.name for path in folder.iterdir()] == ["appendonly.aof"]
