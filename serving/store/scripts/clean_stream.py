"""Leaving nothing of a stream up to an entry, to the last byte.

A stream only marks an entry of a block that it keeps; the bytes stay, in memory and in every file that is written of
it. So the entries that stay move to a new stream.

    KEYS  stream
    ARGV  upto (id of the last entry that goes), stay_max (most entries that may stay)
    reply how many stayed | -1 more than that would, so nothing was done
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store.requests import Command
from serving.store.scripts.script import Key, script

#: Entries that one call moves: some tens of milliseconds, in which the shard waits.
ENTRIES_MAX = 5_000


class CleanStream(NamedTuple):
    """The KEYS and ARGV of the script."""

    stream: Key
    upto: str
    stay_max: int


CLEAN_STREAM = script(
    CleanStream,
    """
local entries = redis.call('XRANGE', stream, '(' .. upto, '+', 'COUNT', stay_max + 1)
if #entries > stay_max then return -1 end
redis.call('DEL', stream)
for _, entry in ipairs(entries) do
  local entry_id, fields = unpack(entry)
  redis.call('XADD', stream, entry_id, unpack(fields))
end
return #entries
""",
)


def command(stream: str, upto: str) -> Command:
    """Leaves nothing of a stream up to and with an entry."""
    return CLEAN_STREAM(CleanStream(stream=stream, upto=upto, stay_max=ENTRIES_MAX))


def read(reply: Any) -> bool:
    """Whether it was done."""
    return int(reply) >= 0
