"""What happened to a user, as tests write it: plain events in the order in which they arrived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event as an app sent it: times in UTC milliseconds, fields as JSON (of an identify its attributes).

    `id` is its event id ("": one of its own); `received_ms` is when it came, with its time if not said; `imported`: it
    came with a file of history and not through the log; `names` is the anonymous id that it names beside its own.
    """

    kind: str
    name: str | None
    ts_ms: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    received_ms: int | None = None
    imported: bool = False
    names: str | None = None

    @property
    def came_ms(self) -> int:
        """When it was received."""
        return self.ts_ms if self.received_ms is None else self.received_ms
