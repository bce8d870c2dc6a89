"""Keeping the newest refused events for who watches, numbered one by one, so that it is known how many went by.

It uses no reserve: while memory is full none is kept (`serving.store.reserve`).

    KEYS  refused
    ARGV  most (entries that stay), then the JSON of each event
    reply nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script


class KeepRefused(NamedTuple):
    """The KEYS and ARGV of the script; events follow."""

    refused: Key
    most: int


KEEP_REFUSED = script(
    KeepRefused,
    """
local last = redis.call('XREVRANGE', refused, '+', '-', 'COUNT', 1)[1]
local number = last and tonumber(string.match(last[1], '^%d+')) or 0
for at = NAMED_ARGUMENTS + 1, #ARGV do
  number = number + 1
  redis.call('XADD', refused, 'MAXLEN', most, string.format('%.0f-0', number), ENTRY_EVENT, ARGV[at])
end
""",
    uses_reserve=False,
)


def command(most: int, events: Sequence[bytes]) -> Command:
    """Keeps these events, in order, and at most so many of all."""
    return KEEP_REFUSED(KeepRefused(keys.refused(), most), more_arguments=events)
