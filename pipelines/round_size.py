"""How many bytes of the log a round of the drain takes, so that its memory is flat.

A round takes about a dozen times its bytes in memory: as Redis' reply, as events, as columns, and as Parquet pages.

A drain begins with small rounds, and doubles them while the log has more. So a drain that the machine kills for its
memory, at any size, moves some events after each start, and the log gets shorter. Where memory fails and the process
lives, rounds are halved, and grow again only after many that passed.
"""

from __future__ import annotations

#: Some 50,000 ordinary events.
BYTES_MAX = 16 << 20
#: The first rounds of a process have this part of it.
FIRST_PART = 8
#: Smaller rounds are not tried.
BYTES_MIN = 64 << 10
#: After a round that failed, so many must pass before rounds are doubled again.
CAREFUL_ROUNDS = 32


class RoundSize:
    """The bytes that the next round takes, and the entries that it may ask for at once, where an event has at most
    `event_bytes_max` bytes."""

    def __init__(self, event_bytes_max: int, bytes_max: int = BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.bytes = max(BYTES_MIN, bytes_max // FIRST_PART)
        self._event_bytes_max = event_bytes_max
        self._left = 0  # rounds that must pass before the next doubling

    @property
    def entries(self) -> int:
        """As many entries as have these bytes if each is of the largest."""
        return max(1, self.bytes // self._event_bytes_max)

    def passed(self) -> None:
        """A full round was committed."""
        self._left = max(0, self._left - 1)
        if self._left == 0:
            self.bytes = min(self.bytes_max, 2 * self.bytes)

    def halve(self) -> bool:
        """Memory was too small for a round; whether a smaller one is to be tried."""
        if self.bytes <= BYTES_MIN:
            return False
        self.bytes = max(BYTES_MIN, self.bytes // 2)
        self._left = CAREFUL_ROUNDS
        return True
