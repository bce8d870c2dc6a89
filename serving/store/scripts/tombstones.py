"""Tombstones without a name: where a record goes that was deleted and purged, and how it comes back.

A record's key names its id. When all that a delete covers is gone from the lake, its tombstone and what it remembers of
the last 24 h move to the shard's `gone`, under the hash of the id. The first thing that is written for the id then
brings them back, so nothing that a tombstone refuses gets past it meanwhile. Reads need not look: an id that is gone
has nothing to show. Nor does a retry of what was deleted bring anything back: it is looked up where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.store import keys
from serving.store.scripts.script import Argument, Command, Script

GONE = """
-- the shard's hash of them, and the field of this record
local function gone_at(record)
  local tag, id = string.match(record, '^rec:({%d+}):(.*)$')
  return 'gone:' .. tag, redis.sha1hex(id), tag
end

-- the tombstone of a record that is gone, as the record had it; nil of one that is not
local function gone_tombstone(record)
  local key, field = gone_at(record)
  local held = redis.call('HGET', key, field)
  return held and string.sub(held, 1, 12) or nil
end

-- What a record that is gone remembers, and the key where that is when it is long; nil of one that is not gone.
local function gone_recent(record)
  local key, field, tag = gone_at(record)
  local held = redis.call('HGET', key, field)
  if held then return string.sub(held, 13), 'recent:' .. tag .. ':' .. field end
end

-- Brings back what a record remembers; whether there was anything.
local function revive(record)
  local key, field, tag = gone_at(record)
  local held = redis.call('HGET', key, field)
  if not held then return false end
  redis.call('HSETNX', record, 'd', string.sub(held, 1, 12))
  local recent = string.sub(held, 13)
  if recent == '+' then
    local apart = 'recent:' .. tag .. ':' .. field
    if redis.call('EXISTS', apart) == 1 then
      redis.call('RENAME', apart, 'recent' .. string.sub(record, 4))
    else
      recent = ''
    end
  end
  if recent ~= '' then redis.call('HSETNX', record, 'r', recent) end
  redis.call('HDEL', key, field)
  return true
end
"""

#: KEYS wanted, then a record each; ARGV per record the seq of the delete that the lake has; reply how many went.
BURY = Script(
    GONE
    + """
local buried = 0
for k = 2, #KEYS do
  local record = KEYS[k]
  local held = redis.call('HMGET', record, 'd', 'l', 'o', 'r', 'm', 'b')
  local is_over = held[1] and struct.unpack('>I6', held[1]) <= tonumber(ARGV[k - 1])
  -- A delete leaves neither owner, members nor base: what is there came after it. Of events and unlinks `l` says so.
  is_over = is_over and not held[3] and not held[5] and (held[6] or '') == ''
  if is_over and held[2] then
    is_over = struct.unpack('>I6', held[2], 7) <= struct.unpack('>I6', held[1])
  end
  if is_over then
    local key, field, tag = gone_at(record)
    local recent = held[4] or ''
    if recent == '+' then
      local apart = 'recent' .. string.sub(record, 4)
      if redis.call('EXISTS', apart) == 1 then
        redis.call('RENAME', apart, 'recent:' .. tag .. ':' .. field)
      else
        recent = ''
      end
    end
    redis.call('HSET', key, field, held[1] .. recent)
    redis.call('DEL', record)
    redis.call('HDEL', KEYS[1], record)
    buried = buried + 1
  end
end
return buried
"""
)

#: KEYS record; reply [tombstone or nil, last unlink or nil], as the record has them.
ENDED = Script(
    GONE
    + """
local held = redis.call('HMGET', KEYS[1], 'd', 'u')
return {held[1] or gone_tombstone(KEYS[1]) or false, held[2]}
"""
)

#: KEYS gone; ARGV per tombstone its field and value: those that the lake knows and Redis lost; reply how many were new.
RECALL = Script(
    """
local added = 0
for i = 1, #ARGV, 2 do
  added = added + redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
return added
"""
)

#: KEYS stream; ARGV id of the last entry that may go, most entries that may stay.
#: reply how many stayed, or -1: more than that, so nothing was done.
#:
#: A stream only marks an entry of a block that it keeps; the bytes stay, in memory and in every file that is written
#: of it. So those that stay move to a new stream.
CLEAN = Script(
    """
local kept = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', tonumber(ARGV[2]) + 1)
if #kept > tonumber(ARGV[2]) then return -1 end
redis.call('DEL', KEYS[1])
for _, entry in ipairs(kept) do
  redis.call('XADD', KEYS[1], entry[1], unpack(entry[2]))
end
return #kept
"""
)

#: KEYS gone; ARGV receipt in ms before which a delete is forgotten; reply how many were.
FORGET = Script(
    """
local held = redis.call('HGETALL', KEYS[1])
local forgotten = 0
for i = 1, #held, 2 do
  if struct.unpack('>I6', held[i + 1], 7) < tonumber(ARGV[1]) then
    forgotten = forgotten + redis.call('HDEL', KEYS[1], held[i])
  end
end
return forgotten
"""
)

RECORDS_MAX = 1_000
#: Entries that one call moves: some tens of milliseconds, in which the shard waits.
ENTRIES_MAX = 5_000


def bury(shard: int, records: Sequence[tuple[str, int]]) -> Command:
    """Takes the names from tombstones, (id, seq of the delete), unless there is more to the record by now."""
    names = [keys.wanted(shard), *(keys.record(shard, one) for one, _ in records)]
    return BURY(names, [seq for _, seq in records])


def ended(shard: int, namespaced_id: str) -> Command:
    """When an id was deleted and when it was given up, last."""
    return ENDED([keys.record(shard, namespaced_id)], [])


def ended_ms(reply: Sequence[bytes | None]) -> tuple[int, int]:
    """The receipts, in UTC ms, of the delete and of the unlink that `ended` found; -1 where there was none."""
    deleted, unlinked = (-1 if one is None else int.from_bytes(one[6:], "big") for one in reply)
    return deleted, unlinked


def recall(shard: int, tombstones: Sequence[tuple[str, int, int]]) -> Command:
    """Puts tombstones back, (digest, seq, receipt in ms)."""
    words: list[Argument] = []
    for digest, seq, received_ms in tombstones:
        words += (digest, seq.to_bytes(6, "big") + received_ms.to_bytes(6, "big"))
    return RECALL([keys.gone(shard)], words)


def forget(shard: int, before_ms: int) -> Command:
    """Drops the tombstones of deletes that are older."""
    return FORGET([keys.gone(shard)], [before_ms])


def clean(stream: str, upto: str) -> Command:
    """Leaves nothing of a stream up to an entry, to the last byte."""
    return CLEAN([stream], [upto, ENTRIES_MAX])
