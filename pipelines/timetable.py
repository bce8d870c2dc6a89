"""When scheduled work is due: by a schedule that is kept elsewhere and read from time to time, or by an interval.

All instants are UTC milliseconds.
"""

from __future__ import annotations

from typing import NamedTuple


class Timetable(NamedTuple):
    """The times of a schedule that is kept elsewhere, as they were last seen.

    `times_ms` are those to come, and those that have passed and not been served. `is_active` is False for a schedule
    that is paused or was removed: nothing is due by itself then. `sends_orders` says that whoever keeps the schedule
    is there and asks for each run itself.
    """

    is_active: bool
    times_ms: tuple[int, ...]
    sends_orders: bool


def is_due(timetable: Timetable | None, now_ms: int, began_ms: int, by_interval: bool) -> bool:
    """Whether work is to begin without being asked for.

    `began_ms` is when the work last began that succeeded; it served every earlier time. `by_interval` is what the
    worker's own clock says. That clock rules where no schedule was ever seen, and after its last known time.
    """
    if timetable is None:
        return by_interval
    if not timetable.is_active:
        return False
    if any(began_ms < time_ms <= now_ms for time_ms in timetable.times_ms):
        return not timetable.sends_orders
    if any(time_ms > now_ms for time_ms in timetable.times_ms):
        return False
    return by_interval
