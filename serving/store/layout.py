"""How a record lays out its bytes: tail entries, and the covered events of the last 24 h (`recent`).

The events that a delete took (`forgotten`) are laid out as `recent` is, with the same bounds.
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

#: Tail entries that a script has in memory at once.
TAIL_VISITED_AT_ONCE = 1_000

#: An entry of `recent` is the event id's hash, received, seq (0 for an imported event, which has none).
RECENT_ENTRY_BYTES = 20
#: Beyond this `recent` has a key of its own.
RECENT_INLINE_BYTES = 64 * RECENT_ENTRY_BYTES
#: A long `forgotten` is not written anew for each delete. Up to so many bytes of entries stand in the record beside it.
FORGOTTEN_BESIDE_BYTES_MAX = 20_000 * RECENT_ENTRY_BYTES
#: Entries that a look in that key reads at once, and how often it guesses where before it bisects.
RECENT_BLOCK, RECENT_GUESSES_MAX = 16, 4
#: How long that key lives after its publish: as long as an entry matters, and an hour for a clock that went back.
RECENT_TTL_MS = 25 * 3_600_000
#: How long a `recent` that is written in pieces waits for its base. The base follows within seconds.
STAGED_TTL_MS = 600_000

#: A last receipt further ahead of the server's clock than this is not believed. Until then receipts stand still at the
#: last one after the clock went back, so that nothing that was acknowledged is of the future to the next reader. A time
#: daemon steps a clock by up to 1,000 s (ntpd gives up beyond that), and the clocks of a server and its replica are
#: closer. A clock that was ahead for longer was wrong: to stand still until it is right would cost more than windows
#: that go back once.
LEAD_MS_MAX = 1_000_000


def believed_ms(last_ms: int, clock_ms: int) -> int:
    """The last receipt, or the clock where that receipt is too far ahead of it to be believed; UTC ms."""
    return last_ms if last_ms <= clock_ms + LEAD_MS_MAX else clock_ms


def recent_entry(event_hash: bytes, received_ms: int, seq: int | None) -> bytes:
    """A covered event as `recent` remembers it; `seq` is None of an imported one."""
    return event_hash + positions.encode(received_ms, seq or 0)


def in_order(recent: bytes) -> bytes:
    """The entries in order of the hash."""
    size = RECENT_ENTRY_BYTES
    return b"".join(sorted(recent[at : at + size] for at in range(0, len(recent), size)))
