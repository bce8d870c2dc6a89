"""Lua that scripts share: how a tail entry is laid out, and which copy of an event a record holds already.

The covered events of the last 24 h (`recent`) are entries of 20 bytes. A few stand in the record. Many would make each
read and each event of a busy id pay for all of them, so beyond RECENT_INLINE_BYTES they are a string of their own, in
order of the hash, of which a look reads a block or two, and the record only says that it is there.
"""

from __future__ import annotations

import struct

from expressions.rules.repeats import REPEAT_MS

#: A tail entry is seq, ts, received (six bytes each, big-endian; ts may be before 1970), then msgpack.
TAIL_HEADER_BYTES = 18
#: An entry of `recent` is the event id's hash, received, seq (0 for an imported event, which has none).
RECENT_ENTRY_BYTES = 20
#: Beyond this `recent` has a key of its own.
RECENT_INLINE_BYTES = 64 * RECENT_ENTRY_BYTES
#: Entries that a look in that key reads at once, and how often it guesses where before it bisects.
RECENT_BLOCK, RECENT_GUESSES_MAX = 16, 4
#: What the record's field says then; no entry is this short.
RECENT_APART = b"+"
#: How long that key lives after its publish: as long as an entry matters, and an hour for a clock that went back.
RECENT_TTL_MS = 25 * 3_600_000

COPIES = (
    f"""
local REPEAT_MS, RECENT_BYTES = {REPEAT_MS}, {RECENT_ENTRY_BYTES}
local BLOCK, GUESSES_MAX = {RECENT_BLOCK}, {RECENT_GUESSES_MAX}
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

-- Among many, in order of the hash: hashes are evenly spread, so where one stands is guessed from what it is, and
-- nearly always it is in the first or second block that is read. Who made them up gets no more than a bisection. They
-- are compared as two numbers, since Lua orders strings by the locale.
local function copy_among_many(count, entries_at, hash)
  local high, low = struct.unpack('>I4I4', hash)
  local first, last = 0, count - 1
  local least, most = 0, 4294967296
  local guesses = 0
  while first <= last do
    local share = guesses < GUESSES_MAX and (high - least) / (most - least) or 0.5
    guesses = guesses + 1
    local at = first + math.floor(share * (last - first + 1) - BLOCK / 2)
    at = math.max(first, math.min(at, last - BLOCK + 1))
    local size = math.min(BLOCK, last - at + 1)
    local block = entries_at(at * RECENT_BYTES, size * RECENT_BYTES)
    local least_high, least_low = struct.unpack('>I4I4', block)
    local most_high, most_low = struct.unpack('>I4I4', block, (size - 1) * RECENT_BYTES + 1)
    if high < least_high or (high == least_high and low < least_low) then
      last, most = at - 1, least_high + 1
    elseif high > most_high or (high == most_high and low > most_low) then
      first, least = at + size, most_high
    else
      return copy_among_few(block, hash)
    end
  end
end

-- Receipt and seq of an event that the base of a record covers; nil when it is not among `recent`. `apart` is the key
-- of a long one that is not where a record's own is.
local function covered_copy(record, recent, hash, apart)
  if not recent then return nil end
  if recent ~= '+' then return copy_among_few(recent, hash) end
  local key = apart or recent_key(record)
  return copy_among_many(redis.call('STRLEN', key) / RECENT_BYTES, function(at, size)
    return redis.call('GETRANGE', key, at, at + size - 1)
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
