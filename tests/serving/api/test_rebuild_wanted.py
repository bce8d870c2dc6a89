"""An id that lacks what only a rebuild brings asks for one, and is answered meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from serving.store import keys
from serving.times import rfc3339
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get

HOUR_MS = 3_600_000


@pytest.mark.parametrize("path", ["/v1/users/ada/traits", "/v1/admin/users/ada"])
def test_a_person_is_answered_though_the_rebuild_that_they_lack_cannot_be_noted(
    redis_url: str, tmp_path: Path, path: str
) -> None:
    """A heavy id lacks what a newer definition's window needs. Where Redis refuses to note that, the answer stands all
    the same, and names what is warming."""
    world = World(redis_url, tmp_path, shards=1, light_events_max=0, admin_key="admin")
    world.recover()
    world.define("trait", {"in_a_day": "events.purchase.count_1d"})
    now_ms = world.store.now_ms()
    world.ingest(purchase("ada", hours, timestamp=rfc3339(now_ms - hours * HOUR_MS)) for hours in (1, 3, 5, 7))
    world.drain().step()
    world.rebuild()
    world.define("trait", {"in_a_while": "events.purchase.count_4h"})
    assert world.answers("ada").lacking == ("user:ada",)
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.wanted(0), "no hash: whatever is noted is refused")
        (answer,) = answers(world.settings, [get(path, authorization="Bearer admin")])
        client.delete(keys.wanted(0))

    assert answer.status_code == 200, answer.text
    assert "in_a_while" in answer.text
