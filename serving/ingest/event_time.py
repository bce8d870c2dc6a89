"""When an event happened, by the clocks of whoever sent it.

A client says when the event happened (`timestamp`) and when it sent the request (`sentAt`), both by its own clock,
which may be minutes or years off. What the clock is off by shows in `sentAt` against the receipt, so the event happened
at `received − (sentAt − timestamp)`. Queued events that are sent later carry a new `sentAt`, and come out right too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from expressions.rules.values import instant_ms
from serving.refusals import invalid

#: A smaller difference is the way through the network, and is left alone.
SKEW_MIN_MS = 1_000

#: Instants that are kept: from the year 1, before which calendars end, to 6429. What is later is in the future anyway,
#: and clamped to the receipt.
INSTANT_MIN_MS, INSTANT_MAX_MS = -62_135_596_800_000, 2**47 - 1

_TIMESTAMP_MESSAGE = "Invalid timestamp format. Use ISO 8601 format (e.g., '2023-01-01T12:00:00Z')"


class EventTime(NamedTuple):
    """When an event happened, UTC ms; None where the client does not say. `clock` is what it said, if that was off."""

    ms: int | None
    clock: dict[str, Any] | None = None


def event_time(raw: Mapping[str, Any], sent_at: Any, received_ms: int) -> EventTime:
    """When the event happened by our clock. Raises `Invalid` for a time that is none.

    Of the event's own `sentAt` and that of the request the event's counts; one that cannot be read is as none, and
    without one the client's clock is trusted. A `timestamp` beside an `originalTimestamp` was corrected before.
    """
    stated = _first(raw, "timestamp", "ts")
    original = _first(raw, "originalTimestamp")
    told = stated if stated is not None else original
    if told is None or (stated is not None and original is not None):
        return EventTime(told)
    own = raw.get("sentAt")
    sent = read_ms(own)
    if sent is None:
        own = sent_at
        sent = read_ms(own)
    if sent is None or abs(received_ms - sent) < SKEW_MIN_MS:
        return EventTime(told)
    return EventTime(_kept(told + received_ms - sent), {"timestamp": told, "sentAt": sent})


def read_ms(value: Any) -> int | None:
    """ISO 8601 text or epoch milliseconds as UTC ms; None for what is neither."""
    if isinstance(value, str):
        text = value.strip()
        found = instant_ms(text)
        if found is None:
            found = _other_iso_ms(text)
        return None if found is None else _kept(found)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and INSTANT_MIN_MS <= value <= INSTANT_MAX_MS:
        return math.floor(value)
    return None


def _kept(ms: int) -> int:
    return min(max(ms, INSTANT_MIN_MS), INSTANT_MAX_MS)


def _first(raw: Mapping[str, Any], *fields: str) -> int | None:
    """The first of these fields that holds a time. Raises `Invalid` for any of them that holds something else."""
    first: int | None = None
    for name in fields:
        value = raw.get(name)
        if value is None:
            continue
        found = read_ms(value)
        if found is None:
            raise invalid(name, value, "use ISO 8601, as 2023-01-01T12:00:00Z", _TIMESTAMP_MESSAGE)
        first = found if first is None else first
    return first


def _other_iso_ms(text: str) -> int | None:
    """The further ISO 8601 forms that the standard library reads, such as 20230101T120000Z; a bare year is none."""
    if len(text) < 8:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return math.floor(aware.timestamp() * 1000)
