"""Clients that give up at random and send the same again, many times at once: each event counts once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl
import pytest

from benchmarks.load import request
from lake.lake import Lake
from tests.faults.parts import await_drained
from tests.load.connection import Connection
from tests.load.rebuilding import rebuilding
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("load")

CONNECTIONS = 50
EVENTS = 600
USERS = 30
SENDS_MAX = 10
#: So many events are under way together: each is sent by several connections at one time.
TOGETHER = 40
#: What becomes of a call: the answer is read; given up after a while; at once; or in the middle of the request.
FATES = ("read", "impatient", "impatient", "left", "left", "cut")


@dataclass
class Storm:
    """What clients sent and were told. `new` counts the events that an answer said to be no duplicates."""

    stack: RunningStack
    events: list[dict[str, Any]]
    acknowledged: set[str] = field(default_factory=set)
    new: int = 0
    given_up: int = 0
    met: int = 0
    under_way: Counter[str] = field(default_factory=Counter)

    def calls(self, chance: random.Random) -> list[tuple[list[dict[str, Any]], str, float]]:
        """Each event up to nine times, alone or in a batch, perhaps twice in one; with its fate, and the patience in
        seconds."""
        found = []
        for at in range(0, len(self.events), TOGETHER):
            sends = [one for one in self.events[at : at + TOGETHER] for _ in range(chance.randint(1, SENDS_MAX - 1))]
            chance.shuffle(sends)
            while sends:
                some = [sends.pop() for _ in range(min(len(sends), chance.choice((1, 1, 1, 2, 5))))]
                found.append((some, chance.choice(FATES), chance.uniform(0.0, 0.01)))
        return found

    def request_of(self, events: Sequence[dict[str, Any]]) -> bytes:
        """One event by itself, several as a batch."""
        path, body = ("track", events[0]) if len(events) == 1 else ("batch", {"batch": events})
        return request("POST", f"/v1/{path}", self.stack.keys["write"], msgspec.json.encode(body))

    async def client(self, calls: list[tuple[list[dict[str, Any]], str, float]]) -> None:
        """Makes the next call until there is none."""
        connection = Connection(self.stack.stack.api_url)
        while calls:
            events, fate, patience_s = calls.pop()
            ids = {event["messageId"] for event in events}
            self.met += sum(self.under_way[one] > 0 for one in ids)
            self.under_way.update(ids)
            await self.call(connection, events, fate, patience_s)
            self.under_way.subtract(ids)
        connection.give_up()

    async def call(
        self, connection: Connection, events: Sequence[dict[str, Any]], fate: str, patience_s: float | None
    ) -> None:
        """One call, with the fate that it has."""
        text = self.request_of(events)
        if fate in ("left", "cut"):
            await connection.send(text if fate == "left" else text[: len(text) // 2])
            self.given_up += 1
            connection.give_up()
            return
        try:
            async with asyncio.timeout(patience_s if fate == "impatient" else None):
                status, said = await connection.ask(text)
        except TimeoutError:
            self.given_up += 1
            connection.give_up()
            return
        assert status == 200, said
        self.acknowledged |= {event["messageId"] for event in events}
        self.new += said["accepted"] if "accepted" in said else not said["duplicate"]

    async def rage(self) -> None:
        """All calls over all connections; then each event that nobody was told of once more, by who waits."""
        calls = self.calls(random.Random(0))[::-1]
        await asyncio.gather(*(self.client(calls) for _ in range(CONNECTIONS)))
        left = [([event], "read", 0.0) for event in self.events if event["messageId"] not in self.acknowledged]
        await asyncio.gather(*(self.client(left) for _ in range(CONNECTIONS)))


@pytest.mark.deep
def test_what_was_sent_again_and_again_counts_once(stack: RunningStack) -> None:
    """Every event is acknowledged in the end, whichever of its up to ten sends got through; live values and the lake
    have each once, whether it was in a tail, in a base or on its way; and none was called new by two answers (D-19)."""
    chance = random.Random(1)
    storm = Storm(
        stack,
        [
            {
                "type": "track",
                "event": "purchase",
                "userId": f"storm{chance.randrange(USERS)}",
                "messageId": f"storm-{number}",
                "properties": {"amount": chance.randrange(1, 400) / 4},
            }
            for number in range(EVENTS)
        ],
    )
    with rebuilding(stack):
        asyncio.run(storm.rage())

    assert storm.given_up > EVENTS and storm.met > EVENTS, "clients gave up, and met"
    assert storm.acknowledged == {event["messageId"] for event in storm.events}
    assert 0 < storm.new < EVENTS, "of some events only those were told as of new ones who did not listen"
    await_drained(stack)
    ours = pl.col("event_id").str.starts_with("storm-")
    rows = Lake(stack.settings.lake_root).events().filter(ours).select("event_id").collect()
    assert sorted(rows["event_id"]) == sorted(storm.acknowledged)
    for user in {event["userId"] for event in storm.events}:
        amounts = [event["properties"]["amount"] for event in storm.events if event["userId"] == user]
        found = stack.traits(user)
        assert not found["warming"], found
        assert (found["traits"]["bought"], found["traits"]["spent"]) == (len(amounts), sum(amounts)), user
