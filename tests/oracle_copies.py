"""Which copies of an event count (S11), to the oracle: one by one, in order of receipt."""

from __future__ import annotations

from collections.abc import Sequence

from tests.history import Event
from tests.oracle_values import alike

DAY_MS = 86_400_000


def once(events: Sequence[Event]) -> list[Event]:
    """S11: the events that count; a repeat counts again after 24 h, an imported one never behind another copy."""
    held: dict[str | int, list[Event]] = {}
    logged = {one.id: one.came_ms for one in reversed(events) if one.id and not one.imported}
    for one in sorted(events, key=lambda one: (not one.imported, one.imported and (one.came_ms, *alike(one)))):
        counted = held.setdefault(one.id or id(one), [])
        is_behind = one.imported and one.came_ms >= logged.get(one.id, one.came_ms + 1)
        is_new = not counted or (not one.imported and one.came_ms - counted[-1].came_ms >= DAY_MS)
        if not is_behind and is_new:
            counted.append(one)
    return [one for counted in held.values() for one in counted]
