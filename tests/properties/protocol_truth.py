"""The plain truth beside the protocol: who there is, what is defined, and what it comes to by loops over events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from expressions.rules.windows import DAY_MS, HOUR_MS
from serving.store.logged_event import Accepted

USERS = ("user:ann", "user:bob", "user:cy")
DEVICES = ("anon:1", "anon:2")
IDS = USERS + DEVICES

DEFINITIONS = {
    "buys": "events.buy.count",
    "spent": "events.buy.n.sum",
    "which": "events.buy.n.values",
    "lately": "events.buy.count_1h",
    "today": "events.buy.n.max_1d",
    "any": "count_2h",
    "plan": "profile.plan",
    "views": "events.view.n.values",
    "viewed": "events.view.count_2d",
    "city": "profile.city",
}
AT_FIRST = ("buys", "spent", "which", "lately", "today", "any", "plan")


@dataclass(frozen=True)
class Copy:
    """An event that was taken: as it was sent, and where the log has it; of an imported one the lake's versions that
    have it, from one until before another.
    """

    event: Accepted
    seq: int | None
    ts_ms: int
    received_ms: int
    version: int = 0
    until: int = 2**60


def once(copies: Iterable[Copy]) -> list[Copy]:
    """The copies that count: of each event the first, and each received 24 h after the last that counts.

    An imported copy counts only if it was received before all other copies.
    """
    counted: dict[tuple[str, str], list[Copy]] = {}
    logged: dict[tuple[str, str], int] = {}
    for copy in sorted(copies, key=lambda copy: (copy.received_ms, copy.seq is None)):
        name = copy.event.id, copy.event.event_id
        of_event = counted.setdefault(name, [])
        if copy.seq is not None:
            logged.setdefault(name, copy.received_ms)
        elif of_event or name in logged:
            continue
        if not of_event or copy.received_ms - of_event[-1].received_ms >= DAY_MS:
            of_event.append(copy)
    return [copy for of_event in counted.values() for copy in of_event]


def brute_force(key: str, copies: Sequence[Copy], now_ms: int) -> Any:
    """The value of a definition, by loops over what counts."""

    def numbers(name: str, window_ms: int = 2**60) -> list[float]:
        return [
            float(copy.event.properties["n"])
            for copy in copies
            if copy.event.name == name and now_ms - window_ms < copy.ts_ms <= now_ms
        ]

    def attribute(name: str) -> str | None:
        values = [(copy.ts_ms, copy.event.traits[name]) for copy in copies if name in copy.event.traits]
        return max(values)[1] if values else None

    match key:
        case "buys":
            return float(len(numbers("buy")))
        case "spent":
            return sum(numbers("buy"))
        case "which":
            return tuple(sorted(set(numbers("buy"))))
        case "lately":
            return float(len(numbers("buy", HOUR_MS)))
        case "today":
            return max(numbers("buy", DAY_MS), default=None)
        case "any":
            return float(sum(len(numbers(name, 2 * HOUR_MS)) for name in ("buy", "view")))
        case "views":
            return tuple(sorted(set(numbers("view"))))
        case "viewed":
            return float(len(numbers("view", 2 * DAY_MS)))
        case "plan" | "city":
            return attribute(key)
    raise AssertionError(f"no brute force for {key}")
