"""Putting bases in place, in any order and any number of times.

Each record is taken or refused by itself: refused when it was deleted after the part of the log that the base covers,
or when it holds a base of the same or a later (V, build). Reruns, crashed runs and zombies are then harmless. When it
is taken, base, stamp and `recent` are set, and tail entries go that the base covers: seq <= S, or an id among `recent`
(an imported copy that the base counts already).

    KEYS  a record each
    ARGV  V, build, S, "every" | "held", then per record: stamp, base, recent (in order, where it is long)
    reply per record: 1 published | 0 older than what it holds | -1 deleted since | -2 holds no base

"held" is how a complete rebuild ends: an id that produced no row gets an empty base, but only if it has one to replace.
An id without a base needs none, since the shard's own stamp stands for it; so a record that has nothing but the empty
base which an earlier one left is deleted. Until then its stamp keeps out what began before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from serving.store import keys, stamps
from serving.store.scripts.lua_copies import COPIES, RECENT_INLINE_BYTES, REMEMBER, in_order
from serving.store.scripts.script import Argument, Command, Script
from serving.store.scripts.tombstones import GONE
from serving.store.stamps import Stamp

#: Records of one call: enough to make the cost of a call small, few enough not to hold others up.
RECORDS_MAX = 64

PUBLISH = Script(
    COPIES
    + REMEMBER
    + GONE
    + """
local version, build, covered = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function verdict(stamp, tombstone)
  if tombstone and struct.unpack('>I6', tombstone) > covered then return -1 end
  if stamp then
    local held = cmsgpack.unpack(stamp)
    if version < held[1] or (version == held[1] and build <= held[2]) then return 0 end
  elseif ARGV[4] == 'held' then
    return -2
  end
  return 1
end

-- the fields of tail entries that a base with this `recent` counts
local function counted(key, copy_of)
  local tail, gone = {}, {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if #field >= 8 then tail[#tail + 1] = field end
  end
  for from = 1, #tail, 1000 do
    local entries = redis.call('HMGET', key, unpack(tail, from, math.min(from + 999, #tail)))
    for i, entry in ipairs(entries) do
      local field = tail[from + i - 1]
      local seq, _, received = header(entry)
      if seq <= covered then
        gone[#gone + 1] = field
      else
        local copied = copy_of(string.sub(field, 1, 8))
        if copied and received - copied < REPEAT_MS then gone[#gone + 1] = field end
      end
    end
  end
  return gone
end

-- the same look as covered_copy, at what is being published
local function among(recent)
  if #recent <= RECENT_INLINE_BYTES then
    return function(hash) return copy_among_few(recent, hash) end
  end
  local function entries_at(at, size) return string.sub(recent, at + 1, at + size) end
  return function(hash) return copy_among_many(#recent / RECENT_BYTES, entries_at, hash) end
end

-- What deletes cover may be purged from the lake, which knows nothing of its repeats then: the record still does.
local function remember_deleted(key, tombstone, recent)
  local clock = redis.call('TIME')
  local kept = {}
  remembered(key, clock[1] * 1000 + math.floor(clock[2] / 1000), kept)
  for hash, entry in pairs(kept) do
    local seq = struct.unpack('>I6', entry, 15)
    if seq == 0 or seq > struct.unpack('>I6', tombstone) then kept[hash] = nil end
  end
  for at = 1, #recent, RECENT_BYTES do
    kept[string.sub(recent, at, at + 7)] = string.sub(recent, at, at + RECENT_BYTES - 1)
  end
  redis.call('HDEL', key, 'r')
  redis.call('DEL', recent_key(key))
  remember(key, kept)
end

-- whether base, stamp and last receipt are all there is, and the base is empty
local function is_nothing(key)
  local held = redis.call('HMGET', key, 'b', 'l')
  return held[1] == '' and redis.call('HLEN', key) == (held[2] and 3 or 2)
end

local answers = {}
for k, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, 's', 'd')
  local is_gone = false
  if ARGV[4] == 'every' and not held[1] and not held[2] then
    held[2] = gone_tombstone(key)
    is_gone = held[2] and true
  end
  local answer = verdict(held[1], held[2])
  if answer == 1 and ARGV[4] == 'held' and is_nothing(key) then
    redis.call('DEL', key)
  elseif answer == 1 then
    if is_gone then revive(key) end
    local stamp, base, recent = ARGV[3 * k + 2], ARGV[3 * k + 3], ARGV[3 * k + 4]
    local gone = counted(key, among(recent))
    if held[2] then
      remember_deleted(key, held[2], recent)
      recent = false
    elseif #recent > RECENT_INLINE_BYTES then
      redis.call('SET', recent_key(key), recent, 'PX', RECENT_TTL_MS)
      recent = '+'
    elseif held[1] and redis.call('HGET', key, 'r') == '+' then
      redis.call('DEL', recent_key(key))
    end
    if not recent then
      redis.call('HSET', key, 'b', base, 's', stamp)
    elseif recent == '' then
      gone[#gone + 1] = 'r'
      redis.call('HSET', key, 'b', base, 's', stamp)
    else
      redis.call('HSET', key, 'b', base, 's', stamp, 'r', recent)
    end
    for from = 1, #gone, 1000 do
      redis.call('HDEL', key, unpack(gone, from, math.min(from + 999, #gone)))
    end
  end
  answers[k] = answer
end
return answers
"""
)


class Published(IntEnum):
    """What became of one record."""

    DONE = 1
    OLDER = 0
    DELETED = -1
    WITHOUT_BASE = -2


class BaseRecord(NamedTuple):
    """What a rebuild has for one id: base (codec's bytes), `recent` (entries in any order), a heavy base's horizon."""

    id: str
    base: bytes
    recent: bytes = b""
    horizon_ms: int = 0


def publish(shard: int, stamp: Stamp, records: Sequence[BaseRecord]) -> Command:
    """The call for some ids of one shard, at most RECORDS_MAX."""
    plain = stamps.encode(stamp)
    words: list[Argument] = [stamp.lake_version, stamp.build, stamp.seq, "every"]
    for _, base, recent, horizon_ms in records:
        words += (
            plain if horizon_ms == stamp.horizon_ms else stamps.encode(stamp.heavy(horizon_ms)),
            base,
            recent if len(recent) <= RECENT_INLINE_BYTES else in_order(recent),
        )
    return PUBLISH([keys.record(shard, record.id) for record in records], words)


def sweep(stamp: Stamp, record_keys: Sequence[bytes | str]) -> Command:
    """The call that empties the older bases among some records of one shard."""
    words: list[Argument] = [stamp.lake_version, stamp.build, stamp.seq, "held"]
    words += [stamps.encode(stamp), b"", b""] * len(record_keys)
    return PUBLISH([key if isinstance(key, str) else key.decode() for key in record_keys], words)


def read(reply: Any) -> list[Published]:
    """An outcome a record, in the order of the call."""
    return [Published(answer) for answer in reply]
