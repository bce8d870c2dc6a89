"""Several callers at one moment: what each asks of the store goes out one command at a time, in a given order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from serving.store.requests import Command, Request, Steps
from serving.store.store import Store


def at_once(
    store: Store, callers: Sequence[Steps[Any]], order: Sequence[int], commands: int | None = None
) -> list[Any]:
    """Follows all of them to the end, each time the one whose turn it is of those that still ask; what each returned.

    `order` is repeated: its numbers name a caller by the place among those that are not done. The commands of a request
    come one after another, as they go to several shards. After so many `commands`, if given, all callers are killed.
    """
    results: list[Any] = [None] * len(callers)
    asking: dict[int, Request[Any]] = {}
    replies: dict[int, list[Any]] = {}

    def go_on(number: int, reply: Any) -> None:
        try:
            asking[number], replies[number] = callers[number].send(reply), []
        except StopIteration as stop:
            asking.pop(number, None)
            results[number] = stop.value

    for number in range(len(callers)):
        go_on(number, None)
    turns = cycle(order)
    asked = 0
    while asking and asked != commands:
        asked += 1
        waiting = sorted(asking)
        number = waiting[next(turns) % len(waiting)]
        request = asking[number]
        if request.commands:
            replies[number].append(store.ask(_alone(request.commands[len(replies[number])])))
        if len(replies[number]) == len(request.commands):
            go_on(number, request.read(replies[number]))
    return results


def _alone(command: Command) -> Request[Any]:
    return Request([command], lambda replies: replies[0])
