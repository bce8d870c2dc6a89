"""Taking the name from a tombstone, once the lake has nothing more of what its delete covers (`lua_tombstones`).

A record goes only if it has nothing newer than the delete that the lake has.

    KEYS  wanted, then a record each
    ARGV  per record: the seq of the delete that the lake has
    reply how many went
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import Key, script


class Bury(NamedTuple):
    """The KEYS and ARGV of the script; more keys are the records, more arguments their seqs."""

    wanted: Key


BURY = script(
    Bury,
    GONE,
    """
local buried = 0
for k = NAMED_KEYS + 1, #KEYS do
  local record, seq = KEYS[k], tonumber(ARGV[k - NAMED_KEYS])
  local tombstone, last, owner, forgotten, members, base =
    unpack(redis.call('HMGET', record, TOMBSTONE, LAST, OWNER, FORGOTTEN, MEMBERS, BASE))
  local deleted = tombstone and struct.unpack('>I6', tombstone)
  -- A delete leaves neither owner, members nor base: what is there came after it. Of events and unlinks LAST says so.
  local is_over = deleted and deleted <= seq and not owner and not members and (base or '') == ''
  if is_over and last then
    local _, last_seq = struct.unpack('>I6I6', last)
    is_over = last_seq <= deleted
  end
  if is_over then
    local gone, digest = gone_at(record)
    forgotten = forgotten or ''
    if #forgotten % RECENT_ENTRY_BYTES == 1 then
      local own = FORGOTTEN_PREFIX .. string.sub(record, #RECORD_PREFIX + 1)
      if redis.call('EXISTS', own) == 1 then
        redis.call('RENAME', own, gone_forgotten_key(record))
      else
        forgotten = string.sub(forgotten, 2)
      end
    end
    redis.call('HSET', gone, digest, tombstone .. forgotten)
    redis.call('DEL', record, RECENT_PREFIX .. string.sub(record, #RECORD_PREFIX + 1))
    redis.call('HDEL', wanted, record)
    buried = buried + 1
  end
end
return buried
""",
)


def command(shard: int, records: Sequence[tuple[str, int]]) -> Command:
    """Takes the names from the tombstones of some ids, (namespaced id, seq of the delete), at most RECORDS_MAX."""
    return BURY(
        Bury(wanted=keys.wanted(shard)),
        [keys.record(shard, namespaced_id) for namespaced_id, _ in records],
        [seq for _, seq in records],
    )


def read(reply: Any) -> int:
    """How many went."""
    return int(reply)
