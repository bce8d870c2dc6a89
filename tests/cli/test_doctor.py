"""What `tinycdp doctor` finds in the lake, and its remedy."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from cli import up
from cli.doctor import asks_for_password, examine, forget_missing_files, is_on_this_home, report_text
from cli.home_rights import close_home
from cli.json_lines import JsonLines
from cli.orphans import part_lock, supervisor_lock
from cli.process_lock import sign, take
from cli.redis_log import damage_of
from cli.stack import Stack, write_stack
from cli.up import StackError
from lake.errors import LakeDamaged, LakeError
from lake.lake import Lake
from lake.schemas import EVENTS, RUNS, Table
from lake.storage import FIXED
from pipelines.due import FORESEEN
from pipelines.heartbeat import beat
from serving.app import engine_of
from serving.presence import FORGOTTEN_MS, SILENT_MS, ApiProcess, Presence
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


@pytest.mark.parametrize("table", [EVENTS, RUNS], ids=lambda table: table.name)
@pytest.mark.parametrize("left", [0, 40], ids=["empty", "cut off"])
def test_a_damaged_log_of_a_table_is_named_with_the_remedy(
    redis_url: str, tmp_path: Path, table: Table, left: int
) -> None:
    """The newest commit of a table lost its bytes: doctor names the file, does not read the table, and tells the rest.

    Delta takes an empty commit for one that did nothing, so nobody else would say what is lost.
    """
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    world.rebuild()
    newest = max(Path(world.lake.root, table.name, "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:left])
    lake = Lake(world.lake.root)
    if left:
        with pytest.raises(LakeError) as error:
            lake.open(table)
        assert "\n" not in str(error.value), "one line, without Delta's own trace"

    report = examine(world.store, lake, world.settings, 10)

    path = str(newest.relative_to(world.lake.root))
    assert report["damaged_logs"] == {table.name: [path]} and not report["well"]
    text = " ".join(report_text(report).split())
    told = f"the log of {table.name} is damaged in {path}. Bring that from a backup"
    assert told in text
    if left:
        with pytest.raises(LakeDamaged, match=re.escape(told)):
            lake.require_whole_log(table)
    else:
        lake.require_whole_log(table)


def test_a_checkpoint_that_is_gone_is_named_with_the_remedy(redis_url: str, tmp_path: Path) -> None:
    """The note of it keeps Delta from reading anything. Without the note the table is read commit by commit."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    world.lake.open(EVENTS).create_checkpoint()
    log = Path(world.lake.root, "events", "_delta_log")
    next(log.glob("*.checkpoint*.parquet")).unlink()
    lake = Lake(world.lake.root)

    with pytest.raises(LakeDamaged, match=r"events/_delta_log/_last_checkpoint is cut off, or names a checkpoint"):
        lake.require_whole_log(EVENTS)
    report = examine(world.store, lake, world.settings, 10)
    assert report["damaged_logs"] == {"events": ["events/_delta_log/_last_checkpoint"]} and not report["well"]
    assert "move that file away" in " ".join(report_text(report).split())

    (log / "_last_checkpoint").unlink()
    lake.require_whole_log(EVENTS)
    assert lake.events().collect().height == 1


def test_a_damaged_note_of_the_fixed_settings_is_told(redis_url: str, tmp_path: Path) -> None:
    """Without it no Redis is recovered: doctor and the drain name the file and the remedy, and `up` starts nothing.

    Once it is removed a recovery notes the settings anew.
    """
    world = World(redis_url, tmp_path, shards=2, lake_uri=str(tmp_path / "lake"))
    world.recover()
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    note = tmp_path / "lake" / FIXED
    whole = note.read_bytes()
    note.write_bytes(whole[:7])

    with pytest.raises(LakeDamaged, match=r"system\.json is damaged.*remove it"):
        examine(world.store, world.lake, world.settings, 1)
    with pytest.raises(StackError, match=r"system\.json is damaged.*remove it"):
        up.start(world.settings, with_prefect=False)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with pytest.raises(LakeDamaged):
        world.recover()
    assert all(state.ready_run_id is None for state in world.store.shard_states())

    note.unlink()
    world.recover()
    assert note.read_bytes() == whole
    assert world.lake.events().collect().height == 1


@pytest.mark.parametrize("left_ms", [-1_000, 600_000], ids=["passed", "not yet"])
def test_a_horizon_that_has_passed_says_what_to_do(redis_url: str, tmp_path: Path, left_ms: int) -> None:
    """The last rebuild of everybody was so long ago that values of busy ids are not exact: doctor says so, and what to
    do. After that it is well; nor is a rebuild of single ids, however new, taken for one of everybody."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    world.rebuild()
    last = world.lake.last_run()
    assert last is not None
    long_ago_ms = world.store.now_ms() - world.settings.horizon_ms + left_ms
    world.lake.append_run({**last, "build": last["build"] + 1, "as_of": long_ago_ms})
    world.lake.append_run({**last, "build": last["build"] + 2, "kind": "ids"})

    def horizon() -> tuple[float, list[str]]:
        report = examine(world.store, world.lake, world.settings, 0)
        (line,) = [line for line in report_text(report).splitlines() if line.startswith("horizon left")]
        return report["horizon_left_s"], line.split(": ", 1)[1:]

    left_s, remedy = horizon()
    assert left_s <= left_ms / 1000
    assert (left_s > 0) == (not remedy) == (left_ms > 0)
    assert all("`tinycdp rebuild`" in text and "no longer exact" in text for text in remedy)
    if remedy:
        assert not examine(world.store, world.lake, world.settings, 0)["well"]
        world.rebuild()
        assert horizon() == (pytest.approx(world.settings.horizon_ms / 1000, abs=120), [])


def test_parts_that_are_silent_say_what_to_start(redis_url: str, tmp_path: Path) -> None:
    """Of a Redis of one's own no supervisor tells: drain, worker and API are to be started."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()

    report = examine(world.store, world.lake, world.settings, 0)

    assert report["parts"] == {"drain": None, "worker": None, "api": None} and not report["well"]
    for part in ("tinycdp drain", "tinycdp worker", "tinycdp api"):
        assert part in report_text(report)


def test_api_processes_are_known_with_a_redis_of_ones_own(redis_url: str, tmp_path: Path) -> None:
    """Each says where it answers. One that ended in order is not missed, one that fell silent is named."""
    world = World(redis_url, tmp_path, shards=2, host="::1", port=4007)
    world.recover()

    def told() -> Any:
        return examine(world.store, world.lake, world.settings, 0)

    async def live() -> dict[str, Any]:
        engine = engine_of(world.settings)
        presence = Presence(engine)
        saying = asyncio.create_task(presence.run())
        while not world.store.processes():
            await asyncio.sleep(0)
        while_it_runs: dict[str, Any] = told()
        saying.cancel()
        await presence.leave()
        await engine.store.close()
        engine.admin_store.close()
        return while_it_runs

    runs = asyncio.run(live())
    (process,) = runs["api_processes"]
    assert (process["address"], process["silent"], runs["parts"]["api"]) == ("[::1]:4007", False, {})
    assert f"{process['name']} at [::1]:4007, release" in report_text(runs)
    assert told()["api_processes"] == []

    now_ms = world.store.now_ms()
    for name, ago_ms in (("killed", SILENT_MS + 1), ("long gone", FORGOTTEN_MS + 60_000)):
        said = msgspec.json.encode(ApiProcess("10.0.0.7:4000", "1.0", now_ms - ago_ms))
        world.store.beat_process(name, said)
    report = told()
    assert [(one["name"], one["silent"]) for one in report["api_processes"]] == [("killed", True)]
    assert report["parts"]["api"] == {"error": "silent: killed"}
    assert "killed at 10.0.0.7:4000, release 1.0 fell silent" in report_text(report)


READY = "7:M 30 Nov 2026 14:00:00.000 * Ready to accept connections\n"
DAMAGED = (
    "7:M 30 Nov 2026 14:00:01.000 # Bad file format reading the append only file: make a backup of your AOF file, then "
    "use ./redis-check-aof --fix <filename>\n"
)


@pytest.mark.parametrize(
    ("log", "since", "is_damaged"),
    [
        (READY, 0, False),
        (READY + DAMAGED, 0, True),
        (DAMAGED * 3, 0, True),
        (JsonLines("redis").of(DAMAGED.encode()).decode(), 0, True),
        (JsonLines("redis").of((DAMAGED + READY).encode()).decode(), 0, False),
        (DAMAGED + READY, 0, False),
        (READY + DAMAGED, len(READY + DAMAGED), False),
        (DAMAGED, 10_000, True),
        ("7:M 30 Nov 2026 14:00:01.000 # Server initialized\n", 0, False),
        # A name of a command that the damage made up may have the end of a line in it.
        ("7:M 30 Nov 2026 14:00:01.000 # Unknown command 'not\r\n*1' reading the append only file\n", 0, True),
        ("7:M 30 Nov 2026 14:00:01.000 # Internal error in RDB reading offset 6, function at rdb.c:1\n", 0, True),
    ],
    ids=range(11),  # a JSON line has the time at which it was written
)
def test_a_redis_that_cannot_read_its_file_is_told_by_its_log(
    tmp_path: Path, log: str, since: int, is_damaged: bool
) -> None:
    """Only what it said since it was ready last counts, and where asked what it said since then."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "redis.log").write_text(log)

    damage = damage_of(tmp_path, since)

    assert (damage is not None) == is_damaged
    assert damage is None or ("redis-check-aof --fix" in damage and damage.startswith("Redis cannot read its file"))


@pytest.fixture
def well(redis_url: str, tmp_path: Path) -> World:
    """A world with which doctor finds no fault, whose home others cannot open."""
    tmp_path.chmod(0o700)
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    for part in ("drain", "worker"):
        beat(world.store, part, "test", {}, 60_000, is_holder=True)
    api = ApiProcess("127.0.0.1:4000", "0", world.store.server().clock_ms)
    world.store.beat_process("test", msgspec.json.encode(api))
    report = examine(world.store, world.lake, world.settings, 10)
    assert report["well"], report_text(report)
    return world


def test_a_home_that_others_may_open_is_not_well(well: World, tmp_path: Path) -> None:
    """Doctor names what others may open, with the remedy, and is well again once it is closed."""
    tmp_path.chmod(0o755)
    (tmp_path / "keys.json").write_text("{}")
    for name in ("lake", "keys.json"):
        (tmp_path / name).chmod(0o755)

    report = examine(well.store, well.lake, well.settings, 10)

    assert not report["well"]
    assert report["open_to_others"] == [str(tmp_path / "lake"), str(tmp_path / "keys.json")]
    assert f"other users may open {tmp_path / 'lake'}" in report_text(report) and "tinycdp up" in report_text(report)
    close_home(tmp_path)
    assert examine(well.store, well.lake, well.settings, 10)["well"]


def test_a_report_names_some_of_many_paths(well: World, tmp_path: Path) -> None:
    """Of hundreds of paths the first are named, and how many more there are."""
    report = examine(well.store, well.lake, well.settings, 10) | {"open_to_others": [f"/p{n}" for n in range(300)]}

    assert report_text(report).count("other users may open") == 10 and "and 290 more" in report_text(report)


def test_an_own_redis_without_a_password_is_told(well: World) -> None:
    """Somebody's own Redis may be closed by other means: doctor tells of it, and the stack is well all the same."""
    report = examine(well.store, well.lake, well.settings, 10)

    assert report["well"] and not report["redis"]["asks_for_password"]
    assert "asks for no password" in report_text(report)


def test_an_embedded_redis_without_a_password_is_not_well(well: World, tmp_path: Path) -> None:
    """A stack of a version before may still run: its Redis is the one of this home, and whoever reaches it is an
    admin."""
    locks = [take(supervisor_lock(tmp_path)), take(part_lock(tmp_path, "redis"))]
    try:
        for lock in locks:
            sign(lock, os.getpid())
        nowhere = "http://127.0.0.1:1"
        write_stack(tmp_path, Stack(os.getpid(), nowhere, well.settings.redis_url or "", "", 2, None))
        assert is_on_this_home(well.settings)
        report = examine(well.store, well.lake, well.settings, 10)
    finally:
        for lock in locks:
            os.close(lock)

    assert not report["well"] and not report["redis"]["asks_for_password"]


def test_a_password_is_noticed(redis_url: str) -> None:
    """Whether a Redis asks for a password is found out by asking without one, whatever the address holds."""
    assert not asks_for_password(redis_url)
    assert asks_for_password("unix:///run/redis.sock") and asks_for_password("redis://:pw@127.0.0.1:1/0")
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "a-password")
        try:
            assert asks_for_password(redis_url.replace("redis://", "redis://:a-password@"))
        finally:
            client.config_set("requirepass", "")
