"""Putting right what records say of times at which Redis' clock was ahead: all such times go back by one span.

So what came later than something still did. Tail entries and bases are left: a rebuild replaces them.

    KEYS  shard, then a record each
    ARGV  believed_until_ms (later times are wrong), span_ms
    reply how many records changed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script

#: Records of one call.
RECORDS_MAX = 1_000


class Restamp(NamedTuple):
    """The KEYS and ARGV of the script; more keys are the records."""

    shard: Key
    believed_until_ms: int
    span_ms: int


RESTAMP = script(
    Restamp,
    """
local last = tonumber(redis.call('HGET', shard, LAST_RECEIPT) or 0)
if last > believed_until_ms then redis.call('HSET', shard, LAST_RECEIPT, string.format('%d', last - span_ms)) end
local changed = 0
for k = NAMED_KEYS + 1, #KEYS do
  local record = KEYS[k]
  local tombstone, unlinked, position, owner_field =
    unpack(redis.call('HMGET', record, TOMBSTONE, UNLINKED, LAST, OWNER))
  local changes = {}
  for field, value in pairs({[TOMBSTONE] = tombstone, [UNLINKED] = unlinked}) do
    if value then
      local seq, ms = struct.unpack('>I6I6', value)
      if ms > believed_until_ms then changes[field] = struct.pack('>I6I6', seq, ms - span_ms) end
    end
  end
  if position then
    local ms, seq = struct.unpack('>I6I6', position)
    if ms > believed_until_ms then changes[LAST] = struct.pack('>I6I6', ms - span_ms, seq) end
  end
  if owner_field then
    local owner = cmsgpack.unpack(owner_field)
    if owner[3] > believed_until_ms then
      owner[3] = owner[3] - span_ms
      changes[OWNER] = cmsgpack.pack(owner)
    end
  end
  if next(changes) then changed = changed + 1 end
  for field, value in pairs(changes) do redis.call('HSET', record, field, value) end
end
return changed
""",
)


def command(shard: int, ids: Sequence[str], believed_until_ms: int, span_ms: int) -> Command:
    """Puts the times of some ids of a shard right, at most RECORDS_MAX."""
    given = Restamp(shard=keys.shard(shard), believed_until_ms=believed_until_ms, span_ms=span_ms)
    return RESTAMP(given, [keys.record(shard, namespaced_id) for namespaced_id in ids])


def read(reply: Any) -> int:
    """How many records changed."""
    return int(reply)
