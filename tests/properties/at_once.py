"""Several callers at one moment: what each asks of the store goes out one request at a time, in a given order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from serving.store.requests import Request, Steps
from serving.store.store import Store


def at_once(store: Store, callers: Sequence[Steps[Any]], order: Sequence[int]) -> list[Any]:
    """Follows all of them to the end, each time the one whose turn it is of those that still ask; what each returned.

    `order` is repeated: its numbers name a caller by the place among those that are not done.
    """
    results: list[Any] = [None] * len(callers)
    asking: dict[int, Request[Any]] = {}

    def go_on(number: int, reply: Any) -> None:
        try:
            asking[number] = callers[number].send(reply)
        except StopIteration as stop:
            asking.pop(number, None)
            results[number] = stop.value

    for number in range(len(callers)):
        go_on(number, None)
    turns = cycle(order)
    while asking:
        waiting = sorted(asking)
        number = waiting[next(turns) % len(waiting)]
        go_on(number, store.ask(asking[number]))
    return results
