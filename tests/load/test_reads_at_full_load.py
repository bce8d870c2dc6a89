"""Reads while events come and bases go out: every answer is that of brute force at its own `asof`."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import msgspec
import polars as pl
import pytest

from benchmarks.load import request
from lake.lake import Lake
from serving.store.store import Store
from tests.faults.parts import await_drained
from tests.load.connection import Connection
from tests.load.rebuilding import rebuilding
from tests.running import RunningStack
from tests.waiting import PAUSE_S

pytestmark = pytest.mark.xdist_group("load")

USERS = 24
WRITERS, READERS = 8, 8
BATCH = 10
#: At least so many batches: a user comes to more events than a base keeps as they are.
BATCHES = 800
#: At least so many rebuilds, each beside so many batches at the most. Writers wait then: a rebuild gives way to all
#: else that the machine has to do.
REBUILDS, BATCHES_A_REBUILD = 3, 1_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
#: Some events are so much younger than an hour that they leave its window while they are asked for.
LEAVING_MS = 8_000


@dataclass(frozen=True)
class Read:
    """An answer, and how many of the user's events were acknowledged before it was asked for."""

    user: str
    acknowledged: int
    now_ms: int
    seq: int
    traits: dict[str, Any] | None
    is_even: bool | None


@dataclass
class Load:
    """What is sent and what is answered."""

    stack: RunningStack
    begin_ms: int
    rebuilt: list[int]
    amounts: dict[str, float] = field(default_factory=dict)
    acknowledged: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    reads: list[Read] = field(default_factory=list)
    batches: int = 0
    is_over: bool = False

    async def write(self, number: int) -> None:
        """Batches of purchases, some of them of almost an hour ago."""
        chance = random.Random(f"writer-{number}")
        connection = Connection(self.stack.stack.api_url)
        while self.batches < BATCHES or len(self.rebuilt) < REBUILDS:
            if self.batches >= BATCHES_A_REBUILD * (len(self.rebuilt) + 1):
                connection.give_up()  # the server closes one that is idle for long
                await asyncio.sleep(PAUSE_S)
                continue
            self.batches += 1
            events = []
            for _ in range(BATCH):
                one = f"read-{len(self.amounts)}"
                self.amounts[one] = chance.randrange(1, 400) / 4
                event = {"type": "track", "event": "purchase", "userId": f"reader{chance.randrange(USERS)}"}
                if chance.random() < 0.3:
                    event["timestamp"] = self.begin_ms - HOUR_MS + chance.randrange(LEAVING_MS)
                events.append({**event, "messageId": one, "properties": {"amount": self.amounts[one]}})
            body = msgspec.json.encode({"batch": events})
            status, said = await connection.ask(request("POST", "/v1/batch", self.stack.keys["write"], body))
            assert (status, said.get("accepted")) == (200, BATCH), said
            for event in events:
                self.acknowledged[event["userId"]].append(event["messageId"])
        connection.give_up()

    async def read(self, number: int) -> None:
        """Traits and a flag of users at random, in turn."""
        chance = random.Random(f"reader-{number}")
        connection = Connection(self.stack.stack.api_url)
        while not self.is_over:
            user = f"reader{chance.randrange(USERS)}"
            for path, key in ((f"/v1/users/{user}/traits", "admin"), (f"/v1/decide?userId={user}&flag=even", "read")):
                known = len(self.acknowledged[user])
                status, said = await connection.ask(request("GET", path, self.stack.keys[key]))
                assert status == 200, said
                assert not said.get("warming") and said.get("exact", True) and said.get("reason") != "STALE", said
                asof = said["asof"]
                seq = asof["ids"][f"user:{user}"]["seq"]
                self.reads.append(Read(user, known, asof["now"], seq, said.get("traits"), said.get("allow")))
        connection.give_up()

    async def run(self) -> None:
        """Readers for as long as there are writers."""
        reading = [asyncio.create_task(self.read(number)) for number in range(READERS)]
        await asyncio.gather(*(self.write(number) for number in range(WRITERS)))
        self.is_over = True
        await asyncio.gather(*reading)


def brute_force(rows: list[tuple[int, int, float]], now_ms: int) -> dict[str, Any]:
    """The traits that these events, (seq, time, amount), come to."""
    hour = [amount for _, ts, amount in rows if now_ms - HOUR_MS < ts <= now_ms]
    return {
        "bought": sum(now_ms - 30 * DAY_MS < ts <= now_ms for _, ts, _ in rows),
        "spent": sum(amount for _, _, amount in rows),
        "lately": len(hour),
        "dearest": max(hour, default=None),
    }


@pytest.mark.deep
@pytest.mark.timeout(180)
def test_every_read_is_right_as_of_its_own_moment(stack: RunningStack) -> None:
    """Whatever was published meanwhile, and though events leave windows all the while: a read has every event up to the
    seq that it names and none after, each once, as of its `now`; and all that was acknowledged before it was asked."""
    with Store(stack.stack.redis_url) as store:
        begin_ms = store.now_ms()
    with rebuilding(stack) as rebuilt:
        load = Load(stack, begin_ms, rebuilt)
        asyncio.run(load.run())
    await_drained(stack)

    rows: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    seqs: dict[str, int] = {}
    ours = Lake(stack.settings.lake_root).events().filter(pl.col("event_id").str.starts_with("read-"))
    for one, event, seq, ts in ours.sort("seq").select("id", "event_id", "seq", "ts").collect().iter_rows():
        rows[one.removeprefix("user:")].append((seq, ts, load.amounts[event]))
        seqs[event] = seq
    newest = {user: [0, *accumulate((seqs[one] for one in events), max)] for user, events in load.acknowledged.items()}
    for read in load.reads:
        held = rows[read.user]
        expected = brute_force(held[: bisect_right(held, read.seq, key=lambda row: row[0])], read.now_ms)
        assert read.seq >= newest[read.user][read.acknowledged], f"{read} lacks what was acknowledged"
        if read.traits is not None:
            assert read.traits == expected, read
        else:
            assert read.is_even == (expected["lately"] % 2 == 0), read

    heavy = sum(len(events) > 256 for events in rows.values())
    print(f"{len(load.reads)} reads of {len(seqs)} events, {len(rebuilt)} rebuilds, {heavy} users are heavy")
    assert len(rebuilt) >= REBUILDS and heavy and len(seqs) == len(load.amounts)
