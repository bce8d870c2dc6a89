"""An unlink or a delete is in the audit log before it is done, or it is not done."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from serving.people.gather import gather
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers

UNLINK = ("POST", "/v1/admin/users/anon:pad/unlink")
DELETE = ("DELETE", "/v1/admin/users/ann")


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with one person, ann, who has a device."""
    world = World(redis_url, tmp_path, shards=2, admin_key="admin")
    world.recover()
    world.ingest([purchase("ann", 1, deviceId="pad")])
    world.drain().step()
    return world


def statuses(world: World, *calls: tuple[str, str]) -> list[int]:
    """The statuses that an administrator's calls get."""
    header = {"Authorization": "Bearer admin"}
    requests = [httpx.Request(method, f"http://api{path}", headers=header) for method, path in calls]
    return [answer.status_code for answer in answers(world.settings, requests)]


def ids_of(world: World, id: str) -> list[str]:
    """Every id of a person."""
    return [record.id for record in world.store.follow(gather(world.store.operations, id)).records]


def test_nothing_is_done_while_the_lake_is_away(world: World, tmp_path: Path) -> None:
    """A call is refused before it has any effect, and is done, and noted once, when it is sent again."""
    lake, elsewhere = tmp_path / "lake", tmp_path / "elsewhere"
    lake.rename(elsewhere)
    lake.touch()
    seqs = [state.seq for state in world.store.shard_states()]
    assert statuses(world, UNLINK, DELETE) == [503, 503]
    assert ids_of(world, "user:ann") == ["user:ann", "anon:pad"]
    assert [state.seq for state in world.store.shard_states()] == seqs

    lake.unlink()
    elsewhere.rename(lake)
    assert statuses(world, UNLINK, UNLINK) == [200, 404]
    assert ids_of(world, "user:ann") == ["user:ann"]
    assert world.lake.audit().collect()["action"].to_list() == ["unlink"]


@pytest.mark.deep
def test_every_id_of_who_is_deleted_is_noted_once(world: World) -> None:
    """The log has one line for each id of a deleted person, by whichever id they were deleted."""
    assert statuses(world, ("DELETE", "/v1/admin/users/anon:pad")) == [200]
    noted = world.lake.audit().collect()
    assert noted["action"].to_list() == ["delete"] * 2
    assert noted["key"].n_unique() == 2
    assert ids_of(world, "user:ann") == ["user:ann"]
