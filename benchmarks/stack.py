"""A running stack with users whose bases were published, and the floor's app beside it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import httpx
import msgspec
import redis

from benchmarks.load import request
from cli.ports import free_port
from cli.stack import Stack
from cli.up import start, stop
from expressions.bases import RawEvent, base_of
from expressions.rules.windows import DAY_MS
from pipelines.publish import publish
from serving.access.keys import KeyKind, raw_keys
from serving.definitions.saving import current
from serving.ids import shard_of
from serving.settings import Settings
from serving.store import base_codec
from serving.store.requests import chunks
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Stamp
from serving.store.store import Store

TRAITS = {"spent": "events.purchase.amount.sum_90d", "orders": "events.purchase.count_30d"}
RULE = "spent >= 500 && orders >= 2 && last_seen_days_ago < 30"
#: The flags of a request for many, each with a rule of its own over the same aggregates.
FLAGS = {f"offer_{number}": RULE.replace("500", str(100 + 20 * number)) for number in range(50)}
#: How long a single call may take: saving a definition waits for the lake, on a machine that may be busy.
ANSWER_S = 60.0
#: How many different events are made beforehand, and how many of them are in a batch.
EVENTS_MADE, EVENTS_AT_ONCE = 5_000, 100


class FilledStack:
    """A stack, its users and its floor. Users are numbered, see `user_of`."""

    def __init__(self, stack: Stack, settings: Settings, users: int, floor_url: str) -> None:
        self.url, self.redis_url = stack.api_url, stack.redis_url
        self.floor_url, self.users = floor_url, users
        self.store = Store(stack.redis_url, settings.shards)
        self.keys = raw_keys(settings)

    def bearer(self, kind: KeyKind) -> dict[str, str]:
        """The header with a key of this kind."""
        return {"Authorization": f"Bearer {self.keys[kind]}"}

    def define(self) -> None:
        """Saves two traits, and flags over them: three aggregates in all."""
        with httpx.Client(base_url=self.url, headers=self.bearer("admin"), timeout=ANSWER_S) as http:
            for key, expression in TRAITS.items():
                http.post("/v1/admin/traits", json={"key": key, "expression": expression}).raise_for_status()
            for key, rule in {"offer": RULE, **FLAGS}.items():
                http.post("/v1/admin/flags", json={"key": key, "rule": rule}).raise_for_status()

    def fill(self, events: int) -> None:
        """Publishes a base of so many purchases for every user."""
        catalogue = current(self.store)
        now_ms = self.store.now_ms()
        build = self.store.next_build()
        stamps = {shard: Stamp(1, build, 0, now_ms, catalogue.projection_version) for shard in range(self.store.shards)}
        publish(self.store, self._records(events, now_ms), stamps)

    def _records(self, events: int, now_ms: int) -> Iterator[BaseRecord]:
        chance = random.Random(0)
        for number in range(self.users):
            purchases = [
                RawEvent(
                    "track",
                    "purchase",
                    now_ms - chance.randrange(90 * DAY_MS),
                    {"amount": chance.randrange(10_000) / 100},
                )
                for _ in range(events)
            ]
            yield BaseRecord(f"user:{user_of(number)}", base_codec.encode(base_of(purchases)))

    def random_users(self) -> list[str]:
        """Twice as many users as there are, at random. The floor's keys get the bases of all of them."""
        chance = random.Random(1)
        users = [user_of(chance.randrange(self.users)) for _ in range(2 * self.users)]
        with redis.Redis.from_url(self.redis_url) as client, client.pipeline(transaction=False) as pipeline:
            for chunk in chunks(sorted(set(users)), 1_000):
                for user in chunk:
                    pipeline.hget(f"rec:{{{shard_of(f'user:{user}', self.store.shards)}}}:user:{user}", "b")
                for user, base in zip(chunk, pipeline.execute(), strict=True):
                    pipeline.set(f"floor:{user}", base or b"")
                pipeline.execute()
        return users

    def batches(self, first: int) -> Iterator[bytes]:
        """Requests of 100 events each, without an end, of 5,000 users from this number on."""
        return batches(self.keys["write"], self.users, first)

    def settle(self) -> None:
        """Returns when everything is drained and every definition is covered, so that nothing else is at work."""
        while True:
            catalogue, shards = current(self.store), self.store.shard_states()
            is_covered = all(
                catalogue.is_ready(key, shard, covered)
                for key in catalogue.definitions
                for shard, covered in enumerate(catalogue.covered)
            )
            is_drained = all(state.drained == state.seq for state in shards)
            if is_covered and is_drained and not self.store.rebuild_requests().is_full:
                return
            time.sleep(0.1)


def user_of(number: int) -> str:
    """A user id of 25 bytes."""
    return f"customer-{number:016d}"


def purchase(number: int, users: int, fill: int = 0) -> bytes:
    """A track event of one of the users as JSON, with a note of `fill` bytes."""
    properties: dict[str, Any] = {"amount": (number % 10_000) / 100}
    if fill:
        properties["note"] = "x" * fill
    body = {"type": "track", "userId": user_of(number % users), "event": "purchase", "properties": properties}
    return msgspec.json.encode(body)


def batches(key: str, users: int, first: int) -> Iterator[bytes]:
    """Requests of 100 events each, without an end, of 5,000 users from this number on."""
    events = [purchase(first + number, users, fill=220) for number in range(EVENTS_MADE)]
    bodies = [
        b'{"batch":[' + b",".join(events[at : at + EVENTS_AT_ONCE]) + b"]}"
        for at in range(0, EVENTS_MADE, EVENTS_AT_ONCE)
    ]
    return cycle([request("POST", "/v1/batch", key, body) for body in bodies])


@contextmanager
def filled_stack(settings: Settings, users: int) -> Iterator[FilledStack]:
    """A stack with definitions and a base of a hundred purchases for each user, and the floor's app, on free ports."""
    stack = start(settings, with_prefect=False)
    port = free_port(settings.host)
    command = [sys.executable, "-m", "uvicorn", "benchmarks.floor_app:app", "--port", str(port), "--loop", "uvloop"]
    command += ["--http", "httptools", "--log-level", "warning", "--no-access-log", "--no-proxy-headers"]
    command += ["--lifespan", "off"]
    floor = subprocess.Popen(command, env={**os.environ, "TINYCDP_REDIS_URL": stack.redis_url})
    try:
        floor_url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                httpx.get(floor_url, timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        filled = FilledStack(stack, settings, users, floor_url)
        filled.define()
        filled.fill(100)
        yield filled
    finally:
        floor.terminate()
        floor.wait()
        stop(settings, stack)
