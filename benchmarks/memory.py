"""The memory of Redis for one user: an id of 25 bytes, one numeric property, three aggregates.

The ids of events that refuse repeats are not counted: Redis keeps them for 24 hours.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import redis

from benchmarks import NOW
from benchmarks.stack import TRAITS, user_of
from cli.embedded_redis import EmbeddedRedis
from expressions.batch.base_frames import base_parts
from expressions.batch.frames import event_frame
from expressions.definitions import Definition
from expressions.plan import plan
from expressions.rules.properties import typed
from expressions.rules.windows import DAY_MS, HOUR_MS
from expressions.text.bind import bind
from pipelines.publish import Recent, publish, records_of
from serving.store.stamps import Stamp
from serving.store.store import Store

#: How many users there are, by the events of each: so many that Redis' own memory does not show.
USERS = {10: 10_000, 100: 3_000, 1_000: 1_000}
#: Bytes of a user, by the events of each.
BUDGETS = {10: 300, 100: 900, 1_000: 1_024}


def measure_memory(folder: Path, share: float = 1.0) -> dict[int, dict[str, Any]]:
    """A row for each number of events: bytes of a user, which are `used_memory` after less before, by the users.

    `share` is the part of `USERS` to measure with.
    """
    figures: dict[int, dict[str, Any]] = {}
    definitions = [Definition("trait", key, text) for key, text in TRAITS.items()]
    needed = plan(
        bound.expr for bound in bind([*definitions, Definition("trait", "seen", "last_seen_days_ago")]).values()
    )
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
        parts = list(base_parts(frame, needed, NOW, HOUR_MS))
        with EmbeddedRedis(folder / f"memory-{events}") as server, Store(server.url) as store:
            client = redis.Redis.from_url(server.url)
            before = client.info("memory")["used_memory"]
            stamps = {shard: Stamp(1, 1, 0, NOW, 1) for shard in range(store.shards)}
            publish(store, records_of(parts, Recent(frame, NOW), HOUR_MS), stamps)
            used = (client.info("memory")["used_memory"] - before) / users
            client.close()
        figures[events] = {
            "users": users,
            "bytes": round(used),
            "budget": f"<= {budget}",
            "heavy": parts[0].heavy[0],
            "passed": used <= budget,
        }
    return figures
