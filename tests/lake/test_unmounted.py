"""A folder from which the lake goes away while processes use it, as with a volume that is unmounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from lake.errors import LakeUnreachable
from lake.lake import Lake
from lake.schemas import TABLES
from serving.access.keys import raw_keys
from serving.app import create_app
from serving.store.errors import OtherLake
from tests.pipelines.world import World, purchase


@contextmanager
def unmounted(root: Path) -> Iterator[None]:
    """An empty folder in the place of the lake, in which nobody may have left anything."""
    away = root.with_name("away")
    root.rename(away)
    root.mkdir()
    yield
    assert list(root.iterdir()) == []
    root.rmdir()
    away.rename(root)


def test_no_table_is_made_where_a_lake_went_away(tmp_path: Path) -> None:
    """All are refused as long as it is away, those that nobody had opened too, and each time that it goes."""
    lake = Lake(str(tmp_path / "lake"))
    own = lake.id()
    for _ in range(2):
        with unmounted(tmp_path / "lake"):
            for table in TABLES * 2:
                with pytest.raises(LakeUnreachable, match="gone"):
                    lake.open(table)
        for table in TABLES:
            lake.open(table)
    assert lake.id() == own


def test_another_lake_that_comes_back_is_told_from_the_first(redis_url: str, tmp_path: Path) -> None:
    """Its id is read anew, so that a running drain leaves it alone."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    own, drain = world.lake.id(), world.drain()
    world.ingest([purchase("ada", 1)])
    with unmounted(tmp_path / "lake"), pytest.raises(LakeUnreachable):
        drain.step()
    (tmp_path / "lake").rename(tmp_path / "own")
    with pytest.raises(LakeUnreachable):
        drain.step()
    other = Lake(str(tmp_path / "lake"))
    assert other.id() != own

    with pytest.raises(OtherLake, match=own):
        drain.step()
    assert other.events().collect().is_empty()


def test_a_key_is_not_revoked_while_the_lake_is_away(redis_url: str, tmp_path: Path) -> None:
    """The call is refused, and done when it is sent again: what is noted elsewhere would be in use again after a
    recovery from the lake."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    answers: list[int] = []

    async def ask() -> None:
        app = create_app(world.settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                http.headers["Authorization"] = f"Bearer {raw_keys(world.settings)['admin']}"
                made = await http.post("/v1/admin/keys", json={"kind": "read", "label": "shop"})
                key = f"/v1/admin/keys/{made.json()['id']}"
                with unmounted(tmp_path / "lake"):
                    answers.append((await http.delete(key)).status_code)
                    answers.append((await http.delete(key)).status_code)
                answers.append((await http.delete(key)).status_code)

    anyio.run(ask)

    assert answers[:2] == [503, 503] and answers[2] < 300
    assert sum(row["revoked_at"] is not None for row in Lake(world.lake.root).api_keys()) == 1
