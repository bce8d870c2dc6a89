"""A purge that is killed leaves every answer right, and the next one finishes the work."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import redis

from expressions.definitions import Definition
from expressions.rules.deletes import tombstone_id
from lake.schemas import EVENTS
from pipelines.importing.import_file import import_file
from pipelines.purge.naming import Names
from pipelines.purge.purge_now import purge_now
from pipelines.purge.searching import redis_folder, search_everywhere
from pipelines.rebuild import rebuild_at
from serving.definitions import saving
from serving.definitions.flags import settings_after
from serving.people.deletion import delete_person
from tests.faults.purging import SHARDS, STEPS
from tests.faults.victims import killed
from tests.pipelines.world import World, purchase

GONE, DEVICE = "gone-for-good-4d1c", "device-of-the-gone"
OTHERS = [f"u{number}" for number in range(9)]
DAY_MS = 86_400_000


def before_the_purge(redis_url: str, folder: Path) -> World:
    """A world in which somebody was just deleted: with rows of two days, tables of answers, a flag, a refused event,
    and other people's events that name them."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    world = World(redis_url, folder, shards=SHARDS)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "friends": "events.purchase.friend.values"})
    world.define("segment", {"buyers": "orders > 0"})
    saving.save(
        world.store,
        world.lake.holds_events,
        Definition("flag", "beta", "true"),
        0,
        settings=lambda settings: settings_after("beta", settings, {"users": {GONE: False, "u1": False}}),
    )
    history = [(user, "") for user in OTHERS] + [(GONE, ""), ("u0", GONE)]
    imported(world, folder / "history.csv", history, world.store.now_ms() - DAY_MS)
    bought(world, 1)
    world.ingest([purchase(GONE, 1, anonymousId=DEVICE), purchase("u0", 100, properties={"friend": GONE})])
    world.store.reject([b'{"received_at": 1, "code": "bad", "reason": "no", "event": "of %s"}' % GONE.encode()])
    world.drain().step()
    assert world.lake.scan(EVENTS).select(pl.col("ingest_date").n_unique()).collect().item() == 2
    world.rebuild()
    rebuild_at(world.store, world.lake, world.store.now_ms())
    deleted = world.store.follow(delete_person(world.store.operations, f"user:{GONE}", "delete"))
    assert set(deleted) == {f"user:{GONE}", f"anon:{DEVICE}"}
    return world


def imported(world: World, file: Path, rows: list[tuple[str, str]], now_ms: int) -> None:
    """Imports a file of purchases at a time."""
    lines = [f"{user},purchase,{now_ms},h{number},{friend}" for number, (user, friend) in enumerate(rows)]
    file.write_text("\n".join(["who,what,at,id,friend", *lines]))
    import_file(
        world.lake, file, user_column="who", event_column="what", time_column="at", id_column="id",
        now_ms=now_ms, shards=SHARDS,
    )  # fmt: skip


def bought(world: World, number: int) -> None:
    """Puts a purchase of each of the others in the log."""
    world.ingest(purchase(user, number) for user in OTHERS)


def orders(world: World, *users: str) -> list[float]:
    """The number of orders that is answered for each of some users."""
    return [world.values(user)["orders"] for user in users]


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("step", STEPS)
def test_a_purge_killed_at_any_step_is_finished_by_the_next(redis_url: str, tmp_path: Path, step: str) -> None:
    """All the while the deleted have no answers, and others count each event once. After the next purge no store names
    the deleted."""
    world = before_the_purge(redis_url, tmp_path)
    killed("tests.faults.purging", redis_url, str(tmp_path), step)

    assert orders(world, GONE, f"anon:{DEVICE}") == [0, 0]
    assert orders(world, *OTHERS) == [4] + [2] * 8
    bought(world, 1_000)
    assert orders(world, *OTHERS) == [5] + [3] * 8
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("lease:*"):  # they run out by themselves, in 15 s
            client.delete(key)
    purge_now(world.store, world.lake, world.settings, redacts=())

    folder = redis_folder(world.store)
    assert folder is not None
    names = Names({f"user:{GONE}", f"anon:{DEVICE}"})
    assert search_everywhere(names, world.store, world.lake.root, [folder]).found == []
    assert world.catalogue.definitions["flag", "beta"].settings["users"] == {"u1": False}
    assert_all_counted(world)
    world.drain().step()
    world.rebuild()
    assert_all_counted(world)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert world.recover()
    assert_all_counted(world)


def assert_all_counted(world: World) -> None:
    """Asserts that each event of the others is there once, live and in the lake, and of the deleted two tombstones."""
    assert orders(world, GONE, f"anon:{DEVICE}", *OTHERS) == [0, 0, 5] + [3] * 8
    assert world.values("u0")["friends"] == ("[deleted]",)
    rows = world.lake.events().select("kind", "id", "event_id").collect()
    assert rows.filter(pl.col("kind") == "track").height == 29
    assert not rows.select("id", "event_id").is_duplicated().any()
    stones = rows.filter(pl.col("kind") != "track")["id"].to_list()
    assert sorted(stones) == sorted([tombstone_id(f"user:{GONE}"), tombstone_id(f"anon:{DEVICE}")])
