"""Lua that scripts share: how a tail entry is laid out, and which copy of an event a record holds already.

The covered events of the last 24 h (`recent`) are entries of 20 bytes. A few stand in the record. Many would make each
read and each event of a busy id pay for all of them, so beyond RECENT_INLINE_BYTES they are a string of their own, in
order of the hash, of which a look reads a handful of entries, and the record only says that it is there.
"""

from __future__ import annotations

import struct

from expressions.repeats import REPEAT_MS

#: A tail entry is seq, ts, received (six bytes each, big-endian; ts may be before 1970), then msgpack.
TAIL_HEADER_BYTES = 18
#: An entry of `recent` is the event id's hash, received, seq (0 for an imported event, which has none).
RECENT_ENTRY_BYTES = 20
#: Beyond this `recent` has a key of its own.
RECENT_INLINE_BYTES = 64 * RECENT_ENTRY_BYTES
#: What the record's field says then; no entry is this short.
RECENT_APART = b"+"
#: How long that key lives after its publish: as long as an entry matters, and an hour for a clock that went back.
RECENT_TTL_MS = 25 * 3_600_000

COPIES = (
    f"""
local REPEAT_MS, RECENT_BYTES = {REPEAT_MS}, {RECENT_ENTRY_BYTES}
"""
    + """

-- seq, ts and receipt of a tail entry
local function header(entry)
  return struct.unpack('>I6i6I6', entry)
end

local function entry_of(seq, ts, received, payload)
  return struct.pack('>I6i6I6', seq, ts, received) .. payload
end

-- The newest copy of an event stands under its hash, and only it decides what a repeat is; an older one moves here.
local function older_field(hash, entry)
  return hash .. string.sub(entry, 1, 6)
end

local function recent_key(record)
  return 'recent' .. string.sub(record, 4)
end

-- Among a few entries, in any order. A hash may be found across two of them, so only an aligned find counts.
local function copy_among_few(recent, hash)
  local from = 1
  while true do
    local at = string.find(recent, hash, from, true)
    if not at then return nil end
    if (at - 1) % RECENT_BYTES == 0 then return struct.unpack('>I6I6', recent, at + 8) end
    from = at + 1
  end
end

-- Among many, in order of the hash. Hashes are compared as two numbers, since Lua orders strings by the locale.
local function copy_among_many(count, entry_at, hash)
  local high, low = struct.unpack('>I4I4', hash)
  local first, last = 0, count - 1
  while first <= last do
    local middle = math.floor((first + last) / 2)
    local entry = entry_at(middle * RECENT_BYTES)
    local its_high, its_low = struct.unpack('>I4I4', entry)
    if its_high == high and its_low == low then return struct.unpack('>I6I6', entry, 9) end
    if its_high < high or (its_high == high and its_low < low) then
      first = middle + 1
    else
      last = middle - 1
    end
  end
end

-- Receipt and seq of an event that the base of a record covers; nil when it is not among `recent`. `apart` is the key
-- of a long one that is not where a record's own is.
local function covered_copy(record, recent, hash, apart)
  if not recent then return nil end
  if recent ~= '+' then return copy_among_few(recent, hash) end
  local key = apart or recent_key(record)
  return copy_among_many(redis.call('STRLEN', key) / RECENT_BYTES, function(at)
    return redis.call('GETRANGE', key, at, at + RECENT_BYTES - 1)
  end, hash)
end
"""
)

REMEMBER = (
    f"""
local RECENT_INLINE_BYTES, RECENT_TTL_MS = {RECENT_INLINE_BYTES}, {RECENT_TTL_MS}
"""
    + """
-- Adds to `kept`, which maps hashes to entries, those that a record remembers by now.
local function remembered(key, now, kept)
  local recent = redis.call('HGET', key, 'r')
  if recent == '+' then recent = redis.call('GET', recent_key(key)) end
  for at = 1, #(recent or ''), RECENT_BYTES do
    if now - struct.unpack('>I6', recent, at + 8) < REPEAT_MS then
      kept[string.sub(recent, at, at + 7)] = string.sub(recent, at, at + RECENT_BYTES - 1)
    end
  end
end

-- Makes `kept` what a record remembers: in order of the hash, as numbers, since Lua orders strings by the locale.
local function remember(key, kept)
  local entries = {}
  for hash, entry in pairs(kept) do
    local high, low = struct.unpack('>I4I4', hash)
    entries[#entries + 1] = {high, low, entry}
  end
  table.sort(entries, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  for i, one in ipairs(entries) do entries[i] = one[3] end
  local recent = table.concat(entries)
  if #recent > RECENT_INLINE_BYTES then
    redis.call('SET', recent_key(key), recent, 'PX', RECENT_TTL_MS)
    recent = '+'
  end
  if recent ~= '' then redis.call('HSET', key, 'r', recent) end
end
"""
)


def recent_entry(event_hash: bytes, received_ms: int, seq: int | None) -> bytes:
    """One covered event as `recent` remembers it; `seq` None is an imported one."""
    return event_hash + received_ms.to_bytes(6, "big") + (seq or 0).to_bytes(6, "big")


def in_order(recent: bytes) -> bytes:
    """The entries in order of the hash."""
    size = RECENT_ENTRY_BYTES
    return b"".join(sorted(recent[at : at + size] for at in range(0, len(recent), size)))


def tail_entry(seq: int, ts_ms: int, received_ms: int, payload: bytes) -> bytes:
    """A tail entry as the scripts write it."""
    return seq.to_bytes(6, "big") + ts_ms.to_bytes(6, "big", signed=True) + received_ms.to_bytes(6, "big") + payload


def last_of(data: bytes | None) -> tuple[int, int]:
    """(receipt in ms, seq) of the last event of a record, from its field; zeros when it has had none."""
    if not data:
        return 0, 0
    return int.from_bytes(data[:6], "big"), int.from_bytes(data[6:12], "big")


def packed_seq(seq: int) -> bytes:
    """A seq as records store one."""
    return struct.pack(">Q", seq)[2:]
