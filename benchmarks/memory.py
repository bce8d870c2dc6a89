"""What a user costs Redis: 25-byte ids, one numeric property, three aggregates, without what is kept for repeats."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import redis

from benchmarks.http import DAY_MS, TRAITS, user_of
from cli.redis_server import EmbeddedRedis
from expressions.batch.base_frames import base_parts
from expressions.batch.frames import event_frame
from expressions.definitions import Definition
from expressions.plan import plan
from expressions.rules.properties import typed
from expressions.text.bind import bind
from pipelines.publish import Recent, publish, records_of
from serving.store.stamps import Stamp
from serving.store.store import Store

#: Users by how many events each has: enough that what Redis keeps for itself does not show.
USERS = {10: 10_000, 100: 3_000, 1_000: 1_000}
NOW = 1_800_000_000_000
BUDGETS = {10: 300, 100: 900, 1_000: 1_024}


def measured(folder: Path, share: float = 1.0) -> dict[int, dict[str, Any]]:
    """Bytes of a user by how many events the user has: `used_memory` after less before. `share` of the users."""
    found: dict[int, dict[str, Any]] = {}
    definitions = [Definition("trait", key, text) for key, text in TRAITS.items()]
    needed = plan(one.expr for one in bind([*definitions, Definition("trait", "seen", "last_seen_days_ago")]).values())
    for events, budget in BUDGETS.items():
        chance = random.Random(events)
        users = round(USERS[events] * share)
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
            for user in range(users)
            for number in range(events)
        ]
        frame = event_frame(rows)
        parts = list(base_parts(frame, needed, NOW, 3_600_000))
        with EmbeddedRedis(folder / f"memory-{events}") as server, Store(server.url) as store:
            client = redis.Redis.from_url(server.url)
            before = client.info("memory")["used_memory"]
            stamps = {shard: Stamp(1, 1, 0, NOW, 1) for shard in range(store.shards)}
            publish(store, records_of(parts, Recent(frame, NOW), 3_600_000), stamps)
            used = (client.info("memory")["used_memory"] - before) / users
            client.close()
        found[events] = {
            "users": users,
            "bytes": round(used),
            "budget": f"<= {budget}",
            "heavy": parts[0].heavy[0],
            "passed": used <= budget,
        }
    return found
