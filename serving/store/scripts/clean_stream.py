"""Leaving nothing of a stream up to an entry, to the last byte.

A stream only marks an entry of a block that it keeps; the bytes stay, in memory and in every file that is written of
it. So the entries that stay move to a new stream.

    KEYS  stream
    ARGV  upto (id of the last entry that goes), stay_max, bytes_max (most entries and bytes that may stay)
    reply how many stayed | -1 more than that would, so nothing was done
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store.requests import Command
from serving.store.scripts.script import Key, script

#: Entries that one call moves: some tens of milliseconds, in which the shard waits.
ENTRIES_MAX, BYTES_MAX = 5_000, 16 << 20


class CleanStream(NamedTuple):
    """The KEYS and ARGV of the script."""

    stream: Key
    upto: str
    stay_max: int
    bytes_max: int


CLEAN_STREAM = script(
    CleanStream,
    """
local entries, size, after = {}, 0, upto
repeat
  local part = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 100)
  for _, entry in ipairs(part) do
    entries[#entries + 1] = entry
    for _, word in ipairs(entry[2]) do size = size + #word end
    after = entry[1]
  end
  if #entries > stay_max or size > bytes_max then return -1 end
until #part < 100
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
    return CLEAN_STREAM(CleanStream(stream=stream, upto=upto, stay_max=ENTRIES_MAX, bytes_max=BYTES_MAX))


def read(reply: Any) -> bool:
    """Whether it was done."""
    return int(reply) >= 0
