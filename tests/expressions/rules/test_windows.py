"""Dates are those of the zone's own clocks, at any time, and never go back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from expressions.batch.dates import day_of
from expressions.rules.windows import DAY_MS, HOUR_MS, Zone
from tests.oracle_values import dated

#: A half-hour zone, clocks put back at 00:01, dates left out, a date twice, summer time in winter, and the usual.
ZONES = [
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/Juneau",
    "Asia/Manila",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day(ts_ms: int, name: str) -> int:
    """The date of an instant by the oracle, in days since 1970-01-01."""
    return (dated(ts_ms, ZoneInfo(name)) - date(1970, 1, 1)).days


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize("name", ZONES)
def test_dates_are_those_of_the_clocks_around_every_change(name: str) -> None:
    """The date of an instant, and of a column of instants, follows the clocks from a change's first millisecond."""
    zone = Zone(name)
    changes = zone.calendar.starts_ms[1:]
    near = [-DAY_MS, -2 * HOUR_MS, -61_000, -1, 0, 1, 59_000, 59 * 60_000, 2 * HOUR_MS, DAY_MS]
    instants = [change + away for change in changes[:40] + changes[-5:] for away in near]
    wanted = [day(instant, name) for instant in instants]

    assert [zone.day(instant) for instant in instants] == wanted
    assert pl.DataFrame({"ts": instants}).select(day_of(pl.col("ts"), zone))["ts"].to_list() == wanted


@pytest.mark.parametrize("name", ZONES)
def test_a_date_starts_with_its_first_instant(name: str) -> None:
    """The millisecond before a date's start is of an earlier date; a date that was left out starts with the next."""
    zone = Zone(name)
    days = {zone.day(change) + more for change in zone.calendar.starts_ms[1:] for more in (-1, 0, 1, 2)}
    for date_number in sorted(days):
        start_ms = zone.day_start_ms(date_number)
        assert zone.day(start_ms - 1) < date_number <= zone.day(start_ms)


def test_every_change_is_known() -> None:
    """The search for changes day by day misses none in a zone that has many."""
    zone = ZoneInfo("America/St_Johns")
    hours = (EPOCH + timedelta(hours=hour) for hour in range(-40 * 365 * 24, 60 * 365 * 24, 6))
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    changed = sum(before != after for before, after in pairwise(offsets))
    first, last = (int((EPOCH + timedelta(days=365 * years)).timestamp()) * 1000 for years in (-40, 60))

    assert sum(first < start_ms < last for start_ms in Zone("America/St_Johns").calendar.starts_ms) == changed


def test_dates_go_on_before_and_after_what_is_known_of_zones() -> None:
    """Dates are right from the year 1, the first that an event may have, to long after the last known change."""
    zone = Zone("America/New_York")
    for year in (1, 3000):
        noon_ms = (datetime(year, 1, 2, 17, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
        assert zone.day(noon_ms) == (date(year, 1, 2) - date(1970, 1, 1)).days
    assert zone.day((datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)) == -719_163
