"""When an event happened, by the clock of its sender and by ours.

A client says when the event happened (`timestamp`) and when it sent the request (`sentAt`), both by its own clock,
which may be minutes or years off. `sentAt` against the receipt shows how far it is off, so the event happened at
`received − (sentAt − timestamp)`. Queued events that are sent later carry a new `sentAt`, and come out right too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from expressions.rules.values import instant_ms
from serving.refusals import invalid
from serving.times import RFC3339_MAX_MS

#: A smaller difference is the time on the network, and is left alone.
SKEW_MIN_MS = 1_000

#: Instants are kept from the year 1, before which calendars end, to 6429. Later ones, up to the year 9999, are in the
#: future anyway, and clamped to the receipt.
INSTANT_MIN_MS, INSTANT_MAX_MS = -62_135_596_800_000, 2**47 - 1

#: 1990. A number before it is more likely seconds than milliseconds: 1,700,000,000 would be a day of January 1970.
NUMBER_MIN_MS = 631_152_000_000

_TIMESTAMP_MESSAGE = "Invalid timestamp format. Use ISO 8601 format (e.g., '2023-01-01T12:00:00Z')"


class EventTime(NamedTuple):
    """When an event happened, UTC ms; None where the client does not say. `clock`: its own times, if they were off."""

    ms: int | None
    clock: dict[str, Any] | None = None


def event_time(raw: Mapping[str, Any], sent_at: Any, received_ms: int) -> EventTime:
    """When the event happened, by our clock. Raises `Invalid` for a text or number that is no time.

    The event's own `sentAt` counts before `sent_at`, that of its request. A `sentAt` that cannot be read counts as
    absent, and without any the client's clock is trusted. A `timestamp` beside an `originalTimestamp` is trusted too:
    the client's library has corrected it.
    """
    stated_ms = _first(raw, "timestamp", "ts")
    original_ms = _first(raw, "originalTimestamp")
    client_ms = stated_ms if stated_ms is not None else original_ms
    if client_ms is None or (stated_ms is not None and original_ms is not None):
        return EventTime(client_ms)
    sent_ms = read_ms(raw.get("sentAt"))
    if sent_ms is None:
        sent_ms = read_ms(sent_at)
    if sent_ms is None or abs(received_ms - sent_ms) < SKEW_MIN_MS:
        return EventTime(client_ms)
    return EventTime(_within_bounds(client_ms + received_ms - sent_ms), {"timestamp": client_ms, "sentAt": sent_ms})


def read_ms(value: Any) -> int | None:
    """ISO 8601 text, or epoch milliseconds from 1990 on, as UTC ms; None for any other value.

    An offset may lead out of the years 1 to 9999 of UTC: such a text is no time, as one with the year 0 is none.
    """
    if isinstance(value, str):
        text = value.strip()
        ms = instant_ms(text)
        if ms is None:
            ms = _other_iso_ms(text)
        return _within_bounds(ms) if ms is not None and INSTANT_MIN_MS <= ms <= RFC3339_MAX_MS else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and NUMBER_MIN_MS <= value <= INSTANT_MAX_MS:
        return math.floor(value)
    return None


def _is_early(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and INSTANT_MIN_MS <= value < NUMBER_MIN_MS


def _within_bounds(ms: int) -> int:
    return min(max(ms, INSTANT_MIN_MS), INSTANT_MAX_MS)


def _first(raw: Mapping[str, Any], *fields: str) -> int | None:
    """The time in the first of these fields that has one. Raises `Invalid` for a field that holds anything else."""
    first: int | None = None
    for name in fields:
        value = raw.get(name)
        if value is None:
            continue
        if _is_early(value):
            remedy = "send milliseconds since 1970 (seconds times 1,000), or ISO 8601 for a time before 1990"
            raise invalid(name, value, remedy)
        ms = read_ms(value)
        if ms is None:
            raise invalid(name, value, "use ISO 8601, as 2023-01-01T12:00:00Z", _TIMESTAMP_MESSAGE)
        first = ms if first is None else first
    return first


def _other_iso_ms(text: str) -> int | None:
    """The instant of a further ISO 8601 form that the standard library reads, such as 20230101T120000Z.

    None for any other text; a bare year is no time. Of digits alone only eight are one: "1700010110000" is a number, in
    which the library would find the year 1700.
    """
    if len(text) < 8 or (len(text) > 8 and text.isdecimal()):
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return math.floor(aware.timestamp() * 1000)
