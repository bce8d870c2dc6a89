"""The state of the system as Redis has it: what `/health` judges and `/metrics` counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from serving.engine import Engine
from serving.store.errors import StoreError
from serving.store.operations.catalogue import UnwrittenState
from serving.store.operations.server import Server
from serving.store.operations.shards import ShardState, as_in_lake

#: Parts whose heartbeats are read; each must have spoken lately for the stack to be ready.
PARTS = ("drain", "worker")
#: How long a check waits for Redis; after that Redis counts as away.
REDIS_S = 2.0


class RedisState(NamedTuple):
    """The server, every shard, the catalogue's version, what of it the lake lacks, and each part's last heartbeat.

    A shard's `drained` is how far the lake has it, also where it stands still. The heartbeat of a silent part is None.
    `latency_ms` is how long Redis took to answer.
    """

    server: Server
    shards: list[ShardState]
    catalogue_version: int | None
    unwritten: UnwrittenState
    heartbeats: Mapping[str, bytes | None]
    latency_ms: float


async def redis_state(engine: Engine) -> RedisState:
    """The state of the system, by a look that begins from now on, one for all who ask meanwhile.

    Raises `StoreError`, after at most `REDIS_S`.
    """
    state: RedisState = await engine.state_seen.of(lambda: _looked(engine))
    return state


async def _looked(engine: Engine) -> RedisState:
    """The same, in one round trip."""
    started = time.perf_counter()
    store = engine.store
    try:
        async with asyncio.timeout(REDIS_S):
            server, shards, reading, unwritten, *beats = await asyncio.gather(
                store.server(),
                store.shard_states(),
                store.records([]),
                store.unwritten_state(),
                *(store.heartbeat(part) for part in PARTS),
            )
    except TimeoutError as error:
        raise StoreError(f"no answer within {REDIS_S:g} s") from error
    latency_ms = round((time.perf_counter() - started) * 1000, 3)
    heartbeats = dict(zip(PARTS, beats, strict=True))
    stopped_at = msgspec.json.decode(heartbeats["drain"] or b"{}").get("stopped_at", {})
    return RedisState(
        server, as_in_lake(shards, stopped_at), reading.catalogue_version, unwritten, heartbeats, latency_ms
    )
