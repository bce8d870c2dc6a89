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
    """Runs a rebuild in a process of its own, which dies at a step."""
    killed("tests.faults.rebuilding", redis_url, str(folder), step)


def bought(world: World, first: int) -> None:
    """Puts one more purchase of everybody in the log."""
    world.ingest(purchase(user, first + number, properties={"amount": 2}) for number, user in enumerate(USERS))


def rebuilt(redis_url: str, folder: Path) -> World:
    """A world in which everybody bought once, and a rebuild has counted it."""
    world = World(redis_url, folder, shards=SHARDS)
    world.recover()
    world.define("trait", DEFINITIONS)
    bought(world, 0)
    world.drain().step()
    world.rebuild()
    return world


def orders(world: World) -> dict[str, tuple[float, float]]:
    """The answers for everybody: orders and spent."""
    return {user: (values["orders"], values["spent"]) for user in USERS for values in [world.values(user)]}


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("step", STEPS)
def test_a_rebuild_killed_at_any_step_changes_no_answer(redis_url: str, tmp_path: Path, step: str) -> None:
    """A killed rebuild leaves bases of two builds side by side, each with its own tail. No answer changes, and the next
    rebuild changes none either."""
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


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("step", ["sweeping", "swept"])
def test_who_is_gone_from_the_lake_is_swept_and_who_is_idle_stays(redis_url: str, tmp_path: Path, step: str) -> None:
    """A sweep that was cut off is done again by the next rebuild: it empties the base of an id without rows, and of no
    other."""
    world = rebuilt(redis_url, tmp_path)
    world.lake.open(EVENTS).delete("id = 'user:u7'")

    rebuild_killed(redis_url, tmp_path, step)
    world.rebuild()
    answers = orders(world)
    assert answers.pop("u7") == (0, 0)
    assert set(answers.values()) == {(1, 2)}
