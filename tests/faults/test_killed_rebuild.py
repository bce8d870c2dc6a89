"""A rebuild that is killed leaves every answer right, and the next one finishes the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.schemas import EVENTS
from tests.faults.rebuilding import SHARDS, STEPS
from tests.faults.victims import killed
from tests.pipelines.world import World, purchase

USERS = [f"u{number}" for number in range(30)]
DEFINITIONS = {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"}


def rebuild_killed(redis_url: str, folder: Path, step: str) -> None:
    """A rebuild by a process of its own, which dies there."""
    killed("tests.faults.rebuilding", redis_url, str(folder), step)


def bought(world: World, first: int) -> None:
    """One more purchase of everybody, in the log."""
    world.ingest(purchase(user, first + number, properties={"amount": 2}) for number, user in enumerate(USERS))


def rebuilt(redis_url: str, folder: Path) -> World:
    """A world in which everybody bought once, and a rebuild has it."""
    world = World(redis_url, folder, shards=SHARDS)
    world.recover()
    world.define("trait", DEFINITIONS)
    bought(world, 0)
    world.drain().step()
    world.rebuild()
    return world


def orders(world: World) -> dict[str, tuple[float, float]]:
    """What is answered for everybody."""
    return {user: (values["orders"], values["spent"]) for user in USERS for values in [world.values(user)]}


@pytest.mark.parametrize("step", STEPS)
def test_a_rebuild_killed_at_any_step_changes_no_answer(redis_url: str, tmp_path: Path, step: str) -> None:
    """Bases of two builds stand side by side then, each with its own tail; the next rebuild changes nothing either."""
    world = rebuilt(redis_url, tmp_path)
    bought(world, 1_000)
    world.drain().step()
    bought(world, 2_000)

    rebuild_killed(redis_url, tmp_path, step)
    assert set(orders(world).values()) == {(3, 6)}
    bought(world, 3_000)
    assert set(orders(world).values()) == {(4, 8)}
    world.drain().step()
    world.rebuild()
    assert set(orders(world).values()) == {(4, 8)}


@pytest.mark.parametrize("step", ["sweeping", "swept"])
def test_who_is_gone_from_the_lake_is_swept_and_who_is_idle_stays(redis_url: str, tmp_path: Path, step: str) -> None:
    """However often the sweep is cut off: it is done again by the next rebuild."""
    world = rebuilt(redis_url, tmp_path)
    world.lake.open(EVENTS).delete("id = 'user:u7'")

    rebuild_killed(redis_url, tmp_path, step)
    world.rebuild()
    found = orders(world)
    assert found.pop("u7") == (0, 0)
    assert set(found.values()) == {(1, 2)}
