"""Clocks that are off: those of senders, of API processes, and Redis' own, which may step back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from lake.schemas import EVENTS
from serving.ids import shard_of
from serving.ingest.accept import Envelope, Limits, accept
from serving.ingest.projection import tail_payload
from serving.people.gather import gather
from serving.people.person import Answers, DecodedBases, person
from serving.store.operations.events import Arrival
from serving.store.store import Store
from serving.times import rfc3339
from tests.pipelines.world import World, purchase

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
SHARDS = 4
DEFINITIONS = {
    "ever": "events.purchase.count",
    "in_a_day": "events.purchase.count_1d",
    "in_a_minute": "events.purchase.count_1m",
    "minutes_ago": "events.purchase.last_seen_minutes_ago",
}


@pytest.mark.parametrize("light_events_max", [256, 0])
def test_an_event_of_the_future_counts_at_its_receipt_and_keeps_its_own_time_in_the_lake(
    redis_url: str, tmp_path: Path, light_events_max: int
) -> None:
    """An event of the future counts once, at once, and the same after the drain and a rebuild.

    Its sender's time stays to be read.
    """
    world = World(redis_url, tmp_path, shards=SHARDS, light_events_max=light_events_max)
    world.recover()
    world.define("trait", DEFINITIONS)
    ahead_ms = world.store.now_ms() + HOUR_MS
    counted = {"ever": 1, "in_a_day": 1, "in_a_minute": 1, "minutes_ago": 0}

    world.ingest([purchase("ada", 1, timestamp=rfc3339(ahead_ms))])
    assert world.values("ada") == counted
    world.drain().step()
    world.rebuild()

    assert world.values("ada") == counted
    (row,) = world.lake.scan(EVENTS).select("ts", "original_ts", "received_at").collect().to_dicts()
    assert row["original_ts"] == ahead_ms
    assert row["ts"] == row["received_at"] < ahead_ms


class OffStore(Store):
    """A store whose server's clock is off. Its script sees the true clock, or the last receipt if that is later."""

    off_ms = 0

    def now_ms(self) -> int:  # type: ignore[override]
        """The time by that clock."""
        return super().now_ms() + self.off_ms


class OffWorld(World):
    """A world in which Redis' clock may be set, and any API process takes the events."""

    def __init__(self, redis_url: str, folder: Path, **settings: Any) -> None:
        super().__init__(redis_url, folder, **settings)
        self.store: OffStore = OffStore(redis_url, SHARDS)

    def send(self, user: str, number: int, api_off_ms: int, how: str) -> int:
        """Sends a purchase of now through an API whose clock is off; returns when it was received."""
        now_ms = self.store.now_ms()
        raw = purchase(user, number)
        if how != "untimed":
            raw |= {"timestamp": rfc3339(now_ms)}
        if how == "sent":
            raw |= {"sentAt": rfc3339(now_ms)}
        event = accept(raw, Limits(), envelope=Envelope(received_ms=now_ms + api_off_ms))
        shard = shard_of(event.id, SHARDS)
        self.store.resume(shard, 0, now_ms)  # the script takes the last receipt for its clock
        catalogue = self.catalogue
        self.store.ingest([Arrival(event, tail_payload(event, catalogue.projection))], catalogue.projection_version)
        return self.store.shard_states()[shard].last_received_ms

    def answers(self, user: str) -> Answers:
        """The answers by that clock."""
        reading = self.store.follow(gather(self.store.operations, f"user:{user}"))
        catalogue = self.catalogue
        read_ms = reading.clock_ms + self.store.off_ms
        return person(reading._replace(clock_ms=read_ms), catalogue, DecodedBases()).answers(catalogue.definitions)


@pytest.mark.parametrize("light_events_max", [256, 0])
@pytest.mark.parametrize("seed", range(3))
def test_no_event_is_hidden_by_clocks_that_are_off_or_step_back(
    redis_url: str, tmp_path: Path, seed: int, light_events_max: int
) -> None:
    """API processes five minutes before and behind, and a clock of Redis that jumps either way between any two steps:
    every event counts from its acknowledgement on, receipts never go back, and no answer is of before the last one."""
    chance = random.Random(seed)
    world = OffWorld(redis_url, tmp_path, shards=SHARDS, light_events_max=light_events_max)
    world.recover()
    world.define("trait", DEFINITIONS)
    users = [f"u{number}" for number in range(6)]
    sent, received_ms, answered_ms = dict.fromkeys(users, 0), dict.fromkeys(range(SHARDS), 0), dict.fromkeys(users, 0)
    offs = set()
    for number in range(40):
        world.store.off_ms = chance.choice([-10, -5, 0, 0, 5, 10]) * MINUTE_MS
        offs.add(world.store.off_ms)
        if number and chance.random() < 0.2:
            world.drain().step()
            if chance.random() < 0.7:
                world.rebuild()
        user = chance.choice(users)
        came_ms = world.send(
            user, number, chance.choice([-5, 5]) * MINUTE_MS, chance.choice(["untimed", "timed", "sent"])
        )
        sent[user] += 1
        shard = shard_of(f"user:{user}", SHARDS)
        assert came_ms >= received_ms[shard]
        received_ms[shard] = came_ms

        for other in users:
            answers = world.answers(other)
            values = {key: answer.value for (_, key), answer in answers.values.items()}
            assert (values["ever"], values["in_a_day"]) == (sent[other], sent[other]), other
            if sent[other]:
                assert answers.now_ms >= answered_ms[other]
                assert values["minutes_ago"] >= 0
            assert not answers.warming and answers.exact
        answered_ms[user] = came_ms
    assert len(offs) > 2
