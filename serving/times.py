"""Instants as the wire writes them."""

from __future__ import annotations

from datetime import UTC, datetime

#: The last instant that the wire can write.
RFC3339_MAX_MS = 253_402_300_799_999


def rfc3339(ms: int) -> str:
    """An instant as text, in UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
