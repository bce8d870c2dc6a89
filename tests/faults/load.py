"""Clients under load, as an app has them: each sends batches, and repeats one until it is acknowledged.

What was acknowledged is kept, so that a test can say afterwards what must be there. Seeded: the same events in the same
batches for the same seed; only how the clients interleave is up to the machine.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.running import RunningStack
from tests.waiting import PAUSE_S, wait_until

USERS = 40
BATCH = 10


@dataclass
class Load:
    """What some clients sent. `acknowledged` has the message ids whose batch was answered with 200."""

    stack: RunningStack
    name: str
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    #: how often each status was answered; 0 where no answer came
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def await_more(self, count: int) -> None:
        """Returns when so many more events are acknowledged."""
        upto = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= upto, f"{count} more events are acknowledged")

    def expected(self) -> dict[str, tuple[int, float]]:
        """For each user how many purchases were sent, and their sum: all of them are acknowledged after the load."""
        assert self.acknowledged == set(self.sent), "a client gave up"
        found: dict[str, tuple[int, float]] = {}
        for event in self.sent.values():
            count, amount = found.get(event["userId"], (0, 0.0))
            found[event["userId"]] = (count + 1, amount + event["properties"]["amount"])
        return found

    def run(self, client: int) -> None:
        """One client, until the load is stopped and its last batch is acknowledged."""
        chance = random.Random(f"{self.name}-{client}")
        number = 0
        with httpx.Client(base_url=self.stack.stack.api_url, timeout=10) as http:
            while not self._stop.is_set():
                batch = []
                for _ in range(BATCH):
                    number += 1
                    batch.append(
                        {
                            "type": "track",
                            "event": "purchase",
                            "userId": f"{self.name}{chance.randrange(USERS)}",
                            "messageId": f"{self.name}-{client}-{number}",
                            "properties": {"amount": chance.randrange(1, 400) / 4},
                        }
                    )
                self.sent |= {event["messageId"]: event for event in batch}
                while not self.send(http, batch):
                    threading.Event().wait(PAUSE_S)
                self.acknowledged |= {event["messageId"] for event in batch}

    def send(self, http: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        """Sends one batch once; whether it was acknowledged."""
        headers = {"Authorization": f"Bearer {self.stack.keys['write']}"}
        try:
            answer = http.post("/v1/batch", json={"batch": batch}, headers=headers)
        except httpx.TransportError:
            self.statuses[0] += 1
            return False
        self.statuses[answer.status_code] += 1
        if answer.status_code in (429, 503) and "retry-after" not in answer.headers:
            self.without_retry_after += 1
        return answer.status_code == 200

    def stop(self) -> None:
        """No new batches."""
        self._stop.set()


@contextmanager
def load(stack: RunningStack, name: str, clients: int = 3) -> Iterator[Load]:
    """Clients that send until the block ends; then their last batches are acknowledged."""
    found = Load(stack, name)
    threads = [threading.Thread(target=found.run, args=(client,), daemon=True) for client in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stop()
        for thread in threads:
            thread.join(timeout=60)
