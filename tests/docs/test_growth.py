"""The sizes that the page on growth computes follow from those that it says were measured."""

from __future__ import annotations

import math
import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "growth.md").read_text()
USERS = [10**6, 10**7, 10**8, 10**9]

EVENTS_OF_USER, DECISIONS_A_DAY, BUSIEST, DAY_S, REBUILDS_A_DAY = 100, 10, 5, 86_400, 96


def measured(what: str) -> list[float]:
    """The numbers of the row that begins so."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {what}")]
    return [float(number.replace(",", "")) for number in re.findall(r"[\d.,]*\d", row.split("|")[2])]


def computed(what: str) -> list[float]:
    """The numbers of a row, one for each number of users, in bytes, seconds or pieces."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {what}")]
    powers = {"": 1, "MB": 1e6, "GB": 1e9, "TB": 1e12, "µs": 1e-6, "min": 60, "h": 3600}
    cells = [cell.strip().replace(",", "").split(" ") for cell in row.split("|")[2:-1]]
    return [float(cell[0]) * powers[cell[1] if len(cell) > 1 else ""] for cell in cells]


def assert_follows(what: str, of_user: float) -> None:
    """Each number of the row is that of one user, times the users, as far as two digits tell."""
    found = computed(what)
    assert len(found) == len(USERS)
    for users, number in zip(USERS, found, strict=True):
        assert math.isclose(number, users * of_user, rel_tol=0.05), (what, users, number, users * of_user)


def test_memory_and_disk_follow_from_what_was_measured() -> None:
    """Redis keeps bases, a day of hashes and what no rebuild covered; the lake keeps all events."""
    (base,), (day_old,) = measured("Redis: a person"), measured("Redis: an event of")
    (fresh,) = measured("Redis: an event that")
    (in_lake,) = measured("lake: an event with a random")

    assert_follows("events in the lake", EVENTS_OF_USER)
    assert_follows("Redis, bytes in use", base + day_old + fresh / REBUILDS_A_DAY)
    assert_follows("lake, bytes", EVENTS_OF_USER * in_lake)


def test_a_rebuild_follows_from_what_was_measured() -> None:
    """It reads the whole lake, so both its time and its memory grow with the events."""
    (seconds,) = measured("full rebuild, 10,000,000 events")
    (gigabytes,) = measured("full rebuild, the same: the worker's memory")

    assert_follows("full rebuild, processor time", seconds / 1e7 * EVENTS_OF_USER)
    assert_follows("full rebuild, memory", gigabytes * 1e9 / 1e7 * EVENTS_OF_USER)


def test_processes_follow_from_what_was_measured() -> None:
    """So many as the busiest hour needs, at half of what one did: the other half is for what is no average."""
    (decisions,), (events,) = measured("one API process: decisions"), measured("one API process: events")
    of_decision_us, of_event_us = measured("Redis: processor time")
    decided, sent = BUSIEST * DECISIONS_A_DAY / DAY_S, BUSIEST / DAY_S

    assert_follows("decisions a second", decided)
    assert_follows("events a second", sent)
    processes = [math.ceil(2 * users * (decided / decisions + sent / events)) for users in USERS]
    assert computed("API processes") == processes
    assert_follows("Redis, cores", (decided * of_decision_us + sent * of_event_us) / 1e6)
