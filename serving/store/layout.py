"""How a record lays out its bytes: tail entries, and the covered events of the last 24 h (`recent`).

Scripts know the constants below by the same names (`scripts.script`).
"""

from __future__ import annotations

from expressions.rules.repeats import REPEAT_MS
from serving.ids import EVENT_HASH_BYTES
from serving.store import positions

__all__ = ["EVENT_HASH_BYTES", "REPEAT_MS"]  # for scripts

#: A tombstone is a position: seq and receipt of the delete.
POSITION_BYTES = 12

#: A tail entry is seq, ts, received (six bytes each, big-endian; ts may be before 1970), then msgpack.
TAIL_HEADER_BYTES = 18

#: An entry of `recent` is the event id's hash, received, seq (0 for an imported event, which has none).
RECENT_ENTRY_BYTES = 20
#: Beyond this `recent` has a key of its own.
RECENT_INLINE_BYTES = 64 * RECENT_ENTRY_BYTES
#: Entries that a look in that key reads at once, and how often it guesses where before it bisects.
RECENT_BLOCK, RECENT_GUESSES_MAX = 16, 4
#: How long that key lives after its publish: as long as an entry matters, and an hour for a clock that went back.
RECENT_TTL_MS = 25 * 3_600_000


def recent_entry(event_hash: bytes, received_ms: int, seq: int | None) -> bytes:
    """A covered event as `recent` remembers it; `seq` is None of an imported one."""
    return event_hash + positions.encode(received_ms, seq or 0)


def in_order(recent: bytes) -> bytes:
    """The entries in order of the hash."""
    size = RECENT_ENTRY_BYTES
    return b"".join(sorted(recent[at : at + size] for at in range(0, len(recent), size)))
