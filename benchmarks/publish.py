"""The publish script against HSET of the same bytes, pipelined alike, on one server."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks import NOW
from benchmarks.purchases import TRAITS, generate
from cli.embedded_redis import EmbeddedRedis
from expressions.batch.base_frames import base_parts
from expressions.definitions import Definition
from expressions.plan import plan
from expressions.rules.windows import HOUR_MS
from expressions.text.bind import bind
from lake.lake import Lake
from pipelines.publish import RECORDS_AT_ONCE, send
from serving.store.base_codec_columns import encoded
from serving.store.requests import chunks
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Stamp
from serving.store.store import Store


def measure_publish(folder: Path, events: int, users: int, rounds: int = 5) -> dict[str, Any]:
    """Records a second of both, and their ratio (budget: at least 0.5).

    The budget is for sending bytes that are made already. `made_of_events_per_second` and `ratio with making` tell what
    making them of events adds.
    """
    lake = Lake(str(folder / "published"))
    generate(lake, events, users)
    rows = lake.events().collect().lazy()
    needed = plan(bound.expr for bound in bind(Definition("trait", key, text) for key, text in TRAITS.items()).values())
    with EmbeddedRedis(folder / "publish") as server, Store(server.url) as store:
        client = redis.Redis.from_url(server.url)
        floors_s, ours_s, making_s = [], [], []
        for build in range(1, rounds + 1):
            started = time.perf_counter()
            records = [
                BaseRecord(id, base)
                for part in base_parts(rows, needed, NOW, HOUR_MS)
                for id, base in zip(part.ids, encoded(part), strict=True)
            ]
            making_s.append(time.perf_counter() - started)
            client.flushall()
            started = time.perf_counter()
            for chunk in chunks(records, RECORDS_AT_ONCE):
                pipeline = client.pipeline(transaction=False)
                for record in chunk:
                    pipeline.hset(f"floor:{record.id}", mapping={"b": record.base, "s": b"x" * 24})
                pipeline.execute()
            floors_s.append(time.perf_counter() - started)
            client.flushall()
            stamps = {shard: Stamp(1, build, 0, NOW, 1) for shard in range(store.shards)}
            started = time.perf_counter()
            for chunk in chunks(records, RECORDS_AT_ONCE):
                send(store, chunk, stamps)
            ours_s.append(time.perf_counter() - started)
        client.close()
    ratio = median(floor / ours for floor, ours in zip(floors_s, ours_s, strict=True))
    with_making = median(
        floor / (ours + making) for floor, ours, making in zip(floors_s, ours_s, making_s, strict=True)
    )
    return {
        "records": len(records),
        "ours_per_second": round(len(records) / median(ours_s)),
        "floor_per_second": round(len(records) / median(floors_s)),
        "made_of_events_per_second": round(len(records) / median(making_s)),
        "ratio": round(ratio, 2),
        "ratio with making": round(with_making, 2),
        "budget": "ratio >= 0.5",
        "passed": ratio >= 0.5,
    }
