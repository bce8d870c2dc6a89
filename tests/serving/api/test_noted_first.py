"""What admins do to people is in the audit log before it is done, or is not done."""

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
    """Ann with a device."""
    found = World(redis_url, tmp_path, shards=2, admin_key="admin")
    found.recover()
    found.ingest([purchase("ann", 1, deviceId="pad")])
    found.drain().step()
    return found


def asked(world: World, *calls: tuple[str, str]) -> list[int]:
    """The statuses that an administrator's calls get."""
    header = {"Authorization": "Bearer admin"}
    requests = [httpx.Request(method, f"http://api{path}", headers=header) for method, path in calls]
    return [answer.status_code for answer in answers(world.settings, requests)]


def ids_of(world: World, one: str) -> list[str]:
    """Every id of a person."""
    return [record.id for record in world.store.follow(gather(world.store.operations, one)).records]


def test_nothing_is_done_while_the_lake_is_away(world: World, tmp_path: Path) -> None:
    """A call is refused before it has any effect, and is done, and noted once, when it is sent again."""
    lake, elsewhere = tmp_path / "lake", tmp_path / "elsewhere"
    lake.rename(elsewhere)
    lake.touch()
    seqs = [state.seq for state in world.store.shard_states()]
    assert asked(world, UNLINK, DELETE) == [503, 503]
    assert ids_of(world, "user:ann") == ["user:ann", "anon:pad"]
    assert [state.seq for state in world.store.shard_states()] == seqs

    lake.unlink()
    elsewhere.rename(lake)
    assert asked(world, UNLINK, UNLINK) == [200, 404]
    assert ids_of(world, "user:ann") == ["user:ann"]
    assert world.lake.audit().collect()["action"].to_list() == ["unlink"]


def test_every_id_of_who_is_deleted_is_noted_once(world: World) -> None:
    """A line each, of whoever was deleted by any of them."""
    assert asked(world, ("DELETE", "/v1/admin/users/anon:pad")) == [200]
    noted = world.lake.audit().collect()
    assert noted["action"].to_list() == ["delete"] * 2
    assert noted["key"].n_unique() == 2
    assert ids_of(world, "user:ann") == ["user:ann"]
