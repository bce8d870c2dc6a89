"""An app's clients under load: each sends batches, and repeats a batch until it is acknowledged.

A load keeps the acknowledged ids, so that a test can say afterwards which events must be there. The same name sends the
same events in the same batches; only how the clients interleave is up to the machine.
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
#: A client's pause before it sends a batch again.
RETRY_S = 0.05


@dataclass
class Load:
    """The events that clients sent, by message id. `acknowledged` has the ids whose batch was answered with 200."""

    stack: RunningStack
    name: str
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    #: How often each status was answered; 0 stands for no answer.
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def await_more(self, count: int) -> None:
        """Returns when so many more events are acknowledged."""
        upto = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= upto, f"{count} more events are acknowledged")

    def expected(self) -> dict[str, tuple[int, float]]:
        """user -> how many purchases were sent, and their sum. After the load all are acknowledged."""
        assert self.acknowledged == set(self.sent), "a client gave up"
        purchases: dict[str, tuple[int, float]] = {}
        for event in self.sent.values():
            count, amount = purchases.get(event["userId"], (0, 0.0))
            purchases[event["userId"]] = (count + 1, amount + event["properties"]["amount"])
        return purchases

    def run(self, client: int) -> None:
        """Sends as one client until the load is stopped and the last batch is acknowledged."""
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
                    threading.Event().wait(RETRY_S)
                self.acknowledged |= {event["messageId"] for event in batch}
                self._stop.wait(PAUSE_S)

    def send(self, http: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        """Sends a batch once; returns whether it was acknowledged."""
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
        """Lets clients begin no new batch."""
        self._stop.set()


@contextmanager
def load(stack: RunningStack, name: str, clients: int = 3) -> Iterator[Load]:
    """Sends as some clients until the block ends; their last batches are acknowledged then."""
    sent = Load(stack, name)
    threads = [threading.Thread(target=sent.run, args=(client,), daemon=True) for client in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        sent.stop()
        for thread in threads:
            thread.join(timeout=60)
