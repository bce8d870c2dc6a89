"""Instants as people read them, in the workspace's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

from dashboard.console import console
from dashboard.workspace import workspace


def zone() -> tzinfo:
    """The workspace's time zone, whose dates traits count."""
    return _zone_of(console().api_url)


@cache
def _zone_of(api_url: str) -> tzinfo:
    """That of the stack at an address, asked once: a stack keeps it, and a table has hundreds of times."""
    return ZoneInfo(workspace()["time_zone"])


def instant(text: str | None) -> datetime | None:
    """An RFC 3339 time in the workspace's zone, for a table's column; None for none."""
    return None if not text else datetime.fromisoformat(text).astimezone(zone())


def time_text(text: str | None) -> str:
    """An RFC 3339 time as `2026-11-30 10:22:05`, and a dash for none."""
    at = instant(text)
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def ms_text(ms: int) -> str:
    """The same for UTC milliseconds. An age may reach a number in a year that has no such text."""
    try:
        return time_text(datetime.fromtimestamp(ms / 1000, UTC).isoformat())
    except (ValueError, OverflowError):
        return "after the year 9999"


def ago(text: str | None, now: str) -> str:
    """How long before `now` a time was, roughly, as `3 min ago`; `never` for none."""
    if not text:
        return "never"
    seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(text)).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds // size:,.0f} {unit} ago" if seconds > 0 else f"in {-seconds // size:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} s ago"


def begin_of(day: date | None, days: int = 0) -> str | None:
    """When a date begins in the workspace's zone, so many days later; None for none."""
    return None if day is None else datetime.combine(day + timedelta(days), time(), zone()).isoformat()
