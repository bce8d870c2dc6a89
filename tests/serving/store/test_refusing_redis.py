"""A Redis that answers and takes nothing, as one without its replicas or with a full disk: it is away, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fastapi.testclient import TestClient
from pydantic import SecretStr

from cli.embedded_redis import EmbeddedRedis
from serving.access import made_keys
from serving.access.keys import Keys
from serving.app import create_app
from serving.history import History
from serving.settings import Settings
from tests.pipelines.world import World
from tests.waiting import wait_until

ADMIN = {"Authorization": "Bearer admin-key"}
EVENT = {"userId": "u", "event": "e"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A system on a server of its own."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        made = World(server.url, tmp_path, shards=2)
        made.recover()
        yield made


def settings_of(world: World) -> Settings:
    """The API's, with a key of each kind."""
    keys = {f"{kind}_key": SecretStr(f"{kind}-key") for kind in ("write", "read", "admin")}
    return world.settings.model_copy(update=keys)


def refusals(server: redis.Redis) -> int:
    """How often the server has refused a command that is no script."""
    return int(server.info("errorstats").get("errorstat_NOREPLICAS", {"count": 0})["count"])


@pytest.mark.deep
def test_a_server_that_takes_nothing_is_away_and_keys_are_followed_afterwards(world: World) -> None:
    """Events and definitions get 503 with Retry-After, decisions their default; a key that another process revokes
    later is refused soon."""
    settings = settings_of(world)
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        made = api.post("/v1/admin/keys", json={"kind": "write", "label": "x"}, headers=ADMIN).json()
        own = {"Authorization": f"Bearer {made['key']}"}
        assert api.post("/v1/track", json=EVENT, headers=own).status_code == 200
        with redis.Redis.from_url(settings.redis_url or "") as server:
            server.config_set("min-replicas-to-write", 1)
            for path, body, key in (
                ("/v1/track", EVENT, own),
                ("/v1/admin/traits", {"key": "orders", "expression": "events.order.count"}, ADMIN),
            ):
                refused = api.post(path, json=body, headers=key)
                assert (refused.status_code, refused.json()["code"]) == (503, "unavailable"), refused.text
                assert int(refused.headers["Retry-After"]) >= 1
            seen = refusals(server)
            wait_until(lambda: refusals(server) > seen, "the last use of keys is noted meanwhile")
            server.config_set("min-replicas-to-write", 0)
        assert api.post("/v1/track", json=EVENT, headers=own).status_code == 200

        made_keys.revoke(world.store, History(world.lake.root), Keys({}), made["id"], 1)

        wait_until(lambda: api.post("/v1/track", json=EVENT, headers=own).status_code == 401, "it is refused", 10)
