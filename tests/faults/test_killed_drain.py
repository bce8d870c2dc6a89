"""A drain whose process is killed at any step of its round leaves the lake exact, and the next drain goes on."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue

import pytest

from lake.lake import Lake
from lake.schemas import EVENTS, RETENTION_HOURS
from pipelines.maintain import maintain
from tests.faults.draining import SHARDS
from tests.faults.truth import assert_lake_is_exact
from tests.faults.victims import killed
from tests.pipelines.world import World, purchase
from tests.small_s3 import SmallS3


def filled(redis_url: str, folder: Path, lake_root: str | None = None) -> World:
    """A system with forty purchases in its log, and none in its lake."""
    world = World(redis_url, folder, lake_root=lake_root, shards=SHARDS)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest(purchase(f"u{number % 9}", number) for number in range(40))
    return world


def assert_each_once(world: World) -> None:
    """Sends thirty purchases, ten of them repeats, drains and rebuilds; asserts that sixty count, each once."""
    world.ingest(purchase(f"u{number % 9}", number) for number in range(30, 60))
    world.drain().step()
    world.rebuild()
    assert_lake_is_exact(world.lake.root)
    assert sum(world.values(f"u{number}")["orders"] for number in range(9)) == 60


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("step", ["checked", "read", "linked", "before_write", "after_write", "trimmed"])
def test_a_drain_killed_at_any_step_leaves_each_seq_once(redis_url: str, tmp_path: Path, step: str) -> None:
    """A drain that dies at any step loses no event and leaves none twice, while more events come in."""
    world = filled(redis_url, tmp_path)

    killed("tests.faults.draining", redis_url, str(tmp_path), world.lake.root, step)

    assert_each_once(world)


def is_file(method: str, key: str) -> bool:
    """Whether a request writes a file of events."""
    return method == "PUT" and "/events/" in key and key.endswith(".parquet")


def is_commit(method: str, key: str) -> bool:
    """Whether a request writes a commit of events."""
    return method == "PUT" and "/events/_delta_log/" in key


def maintained(lake: Lake) -> int:
    """Maintains on a day before all others, so that nothing is compacted; returns how many files of events went."""
    removed: int = maintain(lake, datetime(2000, 1, 1, tzinfo=UTC))["events"]["removed"]
    return removed


def strays(store: SmallS3, lake: Lake) -> list[str]:
    """The files of events that stand in no version."""
    known = [uri.partition(f"{store.bucket}/")[2] for uri in lake.open(EVENTS).file_uris()]
    return [key for key in store.keys(".parquet") if "/events/ingest_date=" in key and key not in known]


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(
    ("at", "left", "drained"),
    [("file", 0, 0), ("file_written", 1, 0), ("commit", 1, 0), ("committed", 0, 40)],
)
def test_a_drain_killed_in_its_commit_leaves_each_seq_once_and_what_it_left_is_dropped(
    redis_url: str, tmp_path: Path, object_store: SmallS3, at: str, left: int, drained: int
) -> None:
    """A commit has two halves in an object store: the file, which nobody reads yet, and the entry in the log that names
    it. When only the file was written, the next drain writes a file of its own, and maintenance drops the stray when it
    is a day old."""
    world = filled(redis_url, tmp_path, f"s3://{object_store.bucket}/lake")
    world.lake.open(EVENTS)
    pid: Queue[int] = Queue()
    is_wanted = is_file if at.startswith("file") else is_commit

    def kill(method: str, key: str) -> int | None:
        if not is_wanted(method, key):
            return None
        os.kill(pid.get(timeout=60), signal.SIGKILL)
        return 500  # to nobody

    if at in ("file", "commit"):
        object_store.before = kill
    else:
        object_store.after = kill
    killed("tests.faults.draining", redis_url, str(tmp_path), world.lake.root, "none", on_start=pid.put)
    object_store.heal()

    assert world.lake.events().collect().height == drained
    stray = strays(object_store, world.lake)
    assert len(stray) == left
    assert_each_once(world)
    assert strays(object_store, world.lake) == stray
    assert maintained(world.lake) == 0
    assert strays(object_store, world.lake) == stray, "it may be the file of a writer that is slow"
    for key in object_store.keys(".parquet"):
        object_store.age(key, RETENTION_HOURS + 1)
    assert maintained(world.lake) == left
    assert strays(object_store, world.lake) == []
    assert_each_once(world)


def test_maintenance_leaves_the_file_of_a_writer_that_has_yet_to_commit(
    redis_url: str, tmp_path: Path, object_store: SmallS3
) -> None:
    """A slow writer's file was written hours ago and stands in no version when maintenance looks for strays: it stays,
    and the commit succeeds."""
    world = filled(redis_url, tmp_path, f"s3://{object_store.bucket}/lake")
    removed: list[int] = []

    def slow(method: str, key: str) -> None:
        if is_commit(method, key) and not removed:
            removed.append(-1)  # what follows commits too
            for file in object_store.keys(".parquet"):
                object_store.age(file, RETENTION_HOURS - 1)
            removed[0] = maintained(Lake(world.lake.root))

    world.lake.open(EVENTS)
    object_store.before = slow
    world.drain().step()

    assert removed == [0]
    assert_each_once(world)


def test_maintenance_drops_what_was_cut_off_in_a_folder(redis_url: str, tmp_path: Path) -> None:
    """Half a file has a name of its own in a folder, which no list of a store shows. It goes when it is a day old."""
    world = filled(redis_url, tmp_path)
    world.drain().step()
    (whole,) = Path(world.lake.root, "events").glob("*/*.parquet")
    names = [f"{RETENTION_HOURS - 1}.parquet", f"{RETENTION_HOURS + 1}.parquet"]
    names += [f"{name}#1" for name in names]
    for name in names:
        path = whole.with_name(name)
        path.write_bytes(whole.read_bytes())
        at = path.stat().st_mtime - int(name.partition(".")[0]) * 3_600
        os.utime(path, (at, at))

    assert maintained(world.lake) == 2
    left = {path.name for path in whole.parent.iterdir()}
    assert left == {whole.name, f"{RETENTION_HOURS - 1}.parquet", f"{RETENTION_HOURS - 1}.parquet#1"}
    assert_each_once(world)
