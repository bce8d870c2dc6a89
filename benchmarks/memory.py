"""What a user costs Redis: 25-byte ids, one numeric property, three aggregates, without what is kept for repeats."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import redis

from benchmarks.http import DAY_MS, TRAITS, user_of
from expressions.base_frames import base_states
from expressions.bind import bind
from expressions.definitions import Definition
from expressions.frames import event_frame
from expressions.plan import plan
from expressions.properties import typed
from pipelines.publish import publish
from serving.embedded_redis import EmbeddedRedis
from serving.stamps import Stamp
from serving.store import Store

USERS = 300
NOW = 1_800_000_000_000
BUDGETS = {10: 300, 100: 900, 1_000: 1_024}


def measured(folder: Path) -> dict[int, dict[str, Any]]:
    """Bytes of a user's record by how many events the user has; `used_memory` before and after."""
    found: dict[int, dict[str, Any]] = {}
    definitions = [Definition("trait", key, text) for key, text in TRAITS.items()]
    needed = plan(one.expr for one in bind([*definitions, Definition("trait", "seen", "last_seen_days_ago")]).values())
    for events, budget in BUDGETS.items():
        chance = random.Random(events)
        rows = [
            {
                "shard": 0,
                "seq": None,
                "event_id": f"{user}-{number}",
                "kind": "track",
                "name": "purchase",
                "id": f"user:{user_of(user)}",
                "ts": NOW - chance.randrange(90 * DAY_MS),
                "received_at": 0,
                "props": {"amount": typed(chance.randrange(10_000) / 100)},
            }
            for user in range(USERS)
            for number in range(events)
        ]
        bases = list(base_states(event_frame(rows), needed, NOW, 3_600_000))
        with EmbeddedRedis(folder / f"memory-{events}") as server, Store(server.url) as store:
            client = redis.Redis.from_url(server.url)
            before = client.info("memory")["used_memory"]
            stamps = {shard: Stamp(1, 1, 0, NOW, 1) for shard in range(store.shards)}
            publish(store, bases, stamps, {}, 3_600_000)
            used = (client.info("memory")["used_memory"] - before) / USERS
            client.close()
        found[events] = {"bytes": round(used), "budget": budget, "heavy": bases[0][2], "passed": used <= budget}
    return found
